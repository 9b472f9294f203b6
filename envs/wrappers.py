"""The spaces every agent sees: float32 observations, flat unless they are images; Box actions in
[-1, 1]; Discrete actions counted from 0.

The wrappers are Gymnasium's own, except for the repeated action. ClipAction and RescaleAction
cannot be stacked to a clipped Box(-1, 1), because ClipAction makes the bounds infinite, so one
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
    """Plays every action `times` env steps, or to the episode's end, and returns one step with the
    summed reward.

    A bare env that has an attribute `left` and a method `look` draws only what is seen: `left` says
    how many steps of the same action follow, and `look()` is the observation where an episode ends
    before the last of them (envs/atari.py, envs/carracing.py).
    """

    def __init__(self, env: gym.Env, times: int) -> None:
        super().__init__(env)
        self.times = times
        self.drawn: Any = env.unwrapped if hasattr(env.unwrapped, "look") else None

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        total, drawn = 0.0, self.drawn
        for left in reversed(range(self.times)):
            if drawn is not None:
                drawn.left = left
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        if drawn is not None and left:
            drawn.left, obs = 0, drawn.look()
        return obs, total, terminated, truncated, info


def standard(env: gym.Env) -> gym.Env:
    """The env as agents see it. Raises ValueError, one sentence that names the env, for spaces that
    no agent can use."""
    return plain_actions(float_observations(env))


def float_observations(env: gym.Env) -> gym.Env:
    """Observations as a float32 vector; uint8 arrays of two or more axes are images and stay.

    Discrete observations become one-hot, Dict and Tuple ones are laid end to end.
    """
    if is_image(env.observation_space):
        return env
    if not isinstance(env.observation_space, spaces.Box) or len(env.observation_space.shape) != 1:
        if not flattenable(env.observation_space):
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


def plain_actions(env: gym.Env) -> gym.Env:
    """Box actions become float32 in [-1, 1], clipped and mapped onto the env's bounds; a
    Discrete(n, start=k) becomes Discrete(n), whose actions 0..n-1 are shifted by k for the env.
    Other spaces stay.

    Box actions are always clipped, because MountainCarContinuous charges for the raw action and
    other envs assert their bounds.
    """
    space = env.action_space
    if isinstance(space, spaces.Box):
        if not (np.issubdtype(space.dtype, np.floating) and space.is_bounded()):
            raise ValueError(
                f"{name(env)} takes actions in {space}, which cannot be mapped onto [-1, 1]; "
                "choose an env.id with Discrete actions or bounded floating-point ones"
            )
        return TransformAction(env, onto(space), spaces.Box(-1.0, 1.0, space.shape, np.float32))
    if isinstance(space, spaces.Discrete) and space.start != 0:
        return TransformAction(env, onto(space), spaces.Discrete(space.n))
    return env


def onto(space: gym.Space) -> Callable[[np.ndarray], np.ndarray]:
    """The map from an agent's actions to those of an env's action space: [-1, 1] to the bounds of a
    Box, clipped; 0..n-1 to start..start+n-1 of a Discrete; others as they are. It takes one action
    or a batch of them."""
    if isinstance(space, spaces.Discrete):
        start = space.start
        return lambda action: np.asarray(action) + start
    if not isinstance(space, spaces.Box):
        return np.asarray
    low, high = space.low, space.high
    middle = ((low.astype(np.float64) + high) / 2).astype(space.dtype)
    half = ((high.astype(np.float64) - low) / 2).astype(space.dtype)
    # two ufuncs: np.clip costs three times as much on arrays of this size
    return lambda action: np.minimum(np.maximum(action * half + middle, low), high)


def flattenable(space: gym.Space) -> bool:
    """Whether observations can be laid out as a vector; a space that cannot tell (MiniGrid's
    MissionSpace does not implement `is_np_flattenable`) cannot."""
    try:
        return space.is_np_flattenable
    except NotImplementedError:
        return False


def is_image(space: gym.Space) -> bool:
    """Whether observations are images, or stacks of them, which are kept as they are."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1


def name(env: gym.Env) -> str:
    """The registered id of an env, or its class's name."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__
