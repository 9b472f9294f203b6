"""Gymnasium's CarRacing with small pictures, of which only those are drawn that somebody sees.

Drawing takes nearly all of a step's time: the original turns 700 polygons in Python, for 1000 x 800
pixels in every step. Here it is done once for a repeated action, only what is in sight is turned
into points, and the picture is shrunk to the size that is asked for without a stop at 96.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d import car_racing
from pygame import gfxdraw

from envs.toys import counts

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
SCREEN = np.array([car_racing.WINDOW_W, car_racing.WINDOW_H])  # pixels
CORNERS = car_racing.GRASS_DIM * np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
PATCHES = np.mgrid[-20:20:2, -20:20:2].reshape(2, -1).T * car_racing.GRASS_DIM
GRASS = PATCHES[:, None] + CORNERS  # [400, 4, 2], x and y of the lawn's patches


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
        counts(size=size)
        super().__init__(
            render_mode=render_mode,
            continuous=continuous,
            domain_randomize=domain_randomize,
            lap_complete_percent=lap_complete_percent,
        )
        self.size, self.grey, self.left = size, grey, 0
        self.observation_space = spaces.Box(0, 255, (size, size, 1 if grey else 3), np.uint8)
        self.road_poly: list[Any] = []  # the original's: corners and colour of each tile
        self.laid = self.road_poly  # of which `polygons` were made
        self.polygons = GRASS

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

    def _render_road(self, zoom: float, translation: Any, angle: float) -> None:
        """The original's, polygon by polygon the same pixels."""
        surface: Any = self.surf
        edge = car_racing.PLAYFIELD
        field = [(edge, edge), (edge, -edge), (-edge, -edge), (-edge, edge)]
        self._draw_colored_polygon(
            surface, field, self.bg_color, zoom, translation, angle, clip=False
        )
        if self.laid is not self.road_poly:
            self.laid = self.road_poly
            self.polygons = np.array([*GRASS, *(corners for corners, _ in self.laid)])
        turn = math.fmod(angle, math.tau)  # as pygame's Vector2 does, to the last bit
        turn += math.tau if turn < 0 else 0
        cos, sin = math.cos(turn), math.sin(turn)
        x, y = self.polygons[..., 0], self.polygons[..., 1]
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], -1)
        points = turned * zoom + np.array([*translation])
        seen = (points.max(1) >= -2) & (points.min(1) <= SCREEN + 2)
        for number in np.flatnonzero(seen.all(1)):
            tile = number - len(GRASS)
            colour = self.grass_color if tile < 0 else [int(c) for c in self.laid[tile][1]]
            corners = points[number].tolist()
            gfxdraw.aapolygon(surface, corners, colour)
            gfxdraw.filled_polygon(surface, corners, colour)

    def _create_image_array(self, screen: Any, size: tuple[int, int]) -> np.ndarray:
        if size != (car_racing.STATE_W, car_racing.STATE_H):
            return super()._create_image_array(screen, size)  # for a film
        image = super()._create_image_array(screen, (self.size, self.size))
        if self.grey:
            image = np.rint(image @ LUMA).astype(np.uint8)[..., None]
        return np.ascontiguousarray(image)
