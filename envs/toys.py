"""Tiny deterministic envs to learn, registered as `paceline/NAME-v0`; each asks one question.

    Identity   does an agent learn at all?  (optimal return 0)
    Corridor   does a reward travel back along a chain?  (optimal return 1)
    Chain      is a large reward found behind a small one?  (optimal return 12)
    Recall     does the recurrent state remember the cue?  (optimal return 1, else 1 / cues)
    Loop       is truncation kept apart from termination?  (value r / (1 - gamma), or a short sum)
    Quadratic  does an evolution strategy descend?  (optimal return 0)
    Spot       are images read?  (the return is minus a sum of distances)
    Drift      are frames stacked?  (envs/drift.py; optimal return 7.25 of 8, else 2)
    IdentityDict  are an image and a vector read together?  (envs/identity_dict.py; 0, else -5)

`TOYS` also registers Counting and Fault, for tests of storage and supervision (envs/counting.py).
`choices` is the number of Discrete actions; 0 stands for a Box in [-1, 1].
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Stepped = tuple[np.ndarray, float, bool, bool, dict[str, Any]]
Started = tuple[np.ndarray, dict[str, Any]]


def action_space(choices: int, dims: int = 1) -> gym.Space:
    return spaces.Discrete(choices) if choices else spaces.Box(-1.0, 1.0, (dims,), np.float32)


def counts(least: int = 1, /, **sizes: Any) -> None:
    """Raises ValueError, with its name, for a size that is no whole number of at least `least`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
            raise ValueError(f"{name}={size} must be a whole number of at least {least}")


def finite(**numbers: Any) -> None:
    """Raises ValueError, with its name, for what is no finite number."""
    for name, number in numbers.items():
        if type(number) not in (int, float) or not -1e9 < number < 1e9:
            raise ValueError(f"{name}={number} must be a number between -1e9 and 1e9")


def one_hot(index: int, size: int) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[index] = 1.0
    return vector


class Identity(gym.Env):
    """The best action is the obs. An episode terminates after `length` steps; optimal return 0.

    Box: the obs is a target in [-1, 1]^dims, the reward -mean((action - target)^2); a uniform
    policy gets -2/3 a step. Discrete: the obs is the target one-hot, the reward -1 if wrong.
    """

    def __init__(self, dims: int = 1, choices: int = 0, length: int = 10) -> None:
        counts(dims=dims, length=length)
        counts(0, choices=choices)
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


class Corridor(gym.Env):
    """A chain of `length` cells, one-hot; 0 goes left, 1 right; reward 1 at the right end, else 0.

    Starts at the left end, is truncated after `limit` steps (4 * length if None). Optimal return 1
    in length - 1 steps; the optimal value d steps from the end is gamma^(d - 1).
    """

    def __init__(self, length: int = 8, limit: int | None = None) -> None:
        counts(2, length=length)
        counts(limit=limit or 1)
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
    """A chain of `length` cells with a small reward near and a large one far: Osband et al. 2016,
    arXiv:1602.04621, section 5.

    0 goes left, 1 right; at an end the agent stays there. A step that ends in the first cell
    is worth `small`, one that ends in the last is worth 1, others nothing. Starts in the second
    cell and is truncated after length + 9 steps, so that going right gives 12 at any length, while
    a uniform policy of a long chain practically never sees the 1. The obs of cell k is k + 1 ones,
    then zeros: the paper's encoding that generalises better.
    """

    def __init__(self, length: int = 20, small: float = 0.001) -> None:
        counts(3, length=length)  # two ends and a way between
        finite(small=small)
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
    Optimal return 1; a policy without memory gets 1 / cues, as a uniform one does.
    """

    def __init__(self, cues: int = 4, delay: int = 8) -> None:
        counts(cues=cues)
        counts(0, delay=delay)
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
        counts(limit=limit)
        finite(reward=reward)
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
        counts(dims=dims)
        self.target = np.linspace(-0.5, 0.5, dims, dtype=np.float32)
        self.action_space = action_space(0, dims)
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Stepped:
        reward = -float(np.sum((np.asarray(action) - self.target) ** 2))
        return np.ones(1, np.float32), reward, True, False, {}


class Spot(gym.Env):
    """A spot of light that an action moves, and a mark; the obs is an image, uint8 [size, size, 3].

    Red is the spot and green the mark, at random places [x, y] in [0.1, 0.9]^2, each as a Gaussian
    of width 0.06 (or of 0.6 pixels, if that is more); the image's sides are 1. A Box action moves
    the spot by at most 0.15 along each axis; the five `choices` of a Discrete one are to stay and
    to move by 0.1 to the right, the left, down and up. The reward is minus the distance afterwards;
    an episode is truncated after `length` steps.
    """

    MOVES = np.array([(0, 0), (0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)])

    def __init__(self, size: int = 24, choices: int = 0, length: int = 25) -> None:
        counts(size=size, length=length)
        if choices not in (0, len(self.MOVES)):
            raise ValueError(f"choices={choices} must be 0, for a Box, or {len(self.MOVES)}")
        self.size, self.choices, self.length = size, choices, length
        self.action_space = action_space(choices, 2)
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.spot, self.mark = self.np_random.uniform(0.1, 0.9, (2, 2))
        self.steps = 0
        return self._show(), {}

    def step(self, action: Any) -> Stepped:
        move = self.MOVES[int(action)] if self.choices else 0.15 * np.asarray(action)
        self.spot = np.clip(self.spot + move, 0.1, 0.9)
        self.steps += 1
        reward = -float(np.linalg.norm(self.spot - self.mark))
        return self._show(), reward, False, self.steps >= self.length, {}

    def _show(self) -> np.ndarray:
        centres = (np.arange(self.size) + 0.5) / self.size
        width = max(0.06, 0.6 / self.size)
        image = np.zeros((self.size, self.size, 3), np.uint8)
        for channel, place in enumerate((self.spot, self.mark)):
            x, y = np.exp(-0.5 * np.square((centres - place[:, None]) / width))
            image[:, :, channel] = 255 * np.outer(y, x)
        return image


TOYS: dict[str, tuple[str, dict[str, Any]]] = {
    "Identity": ("envs.toys:Identity", {}),
    "IdentityDiscrete": ("envs.toys:Identity", {"choices": 4}),
    "Counting": ("envs.counting:Counting", {}),
    "CountingDiscrete": ("envs.counting:Counting", {"choices": 3}),
    "Corridor": ("envs.toys:Corridor", {}),
    "Chain": ("envs.toys:Chain", {}),
    "Recall": ("envs.toys:Recall", {}),
    "Loop": ("envs.toys:Loop", {}),
    "Quadratic": ("envs.toys:Quadratic", {}),
    "Spot": ("envs.toys:Spot", {}),
    "SpotDiscrete": ("envs.toys:Spot", {"choices": 5}),
    "Drift": ("envs.drift:Drift", {}),
    "IdentityDict": ("envs.identity_dict:IdentityDict", {}),
    "Fault": ("envs.counting:Fault", {}),
}

for toy, (entry, defaults) in TOYS.items():
    gym.register(f"paceline/{toy}-v0", entry, kwargs=defaults)
