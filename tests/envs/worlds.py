"""Worlds with spaces that agents do not see as they are, registered as `worlds/NAME-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.counting import Counting


class Pairs(gym.Env):
    """Name which of 3 and which of 2 you see, 10 times; the optimal return is 0, a uniform policy's
    -8.3. Discrete parts of a Dict as observations, MultiDiscrete actions that begin at 1."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            which=spaces.Discrete(3), other=spaces.Discrete(2), noise=spaces.Box(0.0, 1.0, (2,))
        )
        self.action_space = spaces.MultiDiscrete([3, 2], start=[1, 1])

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        right = (action[0] - 1 == self.shown[0]) and (action[1] - 1 == self.shown[1])
        self.steps += 1
        return self._show(), float(right) - 1.0, self.steps >= 10, False, {}

    def _show(self) -> dict[str, Any]:
        self.shown = self.np_random.integers([3, 2])
        noise = self.np_random.random(2, np.float32)
        return {"which": self.shown[0], "other": self.shown[1], "noise": noise}


class Matrix(gym.Env):
    """A matrix [2, 2] to be answered by itself; the reward is minus the squared distance."""

    observation_space = spaces.Box(-1.0, 1.0, (2, 2), np.float32)
    action_space = spaces.Box(-2.0, 2.0, (2, 2), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self.shown, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        return self.shown, -float(np.square(action - self.shown).sum()), True, False, {}


class Pictures(Counting):
    """Counting whose four numbers are shown as an image [8, 8, 1] of their bytes, four times over;
    with `both` as a Dict of it and of the numbers themselves."""

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.both, numbers = both, self.observation_space
        image = spaces.Box(0, 255, (8, 8, 1), np.uint8)
        self.observation_space = spaces.Dict(image=image, numbers=numbers) if both else image

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        obs, info = super().reset(seed=seed, options=options)
        return self._shown(obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        obs, *rest = super().step(action)
        return self._shown(obs), *rest

    def _shown(self, numbers: np.ndarray) -> Any:
        image = np.tile(numbers.view(np.uint8), 4).reshape(8, 8, 1)
        return {"image": image, "numbers": numbers} if self.both else image


gym.register("worlds/Pairs-v0", Pairs)
gym.register("worlds/Pictures-v0", Pictures)
gym.register("worlds/Matrix-v0", Matrix)
