"""Gymnasium's CarRacing with small pictures, of which only those are drawn that somebody sees.

Drawing takes most of a step's time: the original draws 1000 x 800 pixels in every step. Here it is
done once for a repeated action, and shrunk to the size that is asked for without a stop at 96.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d import car_racing

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class CarRacing(car_racing.CarRacing):
    """CarRacing-v3; obs uint8 [size, size, 1], or 3 channels if not `grey`. With size 96 and
    colours it shows what the original shows. The other keywords are the original's.

    `left` is set by ActionRepeat (envs/wrappers.py): how many steps of the same action follow this
    one. A step that others follow shows the picture from before.
    """

    def __init__(
        self,
        size: int = 64,
        grey: bool = True,
        continuous: bool = True,
        domain_randomize: bool = False,
        lap_complete_percent: float = 0.95,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            render_mode=render_mode,
            continuous=continuous,
            domain_randomize=domain_randomize,
            lap_complete_percent=lap_complete_percent,
        )
        self.size, self.grey, self.left = size, grey, 0
        self.observation_space = spaces.Box(0, 255, (size, size, 1 if grey else 3), np.uint8)

    def look(self) -> np.ndarray:
        """The picture as it is now, an array of its own."""
        now, self.reward = self.reward, self.written
        self.state = super()._render("state_pixels")
        self.reward = now
        return self.state

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        self.written = self.reward  # a picture shows the score before its step
        return self.state if self.left else self.look()

    def _create_image_array(self, screen: Any, size: tuple[int, int]) -> np.ndarray:
        if size != (car_racing.STATE_W, car_racing.STATE_H):
            return super()._create_image_array(screen, size)  # for a film
        image = super()._create_image_array(screen, (self.size, self.size))
        if self.grey:
            image = np.rint(image @ LUMA).astype(np.uint8)[..., None]
        return np.ascontiguousarray(image)
