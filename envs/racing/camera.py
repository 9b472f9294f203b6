"""What a camera in the nose of a car sees of the road, as strips of pixels, in NumPy.

The strip is the one that Learn-to-Race's agents see (Herman et al. 2021, arXiv:2103.11575): the
picture of its front camera, 512 x 384 with a field of view of 90 degrees, 2.1 m before the middle
of the car, 0.7 m high and level, shrunk to 144 x 144, of which rows 68 to 109 are kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs.racing import ground
from envs.racing.track import Track

WIDTH = 144  # pixels, over a field of view of 90 degrees
FORWARD = 2.1  # metres of the eye before the middle of the car
SKY = (142, 178, 214)
COLOURS = {
    ground.GRASS: (78, 118, 62),
    ground.LAWN: (66, 104, 54),
    ground.VERGE: (134, 132, 84),
    ground.RED: (196, 48, 44),
    ground.WHITE: (236, 236, 232),
    ground.ASPHALT: (98, 98, 104),
    ground.PATCH: (110, 110, 115),
}


class View(NamedTuple):
    """The rows of a camera. sky: rows above the horizon; eye: metres above the road; pitch: of one
    row, as a slope."""

    sky: int
    eye: float
    pitch: float


# 42: the strip of Learn-to-Race, from a level eye 0.7 m high: three rows show all that is more than
# 22 m away. 84: from 3 m above the road, in rows half as high: 26 rows show it, and the nearest
# row is 7.6 m away.
VIEWS = {42: View(4, 0.7, 2 / 144 * 0.75), 84: View(8, 3.0, 1 / 144 * 0.75)}
RAYS = {1: (1, 1), 2: (1, 2), 6: (2, 3)}  # rows and columns of the ground points of a pixel


def check_view(height: int, rays: int) -> None:
    """Raises ValueError for a view that is not there."""
    for name, value, known in (("view_height", height, [*VIEWS]), ("rays", rays, [*RAYS])):
        if type(value) is not int or value not in known:
            raise ValueError(f"{name}={value} is not one of {', '.join(map(str, known))}")


class Camera:
    """Cameras in cars on some tracks. height: pixel rows, 42 or 84, see VIEWS; rays: ground points
    that a pixel averages, 1, 2 or 6. Raises ValueError for others.

    A pixel's ground points lie in rows across the car's direction, at the same places for every
    picture; they are turned and moved with the car and looked up in the track's ground.
    """

    def __init__(self, tracks: Sequence[Track], *, height: int = 42, rays: int = 1) -> None:
        check_view(height, rays)
        self.tracks, self.height, self.rays = list(tracks), height, rays
        self.view, (down, across) = VIEWS[height], RAYS[rays]
        rows, columns = height - self.view.sky, WIDTH
        slope = (np.arange(rows * down) + 0.5) * (self.view.pitch / down)
        distance = self.view.eye / slope / ground.CELL
        side = 1.0 - (np.arange(columns * across) + 0.5) * (
            2 / (columns * across)
        )  # left: positive
        # [down, 1, rows, 1] and [1, across, 1, columns], so that a ray's points lie together
        self._distance = distance.reshape(rows, down).T[:, None, :, None].astype(np.float32)
        self._side = side.reshape(columns, across).T[None, :, None, :].astype(np.float32)
        self._sight = float(distance.max())
        self._palette = palette(rays)
        shape = (down, across, rows, columns)
        self._points, self._at = np.empty(shape, np.float32), np.empty(shape, np.int64)
        self._cell, self._row = np.empty((2, *shape), np.int32)
        self._surface = np.empty(shape, np.uint8)
        self._code = np.empty((rows, columns), np.int64)
        self._colours = np.empty((rows, columns), np.uint32)
        self._channels = self._colours.view(np.uint8).reshape(rows, columns, 4)

    def images(
        self, which: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray
    ) -> np.ndarray:
        """uint8 [m, height, 144, 3], red, green, blue: what cars see on the tracks of the numbers
        `which` (int64 [m]) at x, y (metres) and yaw (radians), float64 [m]."""
        sky = self.view.sky
        pictures = np.empty((len(which), self.height, WIDTH, 3), np.uint8)
        pictures[:, :sky] = SKY
        poses = zip(which.tolist(), x.tolist(), y.tolist(), yaw.tolist(), strict=True)
        for picture, (track, *pose) in zip(pictures, poses, strict=True):
            self._look(ground.ground(self.tracks[track]), pose, picture[sky:])
        return pictures

    def _look(self, here: ground.Ground, pose: Sequence[float], picture: np.ndarray) -> None:
        """Fills the rows below the horizon, uint8 [rows, 144, 3], from a pose: x, y, yaw."""
        x, y, yaw = pose
        (rows, columns), (west, south) = here.cells.shape, here.low
        cos, sin = math.cos(yaw), math.sin(yaw)
        east = self._along((x + FORWARD * cos) / ground.CELL - west, cos, -sin, columns)
        np.copyto(self._cell, east, casting="unsafe")
        north = self._along((y + FORWARD * sin) / ground.CELL - south, sin, cos, rows)
        np.copyto(self._row, north, casting="unsafe")
        self._row *= columns
        self._cell += self._row
        np.copyto(self._at, self._cell)
        here.cells.take(self._at, out=self._surface, mode="clip")
        first, *others = self._surface.reshape(self.rays, *self._code.shape)
        np.copyto(self._code, first)
        for surface in others:
            self._code *= 8
            self._code += surface
        self._palette.take(self._code, out=self._colours, mode="clip")
        for channel in range(3):  # faster than the three together
            picture[:, :, channel] = self._channels[:, :, channel]

    def _along(self, eye: float, ahead: float, left: float, count: int) -> np.ndarray:
        """One coordinate of all points, in cells, at most those at the border of `count` cells;
        `ahead` and `left` are what a cell in these directions adds to it."""
        turned = self._side * np.float32(left)
        turned += np.float32(ahead)
        points = np.multiply(self._distance, turned, out=self._points)
        points += np.float32(eye)
        most = ahead + abs(left), ahead - abs(left)
        if eye + self._sight * min(0.0, *most) < 0 or eye + self._sight * max(0.0, *most) >= count:
            np.maximum(points, np.float32(0), out=points)
            np.minimum(points, np.float32(count - 1), out=points)
        return points


@functools.cache
def palette(rays: int) -> np.ndarray:
    """uint32 [8 ** rays]: the mean colour of `rays` surfaces, whose numbers are the digits to the
    base 8 of the index; the bytes are red, green, blue and none."""
    mean = np.zeros((8**rays, 4), np.uint16)
    surfaces = np.arange(8**rays)
    table = np.array([[*COLOURS.get(surface, SKY), 0] for surface in range(8)], np.uint16)
    for ray in range(rays):
        mean += table[surfaces // 8**ray % 8]
    return ((mean + rays // 2) // rays).astype(np.uint8).view(np.uint32)[:, 0]
