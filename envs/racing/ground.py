"""What the ground around a track looks like from above: one surface for every 0.2 m."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from envs.racing.track import Track

CELL = 0.2  # metres
# Where roads come near each other, the later surface covers the earlier one.
GRASS, LAWN, VERGE, RED, WHITE, ASPHALT, PATCH = range(7)
LINE = 0.3  # metres of the white line along each edge, inside the road
SHOULDER = 2.5  # metres of verge outside the road
KERB = 1.0  # metres outside the road of a kerb, in place of verge,
BEND = 1 / 90  # 1/m, where the road bends more than that
STRIPE = 1.5  # metres of red or white of a kerb
PATCH_LENGTH, PATCH_WIDTH = 4.0, 3.0  # metres of asphalt of one shade
SQUARE = 2.0  # metres of grass of one shade
STRETCH = 16  # samples whose cells are found in one go


class Ground(NamedTuple):
    """The surfaces of a track. cells: uint8 [rows, columns]; row i, column j covers the 0.2 m from
    y = (low[1] + i) * CELL north and x = (low[0] + j) * CELL east. low: int, int."""

    cells: np.ndarray
    low: tuple[int, int]


_built: weakref.WeakKeyDictionary[Track, Ground] = weakref.WeakKeyDictionary()


def ground(track: Track) -> Ground:
    """The surfaces of a track; they are drawn once a process. The cells of a mirrored track are the
    mirrored cells, and around them all there is grass."""
    if track not in _built:
        _built[track] = _draw(track)
    return _built[track]


def _draw(track: Track) -> Ground:
    reach = float(max(track.left.max(), track.right.max())) + SHOULDER
    line, n = np.stack([track.x, track.y], 1), len(track.x)
    low, high = _box(line, reach + 1.0)
    cells = _lawn(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    for first in range(0, n, STRETCH):
        samples = np.arange(first - 1, min(first + STRETCH, n) + 1) % n
        near, far = _box(line[samples], reach)
        box = tuple(slice(a, b) for a, b in zip((near - low)[::-1], (far - low)[::-1], strict=True))
        x, y = (CELL * (np.arange(a, b) + 0.5) for a, b in zip(near, far, strict=True))
        cells[box] = np.maximum(cells[box], _surfaces(track, samples, x, y, reach))
    return Ground(cells, (int(low[0]), int(low[1])))


def _box(points: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The first column and row within `reach` of points [n, 2], and those behind the last."""
    low, high = (points.min(0) - reach) / CELL, (points.max(0) + reach) / CELL
    return np.floor(low).astype(np.int64), np.ceil(high).astype(np.int64)


def _lawn(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Grass in squares of two shades, the same on both sides of each axis."""
    x, y = ((np.abs(at + 0.5) * CELL // SQUARE % 2).astype(np.uint8) for at in (columns, rows))
    return x ^ y[:, None]  # GRASS or LAWN


def _surfaces(
    track: Track, samples: np.ndarray, x: np.ndarray, y: np.ndarray, reach: float
) -> np.ndarray:
    """What a stretch of road lays on the cells at x [columns], y [rows] whose nearest sample is one
    of `samples`, but for the first and the last, which are there to compare with; else GRASS."""
    best = np.full((len(y), len(x)), np.inf, np.float32)
    nearest = np.zeros(best.shape, np.int64)
    for number, sample in enumerate(samples):
        east, north = (x - track.x[sample]) ** 2, (y - track.y[sample]) ** 2
        apart = north.astype(np.float32)[:, None] + east.astype(np.float32)
        np.copyto(nearest, number, where=apart < best)
        np.minimum(best, apart, out=best)
    row, column = np.nonzero((nearest > 0) & (nearest < len(samples) - 1) & (best < reach**2))
    at = samples[nearest[row, column]]
    east, north = x[column] - track.x[at], y[row] - track.y[at]
    cos, sin = np.cos(track.heading)[at], np.sin(track.heading)[at]
    lateral = north * cos - east * sin
    turned = np.maximum(1.0 - track.curvature[at] * lateral, 0.2)
    along = at * track.spacing + (east * cos + north * sin) / turned
    lateral -= 0.5 * track.curvature[at] * (east * cos + north * sin) ** 2 / turned
    outside = np.where(lateral > 0, lateral - track.left[at], -lateral - track.right[at])
    bends = np.abs(track.curvature[at]) > BEND
    patch = (along // PATCH_LENGTH + np.abs(lateral) // PATCH_WIDTH) % 2 == 0
    surface = np.select(
        [outside > SHOULDER, bends & (outside > 0) & (outside <= KERB), outside > 0],
        [GRASS, np.where(along // STRIPE % 2 == 0, RED, WHITE), VERGE],
        np.where(outside > -LINE, WHITE, np.where(patch, ASPHALT, PATCH)),
    )
    found = np.zeros(best.shape, np.uint8)
    found[row, column] = surface
    return found
