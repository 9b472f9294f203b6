"""Random play of an environment, and what is wrong with what it shows, in sentences."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.wrappers import arrays, dotted, found, is_image, left_out

SECONDS = 3.0  # of play at the most


@dataclass
class Played:
    """Random play. lengths, ends: of whole episodes, and whether they were terminated. wrong: what
    a step or a reset showed first of each kind, as sentences. largest: absolute numbers seen of
    "obs" and "reward". seconds: of all steps, and of all resets."""

    steps: int = 0
    lengths: list[int] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=lambda: {"obs": 0.0, "reward": 0.0})
    seconds: dict[str, float] = field(default_factory=lambda: {"step": 0.0, "reset": 0.0})


def play(env: gym.Env, steps: int) -> Played:
    """Uniformly random actions for so many steps, or SECONDS."""
    played, space = Played(), env.observation_space
    env.action_space.seed(1)
    begin = time.perf_counter()
    obs, length = _reset(env, played, seed=1), 0
    while played.steps < steps and time.perf_counter() - begin < SECONDS:
        before = flat(space, obs)
        start = time.perf_counter()
        after, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        played.seconds["step"] += time.perf_counter() - start
        played.steps, length = played.steps + 1, length + 1
        if not same([before], [flat(space, obs)]):
            played.wrong["alias"] = (
                "an observation changes after it has been returned: return a copy (obs.copy())"
            )
        obs = after
        _look(space, obs, "step", played)
        _weigh(reward, played)
        if terminated or truncated:
            played.lengths.append(length)
            played.ends.append(bool(terminated))
            obs, length = _reset(env, played), 0
    return played


def _reset(env: gym.Env, played: Played, seed: int | None = None) -> Any:
    start = time.perf_counter()
    obs, _ = env.reset(seed=seed)
    played.seconds["reset"] += time.perf_counter() - start
    _look(env.observation_space, obs, "reset", played)
    return obs


def _look(space: gym.Space, obs: Any, where: str, played: Played) -> None:
    """Notes what is wrong with an observation."""
    for path, part in arrays(space):
        _look_at(part, found(obs, path), f"{dotted(path)} of {where}" if path else where, played)


def _look_at(space: gym.Space, obs: Any, where: str, played: Played) -> None:
    """Notes what is wrong with one of its arrays."""
    if isinstance(space, spaces.Box):
        have = np.asarray(obs)
        if have.dtype != space.dtype:
            played.wrong["dtype"] = (
                f"{where} shows {have.dtype}, and observation_space says {space.dtype}: make them"
                " alike"
            )
        if have.shape != space.shape:
            played.wrong["shape"] = (
                f"{where} shows an array {have.shape}, and observation_space says {space.shape}"
            )
        elif not np.isfinite(have).all():
            played.wrong["nan"] = f"{where} shows a NaN or an infinity, which ends a run"
        elif (have < space.low).any() or (have > space.high).any():
            index = np.argmax(np.maximum(space.low - have, have - space.high).astype(float))
            at = np.unravel_index(index, have.shape)
            played.wrong.setdefault(
                "outside",
                f"{where} shows {have[at]:g} at {[int(i) for i in at]}, outside of"
                f" observation_space ({space.low[at]:g} to {space.high[at]:g}): widen its bounds",
            )
        if have.size and not is_image(space):
            played.largest["obs"] = max(played.largest["obs"], float(np.abs(have).max()))
    elif not space.contains(obs):
        played.wrong["outside"] = f"{where} shows something outside of observation_space: {space}"


def _weigh(reward: Any, played: Played) -> None:
    """Notes what is wrong with a reward."""
    if np.ndim(reward) or not np.issubdtype(np.asarray(reward).dtype, np.number):
        played.wrong["reward"] = f"a reward is {reward!r}: it has to be one number"
    elif not np.isfinite(reward):
        played.wrong["reward"] = f"a reward is {reward}, which ends a run: it has to be finite"
    else:
        played.largest["reward"] = max(played.largest["reward"], abs(float(reward)))


def same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True)
    )


def flat(space: gym.Space, obs: Any) -> np.ndarray:
    """An observation's numbers, copied; of a Dict those that have any."""
    if isinstance(space, spaces.Dict):
        gone = left_out(space)
        parts = [flat(part, obs[key]).ravel() for key, part in space.items() if key not in gone]
        return np.concatenate([np.zeros(0), *parts])
    if isinstance(space, spaces.Tuple):
        return np.concatenate([flat(part, x).ravel() for part, x in zip(space, obs, strict=True)])
    return np.array(obs)
