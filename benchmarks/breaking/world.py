"""A world whose every transition can be recomputed from its own obs and action, in numbers that a
network can read: Counting times powers of two, so that nothing is rounded."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from agents.base import Batch
from envs.counting import Counting
from envs.toys import Started, Stepped

OBS = np.array([2.0**-12, 2.0**-4, 2.0**-24, 1.0], np.float32)
REWARD = 2.0**-16
APART = np.array([0, 0, 0, 1e-5], np.float32)  # an action is scaled to the env's bounds on its way
CHECKED = ("obs", "action", "reward", "next_obs", "terminated", "truncated")


class Scaled(Counting):
    """Counting in small numbers."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        obs, info = super().reset(seed=seed, options=options)
        return obs * OBS, info

    def step(self, action: Any) -> Stepped:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs * OBS, reward * REWARD, terminated, truncated, info


gym.register("chaos/Counting-v0", "benchmarks.breaking.world:Scaled")


def check(
    obs: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    next_obs: np.ndarray | None,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """Raises AssertionError unless each of N transitions is whole: what the world answers to its
    obs and action. obs, next_obs: [N, 4]; action: [N] or [N, 1]; the others [N]. Where a worker was
    replaced, an episode may be truncated that would have gone on."""
    seen = obs / OBS
    said, follows, ends, cut = Counting.follow(seen, action)
    assert np.array_equal(reward / np.float32(REWARD), said), "a torn transition: its reward"
    assert np.array_equal(terminated, ends), "a torn transition: where its episode terminates"
    assert (truncated >= (cut & ~ends)).all(), "a torn transition: where its episode is truncated"
    if next_obs is not None:
        apart = np.abs(next_obs / OBS - follows)
        assert (apart <= APART).all(), "a torn transition: what follows it"


def check_batch(batch: Batch) -> np.ndarray:
    """`check`, for a batch of any replay with 1-step returns. Returns who its valid transitions
    are: [N, 3], see `identities`."""
    columns = [batch[name].cpu().numpy() for name in CHECKED]
    if "valid" in batch:  # [T, N, ...]
        valid = batch["valid"].cpu().numpy()
        columns = [column[valid] for column in columns]
    check(*columns)
    return identities(columns[0])


def identities(obs: np.ndarray) -> np.ndarray:
    """Which transitions these are, by their obs [N, 4]: the numbers of their stream, of the episode
    in it, and of the step in that, int64 [N, 3]."""
    return (obs / OBS)[:, [2, 0, 1]].astype(np.int64)
