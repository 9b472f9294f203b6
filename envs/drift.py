"""A toy whose single images tell nothing: which way does the dot move?"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.toys import Started, Stepped, counts


class Drift(gym.Env):
    """A dot drifts over an image, uint8 [size, size, 1]; the action names its direction.

    It begins anywhere, moves by an eighth of the image at each step, to the right, the left, down
    or up, the same way through an episode, and comes back in on the other side. The reward is 1 if
    the action is the direction, else 0; an episode terminates after `length` steps. The first image
    of an episode tells nothing, and neither does any other alone: a policy that sees one at a time
    earns length / 4, one that sees two earns length - 3 / 4.
    """

    WAYS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])  # rows, columns

    def __init__(self, size: int = 36, length: int = 8) -> None:
        counts(8, size=size)  # the places of a row
        counts(length=length)
        self.size, self.length = size, length
        self.action_space = spaces.Discrete(len(self.WAYS))
        self.observation_space = spaces.Box(0, 255, (size, size, 1), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        super().reset(seed=seed)
        self.place = self.np_random.integers(8, size=2)
        self.way, self.steps = int(self.np_random.integers(len(self.WAYS))), 0
        return self._show(), {}

    def step(self, action: Any) -> Stepped:
        right = int(action) == self.way
        self.place, self.steps = (self.place + self.WAYS[self.way]) % 8, self.steps + 1
        return self._show(), float(right), self.steps >= self.length, False, {}

    def _show(self) -> np.ndarray:
        image = np.zeros((self.size, self.size, 1), np.uint8)
        (top, left), (bottom, right) = (at * self.size // 8 for at in (self.place, self.place + 1))
        image[top:bottom, left:right] = 255
        return image
