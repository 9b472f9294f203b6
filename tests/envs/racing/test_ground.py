"""The ground around a track: which surface lies where."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from envs.racing import circuits, ground
from envs.racing.ground import ASPHALT, CELL, GRASS, LAWN, PATCH, RED, VERGE, WHITE
from envs.racing.track import Track


def at(track: Track, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The surfaces at points."""
    here = ground.ground(track)
    column, row = (np.floor(p / CELL).astype(int) for p in (x, y))
    return here.cells[row - here.low[1], column - here.low[0]]


@pytest.mark.parametrize(
    ("lateral", "surfaces"),
    [
        (0.0, {ASPHALT, PATCH}),
        (5.5, {ASPHALT, PATCH}),
        (5.85, {WHITE}),
        (6.5, {VERGE}),
        (8.2, {VERGE}),
        (9.0, {GRASS, LAWN}),
    ],
)
def test_a_straight_has_a_line_a_verge_and_grass_on_both_sides(
    lateral: float, surfaces: set[int]
) -> None:
    x = np.linspace(-150, 150, 601)
    for side in (1, -1):
        assert set(at(circuits.oval(), x, -60.0 + 0.01 + side * lateral + 0 * x)) == surfaces


def test_only_bends_have_kerbs_in_red_and_white() -> None:
    oval, angle = circuits.oval(), np.linspace(-1.4, 1.4, 900)
    for radius in (66.5, 53.5):
        kerb = at(oval, 200 + radius * np.cos(angle), radius * np.sin(angle))
        assert set(kerb) == {RED, WHITE}
        assert 0.3 < (kerb == RED).mean() < 0.7
    x = np.linspace(-150, 150, 601)
    assert RED not in at(oval, x, -60.0 + 6.5 + 0 * x)


def test_the_road_lies_where_the_nearest_sample_of_the_centreline_says() -> None:
    track, rng = circuits.chicane(), np.random.default_rng(0)
    sample = rng.integers(len(track.x), size=3000)
    x, y = np.stack([track.x, track.y])[:, sample] + rng.uniform(-9, 9, (2, 3000))
    apart = np.hypot(x[:, None] - track.x, y[:, None] - track.y)
    inside = 5.5 - apart.min(1)
    road = np.isin(at(track, x, y), [ASPHALT, PATCH, WHITE])
    kerb = at(track, x, y) == RED
    assert road[inside > 0.2].all()
    assert not road[inside < -ground.KERB - 0.2].any(), "beyond the kerb nothing is white"
    assert not kerb[inside > 0.2].any()


def test_a_mirrored_track_has_the_mirrored_ground() -> None:
    track = circuits.chicane()
    one, other = ground.ground(track), ground.ground(track.mirrored())
    np.testing.assert_array_equal(one.cells[::-1], other.cells)
    assert one.low[0] == other.low[0] and other.low[1] == -one.low[1] - len(one.cells)


def test_the_border_is_grass_so_that_there_is_grass_beyond() -> None:
    cells = ground.ground(circuits.chicane()).cells
    for border in (cells[0], cells[-1], cells[:, 0], cells[:, -1]):
        assert set(border) == {GRASS, LAWN}


def test_a_track_is_drawn_once_and_forgotten_with_it() -> None:
    track = circuits.oval()
    assert ground.ground(track) is ground.ground(track)
    gc.collect()
    before = len(ground._built)
    del track
    gc.collect()
    assert len(ground._built) == before - 1
