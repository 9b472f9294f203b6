"""Envs for tests of storage and supervision: every transition of Counting can be recomputed, and
Fault breaks at a given step. Registered by envs/toys.py."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.toys import Started, Stepped, action_space, counts


class Counting(gym.Env):
    """A world whose every transition can be recomputed from its own obs and action.

    obs = [episode, step, stream, action]: the episode's number, the step in it, an integer drawn at
    the seeded reset that tells streams apart, and the action that led here (0 after a reset). All
    are integers below 2^24 or float32 actions, so that comparisons may be exact. Episodes last 1 to
    11 steps and end by termination, truncation, termination, or both, in turn. The reward is
    16 * episode + step, different at every step of a stream.
    """

    def __init__(self, choices: int = 0) -> None:
        self.action_space = action_space(choices)
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.stream = 0
        self.episode = -1

    @staticmethod
    def length(episode: np.ndarray | int) -> Any:
        """Steps in an episode: 1, 8, 4, 11, 7, 3, 10, 6, 2, 9, 5, and again."""
        return (7 * np.asarray(episode, np.int64)) % 11 + 1

    @staticmethod
    def follow(obs: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        """What must come next: (reward [N], next_obs [N, 4], terminated [N], truncated [N]).

        `obs` is [N, 4], `action` [N] or [N, 1]; `next_obs` is the episode's own next observation.
        """
        episode, step = obs[:, 0], obs[:, 1]
        action = np.asarray(action, np.float32).reshape(len(obs))
        next_obs = np.stack([episode, step + 1, obs[:, 2], action], axis=1)
        last = step + 1 >= Counting.length(episode.astype(np.int64))
        kind = episode.astype(np.int64) % 4
        return 16 * episode + step, next_obs, last & (kind != 1), last & (kind % 2 == 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        if seed is not None or self.episode < 0:
            self.stream, self.episode = int(self.np_random.integers(2**24)), -1
        self.episode += 1
        self.obs = np.array([self.episode, 0, self.stream, 0], np.float32)
        return self.obs.copy(), {}

    def step(self, action: Any) -> Stepped:
        reward, obs, terminated, truncated = self.follow(self.obs[None], np.asarray(action))
        self.obs = obs[0].astype(np.float32)
        return self.obs.copy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}


class Fault(Counting):
    """Counting that breaks at its `at`-th step (1 is the first, over all episodes), or, where
    `chance` is above 0, at every step with that probability, which its seed decides.

    kind: "raise" RuntimeError, "hang" forever, "exit" the process with status 13, "kill" it by
    SIGKILL, "nan" as obs and reward of that step, or "none". `once` is a file that is made when the
    fault happens and prevents further ones, for tests of restarting.
    """

    kinds = ("none", "raise", "hang", "exit", "kill", "nan")

    def __init__(
        self,
        kind: str = "none",
        at: int = 1,
        once: str | None = None,
        choices: int = 0,
        chance: float = 0.0,
    ) -> None:
        super().__init__(choices)
        if kind not in self.kinds:
            raise ValueError(f"env.kwargs.kind={kind!r} is not one of {', '.join(self.kinds)}")
        counts(at=at)
        if not 0 <= chance <= 1:
            raise ValueError(f"env.kwargs.chance={chance} must lie in [0, 1]")
        self.kind, self.at, self.once, self.chance = kind, at, once, chance
        self.lived = 0

    def step(self, action: Any) -> Stepped:
        self.lived += 1
        stepped = super().step(action)
        due = self.np_random.random() < self.chance if self.chance else self.lived == self.at
        if self.kind == "none" or not due or (self.once and Path(self.once).exists()):
            return stepped
        if self.once:
            Path(self.once).touch()
        if self.kind == "raise":
            raise RuntimeError(f"Fault raised at its step {self.lived}")
        if self.kind == "exit":
            os._exit(13)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while self.kind == "hang":
            time.sleep(3600.0)
        return np.full(4, np.nan, np.float32), float("nan"), *stepped[2:]
