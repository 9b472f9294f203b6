"""A toy that takes an image and a vector together: Identity, half of whose answer each of them
has."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.toys import action_space, counts


class IdentityDict(gym.Env):
    """One half of the image, uint8 [size, size, 1], is light, the left (0) or the right one (1);
    the vector, float32 [2], is [1, 0] (0) or [0, 1] (1); both are drawn anew for each step.

    Discrete, 4 choices: the right action is 2 image + vector, the reward -1 if wrong. A policy that
    sees one of them earns -5 in an episode of 10 steps, a uniform one -7.5. Box (`choices=0`): the
    target is [image, vector] - 0.5, the reward -mean((action - target)^2), -1.25 and -5.83. The
    optimal return is 0. An episode terminates after `length` steps.
    """

    def __init__(self, size: int = 16, choices: int = 4, length: int = 10) -> None:
        counts(8, size=size)
        counts(length=length)
        if choices not in (0, 4):
            raise ValueError(f"choices={choices} must be 0, for a Box, or 4")
        self.size, self.choices, self.length = size, choices, length
        self.action_space = action_space(choices, 2)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (size, size, 1), np.uint8),
            vector=spaces.Box(0.0, 1.0, (2,), np.float32),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: Any) -> Any:
        if self.choices:
            reward = float(int(action) == 2 * self.shown[0] + self.shown[1]) - 1.0
        else:
            reward = -float(np.mean((np.asarray(action) - (self.shown - 0.5)) ** 2))
        self.steps += 1
        return self._show(), reward, self.steps >= self.length, False, {}

    def _show(self) -> dict[str, np.ndarray]:
        self.shown = self.np_random.integers(2, size=2)
        image = np.zeros((self.size, self.size, 1), np.uint8)
        begin = int(self.shown[0]) * self.size // 2
        image[:, begin : begin + self.size // 2] = 255
        return {"image": image, "vector": np.eye(2, dtype=np.float32)[self.shown[1]]}
