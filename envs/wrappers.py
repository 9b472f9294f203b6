"""What every env gets: float32 observations, flat unless they are images, and actions in [-1, 1].

The wrappers are Gymnasium's own, but for the repeated action. Its ClipAction and RescaleAction do
not stack to a Box(-1, 1) that is also clipped (the first one makes the bounds infinite), so one
TransformAction does both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, TransformAction, TransformObservation


class ActionRepeat(gym.Wrapper):
    """Plays every action `times` steps, or to the episode's end: one step, of summed reward, to
    whoever looks from outside (Gymnasium's own, for Atari, takes the maximum of two frames)."""

    def __init__(self, env: gym.Env, times: int) -> None:
        super().__init__(env)
        self.times = times

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


def standard(env: gym.Env) -> gym.Env:
    """The env as agents see it. Raises ValueError for spaces that no agent could use."""
    return unit_actions(float_observations(env))


def float_observations(env: gym.Env) -> gym.Env:
    """Observations as a float32 vector; uint8 arrays of two or more axes are images and stay.

    Discrete observations become one-hot, Dict and Tuple ones are laid end to end.
    """
    if is_image(env.observation_space):
        return env
    if not isinstance(env.observation_space, spaces.Box) or len(env.observation_space.shape) != 1:
        if not env.observation_space.is_np_flattenable:
            raise ValueError(
                f"{name(env)} shows {env.observation_space}, which cannot be laid out as a vector; "
                "choose an env.id with Box, Discrete, Dict or Tuple observations"
            )
        env = FlattenObservation(env)
    box = env.observation_space
    assert isinstance(box, spaces.Box)
    if box.dtype == np.float32:
        return env
    limit = np.finfo(np.float32).max  # bounds beyond it would become infinite with a warning
    low, high = (bound.clip(-limit, limit).astype(np.float32) for bound in (box.low, box.high))
    low[np.isneginf(box.low)], high[np.isposinf(box.high)] = -np.inf, np.inf
    return TransformObservation(
        env, lambda obs: obs.astype(np.float32), spaces.Box(low, high, dtype=np.float32)
    )


def unit_actions(env: gym.Env) -> gym.Env:
    """Box actions in [-1, 1] float32, clipped and mapped onto the env's bounds; others stay.

    MountainCarContinuous charges for the raw action, others assert their bounds: so clip always.
    """
    box = env.action_space
    if not isinstance(box, spaces.Box):
        return env
    if not (np.issubdtype(box.dtype, np.floating) and box.is_bounded()):
        raise ValueError(
            f"{name(env)} takes actions in {box}, which cannot be mapped onto [-1, 1]; "
            "choose an env.id with Discrete actions or bounded floating-point ones"
        )
    return TransformAction(env, onto(box), spaces.Box(-1.0, 1.0, box.shape, np.float32))


def onto(box: spaces.Box) -> Callable[[np.ndarray], np.ndarray]:
    """Maps [-1, 1] onto the bounds of a box, clipping; takes one action or a batch of them."""
    low, high = box.low, box.high
    middle = ((low.astype(np.float64) + high) / 2).astype(box.dtype)
    half = ((high.astype(np.float64) - low) / 2).astype(box.dtype)
    # two ufuncs: np.clip costs three times as much on arrays of this size
    return lambda action: np.minimum(np.maximum(action * half + middle, low), high)


def is_image(space: gym.Space) -> bool:
    """Whether observations are images, or stacks of them, which are kept as they are."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1


def name(env: gym.Env) -> str:
    """The registered id of an env, or its class's name."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__
