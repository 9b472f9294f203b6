"""The spaces every agent sees: float32 observations, flat unless they are images or packed with
some; Box actions in [-1, 1]; Discrete actions counted from 0.

The wrappers are Gymnasium's own, except for the repeated action. ClipAction and RescaleAction
cannot be stacked to a clipped Box(-1, 1), because ClipAction makes the bounds infinite, so one
TransformAction does both.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten
from gymnasium.wrappers import (
    FilterObservation,
    FlattenObservation,
    TransformAction,
    TransformObservation,
)

from agents.packed import Packed

LEAST = 8  # rows and columns of an image in a Dict, below which no encoder reads it
Path = tuple[Any, ...]  # the keys of a Dict and the places of a Tuple that lead to a part


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

    Discrete observations become one-hot, Dict and Tuple ones are laid end to end, or packed with
    their images; what is text in a Dict, or of another kind that is no number, is left out.
    """
    shown = env.observation_space
    if is_image(shown):
        return env
    if any(packs(part) for _, part in arrays(shown)):
        return Pack(env)
    if isinstance(shown, spaces.Dict) and 0 < len(gone := left_out(shown)) < len(shown):
        env = FilterObservation(env, [key for key in shown if key not in gone])
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


class Pack(gym.ObservationWrapper):
    """Shows a Dict or Tuple as one array of bytes (agents/packed.py): its images, and before them a
    float32 vector for each other part that can be laid out as one. An array in a nested Dict is
    called by its keys, as "left.camera"."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        shown = [one for one in arrays(env.observation_space) if flattenable(one[1])]
        self.parts: dict[str, tuple[Path, Any]] = {dotted(one[0]): one for one in shown}
        assert len(self.parts) == len(shown), f"keys of {env.observation_space} are alike"
        self.packed = self.observation_space = Packed(
            {key: flatdim(part) for key, (_, part) in self.parts.items() if not packs(part)},
            {key: part.shape for key, (_, part) in self.parts.items() if packs(part)},
        )

    def observation(self, observation: Any) -> np.ndarray:
        shown: dict[str, Any] = {}
        for key, (path, part) in self.parts.items():
            array = found(observation, path)
            shown[key] = array if packs(part) else flatten(part, array)
        return self.packed.pack(shown)


def plain_actions(env: gym.Env) -> gym.Env:
    """Box actions become a float32 vector in [-1, 1], clipped and mapped onto the env's bounds;
    those of a Discrete are counted from 0, and so are those of a MultiDiscrete, which become a
    vector, as do the bits of a MultiBinary. Other spaces stay.

    Box actions are always clipped, because MountainCarContinuous charges for the raw action and
    other envs assert their bounds.
    """
    space, plain = env.action_space, env.action_space
    if isinstance(space, spaces.Box):
        if not (np.issubdtype(space.dtype, np.floating) and space.is_bounded()):
            raise ValueError(
                f"{name(env)} takes actions in {space}, which cannot be mapped onto [-1, 1]; "
                "choose an env.id with Discrete actions or bounded floating-point ones"
            )
        return TransformAction(
            env, onto(space), spaces.Box(-1.0, 1.0, (space.low.size,), np.float32)
        )
    if isinstance(space, spaces.Discrete):
        plain = spaces.Discrete(space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        plain = spaces.MultiDiscrete(space.nvec.ravel())
    elif isinstance(space, spaces.MultiBinary):
        plain = spaces.MultiDiscrete(np.full(int(np.prod(space.shape)), 2))
    return env if plain == space else TransformAction(env, onto(space), plain)


def onto(space: gym.Space) -> Callable[[np.ndarray], np.ndarray]:
    """The map from an agent's actions to those of an env's action space: a vector in [-1, 1] to
    the bounds and shape of a Box, clipped; numbers from 0 to those from its start of a Discrete or
    MultiDiscrete; others as they are. It takes one action or a batch of them."""
    if isinstance(space, spaces.Discrete):
        start = space.start
        return lambda action: np.asarray(action) + start
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        first = getattr(space, "start", np.int8(0))
        return lambda action: (shaped(action, space) + first).astype(space.dtype)
    if not isinstance(space, spaces.Box):
        return np.asarray
    low, high = space.low, space.high
    middle = ((low.astype(np.float64) + high) / 2).astype(space.dtype)
    half = ((high.astype(np.float64) - low) / 2).astype(space.dtype)
    if low.ndim != 1:
        return lambda action: np.minimum(
            np.maximum(shaped(action, space) * half + middle, low), high
        )
    # two ufuncs: np.clip costs three times as much on arrays of this size
    return lambda action: np.minimum(np.maximum(action * half + middle, low), high)


def shaped(action: np.ndarray, space: gym.Space) -> np.ndarray:
    """A vector, or a batch of vectors, in the shape of a space."""
    return np.asarray(action).reshape(*np.shape(action)[:-1], *(space.shape or ()))


def left_out(space: gym.Space) -> list[str]:
    """The parts of a Dict or Tuple that cannot be laid out as numbers, as MiniGrid's mission."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return []
    return [dotted(path) for path, part in arrays(space) if not flattenable(part)]


def arrays(space: gym.Space, path: Path = ()) -> Iterator[tuple[Path, gym.Space]]:
    """The parts of a Dict or Tuple, each with the keys that lead to it; inside of a part only where
    there are images. A space of another kind is its own part."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        yield path, space
        return
    for key, part in space.items() if isinstance(space, spaces.Dict) else enumerate(space):
        inside = [*arrays(part, (*path, key))]
        yield from inside if any(packs(one) for _, one in inside) else [((*path, key), part)]


def found(observation: Any, path: Path) -> Any:
    """The part of an observation to which some keys lead."""
    return functools.reduce(operator.getitem, path, observation)


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def packs(space: gym.Space) -> bool:
    """Whether a part of a Dict is an image that encoders read: uint8 [rows, columns, channels]."""
    return is_image(space) and len(space.shape or ()) == 3 and min((space.shape or ())[:2]) >= LEAST


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
