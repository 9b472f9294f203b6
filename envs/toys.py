"""Tiny deterministic worlds, registered as `paceline/NAME-v0`; each puts one question.

    Identity   does it learn at all?  (optimal return 0)
    Counting   was every transition stored once, whole and in its place?  (see `Counting.follow`)
    Corridor   does a reward travel back along a chain?  (optimal return 1)
    Chain      does it explore past a small reward to a great one?  (optimal return 12)
    Recall     does the recurrent state reach back to the cue?  (optimal return 1, else 1 / cues)
    Loop       is a time limit told from an end?  (the value is r / (1 - gamma), or a short sum)
    Quadratic  does an evolution strategy descend?  (optimal return 0)
    Fault      Counting that breaks at a given step, for tests of supervision

`choices` is the number of Discrete actions; 0 stands for a Box in [-1, 1].
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Stepped = tuple[np.ndarray, float, bool, bool, dict[str, Any]]
Started = tuple[np.ndarray, dict[str, Any]]


def action_space(choices: int, dims: int = 1) -> gym.Space:
    return spaces.Discrete(choices) if choices else spaces.Box(-1.0, 1.0, (dims,), np.float32)


def one_hot(index: int, size: int) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[index] = 1.0
    return vector


class Identity(gym.Env):
    """Answer what you see. `length` steps an episode, ended by termination; optimal return 0.

    Box: the obs is a target in [-1, 1]^dims, the reward -mean((action - target)^2); a uniform
    policy gets -2/3 a step. Discrete: the obs is the target one-hot, the reward -1 if wrong.
    """

    def __init__(self, dims: int = 1, choices: int = 0, length: int = 10) -> None:
        self.choices, self.length = choices, length
        self.action_space = action_space(choices, dims)
        low = 0.0 if choices else -1.0
        self.observation_space = spaces.Box(low, 1.0, (choices or dims,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: Any) -> Stepped:
        if self.choices:
            reward = float(self.target[int(action)]) - 1.0
        else:
            reward = -float(np.mean((np.asarray(action) - self.target) ** 2))
        self.steps += 1
        return self._show(), reward, self.steps >= self.length, False, {}

    def _show(self) -> np.ndarray:
        if self.choices:
            self.target = one_hot(int(self.np_random.integers(self.choices)), self.choices)
        else:
            shape = self.observation_space.shape
            self.target = self.np_random.uniform(-1.0, 1.0, shape).astype(np.float32)
        return self.target.copy()


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


class Corridor(gym.Env):
    """A chain of `length` cells, one-hot; 0 goes left, 1 right; reward 1 at the right end, else 0.

    Starts at the left end, is truncated after `limit` steps (4 * length if None). Optimal return 1
    in length - 1 steps; the optimal value d steps from the end is gamma^(d - 1).
    """

    def __init__(self, length: int = 8, limit: int | None = None) -> None:
        self.length, self.limit = length, limit or 4 * length
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.cell = self.steps = 0
        return one_hot(self.cell, self.length), {}

    def step(self, action: Any) -> Stepped:
        self.cell = max(0, self.cell + (1 if int(action) == 1 else -1))
        self.steps += 1
        there = self.cell == self.length - 1
        return one_hot(self.cell, self.length), float(there), there, self.steps >= self.limit, {}


class Chain(gym.Env):
    """A chain of `length` cells with a lure: Osband et al. 2016, arXiv:1602.04621, section 5.

    0 goes left, 1 right, and whoever is at an end stays there. A step that ends in the first cell
    is worth `small`, one that ends in the last is worth 1, others nothing. Starts in the second
    cell and is truncated after length + 9 steps, so that going right gives 12 at any length, while
    a uniform policy of a long chain practically never sees the 1. The obs of cell k is k + 1 ones,
    then zeros: the paper's encoding that generalises better.
    """

    def __init__(self, length: int = 20, small: float = 0.001) -> None:
        if length < 3:
            raise ValueError(f"length={length} must be at least 3: two ends and a way between")
        self.length, self.small, self.limit = length, small, length + 9
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.cell, self.steps = 1, 0
        return self._show(), {}

    def step(self, action: Any) -> Stepped:
        self.cell = min(max(0, self.cell + (1 if int(action) == 1 else -1)), self.length - 1)
        self.steps += 1
        reward = {0: self.small, self.length - 1: 1.0}.get(self.cell, 0.0)
        return self._show(), reward, False, self.steps >= self.limit, {}

    def _show(self) -> np.ndarray:
        return (np.arange(self.length) <= self.cell).astype(np.float32)


class Recall(gym.Env):
    """A cue is shown; `delay` steps later a flag asks for it; reward 1 if the action repeats it.

    obs = [cue one-hot, flag]; zeros in between. An episode has delay + 1 steps and terminates.
    Optimal return 1; whoever has no memory gets 1 / cues, as a uniform policy does.
    """

    def __init__(self, cues: int = 4, delay: int = 8) -> None:
        self.cues, self.delay = cues, delay
        self.action_space = spaces.Discrete(cues)
        self.observation_space = spaces.Box(0.0, 1.0, (cues + 1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.cue, self.steps = int(self.np_random.integers(self.cues)), 0
        obs = one_hot(self.cue, self.cues + 1)
        obs[-1] = self.delay == 0
        return obs, {}

    def step(self, action: Any) -> Stepped:
        self.steps += 1
        done = self.steps > self.delay
        obs = np.zeros(self.cues + 1, np.float32)
        obs[-1] = self.steps == self.delay
        return obs, float(done and int(action) == self.cue), done, False, {}


class Loop(gym.Env):
    """Two states in turn, one-hot, with the same reward at each step whatever the action.

    After `limit` steps the episode is terminated, or truncated if not `terminates`. Every value is
    reward / (1 - gamma) under truncation. Under termination with limit 2 the state tells the time:
    V = [reward * (1 + gamma), reward]. The return is reward * limit under every policy.
    """

    def __init__(
        self, reward: float = 1.0, limit: int = 2, terminates: bool = False, choices: int = 0
    ) -> None:
        self.reward, self.limit, self.terminates = reward, limit, terminates
        self.action_space = action_space(choices)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.steps = 0
        return one_hot(0, 2), {}

    def step(self, action: Any) -> Stepped:
        self.steps += 1
        over = self.steps >= self.limit
        terminated, truncated = over and self.terminates, over and not self.terminates
        return one_hot(self.steps % 2, 2), self.reward, terminated, truncated, {}


class Quadratic(gym.Env):
    """One step with reward -sum((action - target)^2), target evenly spread in [-0.5, 0.5].

    The obs is [1]. Optimal return 0. Nothing is random: equal parameters have equal returns.
    """

    def __init__(self, dims: int = 2) -> None:
        self.target = np.linspace(-0.5, 0.5, dims, dtype=np.float32)
        self.action_space = action_space(0, dims)
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Stepped:
        reward = -float(np.sum((np.asarray(action) - self.target) ** 2))
        return np.ones(1, np.float32), reward, True, False, {}


class Fault(Counting):
    """Counting that breaks at its `at`-th step (1 is the first, over all episodes).

    kind: "raise" RuntimeError, "hang" forever, "exit" the process with status 13, "kill" it by
    SIGKILL, "nan" as obs and reward of that step, or "none". `once` is a file that is made when the
    fault happens and prevents further ones, for tests of restarting.
    """

    kinds = ("none", "raise", "hang", "exit", "kill", "nan")

    def __init__(
        self, kind: str = "none", at: int = 1, once: str | None = None, choices: int = 0
    ) -> None:
        super().__init__(choices)
        if kind not in self.kinds:
            raise ValueError(f"env.kwargs.kind={kind!r} is not one of {', '.join(self.kinds)}")
        self.kind, self.at, self.once = kind, at, once
        self.lived = 0

    def step(self, action: Any) -> Stepped:
        self.lived += 1
        stepped = super().step(action)
        if self.kind == "none" or self.lived != self.at or (self.once and Path(self.once).exists()):
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


TOYS: dict[str, dict[str, Any]] = {
    "Identity": {},
    "IdentityDiscrete": {"entry": "Identity", "choices": 4},
    "Counting": {},
    "CountingDiscrete": {"entry": "Counting", "choices": 3},
    "Corridor": {},
    "Chain": {},
    "Recall": {},
    "Loop": {},
    "Quadratic": {},
    "Fault": {},
}

for toy, defaults in TOYS.items():
    entry = defaults.pop("entry", toy)
    gym.register(f"paceline/{toy}-v0", f"envs.toys:{entry}", kwargs=defaults)
