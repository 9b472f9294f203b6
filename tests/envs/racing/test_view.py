"""The frames of a video."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

from envs.racing.circuits import named
from envs.racing.track import Track
from envs.racing.view import COLOURS, Frames, _runs, clock, colour

CAR, NIGHT, ROAD = (0xFF, 0x5A, 0x4F), (0x12, 0x16, 0x1C), (0x3B, 0x42, 0x4D)
GREENS = ((0x24, 0x40, 0x2F), (0x27, 0x46, 0x34))


@pytest.fixture(scope="module")
def track() -> Track:
    return named("oval")


@pytest.fixture(scope="module")
def frames(track: Track) -> Frames:
    return Frames(track)


def shown(frames: Frames, track: Track, sample: int, **given: Any) -> np.ndarray:
    """A frame of a car on a sample of the centreline."""
    values: dict[str, Any] = {
        "x": float(track.x[sample]),
        "y": float(track.y[sample]),
        "yaw": float(track.heading[sample]),
        "speed": 40.0,
        "lap": 1,
        "lap_seconds": 12.3,
        "last_lap": None,
        "trail": np.empty((0, 3)),
        **given,
    }
    return frames.frame(**values)


def trail(track: Track, end: int) -> np.ndarray:
    speed = 30 + 20 * np.sin(np.arange(end) / 60)
    return np.stack([track.x[:end], track.y[:end], speed], 1)[::4]


@pytest.mark.parametrize("size", [(960, 540), (640, 360), (500, 501)])
def test_a_frame_is_an_image_of_the_asked_size(track: Track, size: tuple[int, int]) -> None:
    image = shown(Frames(track, size), track, 100, trail=trail(track, 100))
    assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8
    assert image.flags.writeable and image.flags.c_contiguous


@pytest.mark.parametrize("sample", [0, 150, 400, 900])
def test_the_marker_is_where_the_map_says(frames: Frames, track: Track, sample: int) -> None:
    image = shown(frames, track, sample)
    left = image[:, :480].astype(int)
    rows, columns = np.nonzero((left == CAR).all(2))
    expected = frames.on_map(track.x[sample], track.y[sample])
    assert np.abs([columns.mean() + 0.5, rows.mean() + 0.5] - expected).max() < 1.1


def test_the_map_is_north_up_to_one_scale_and_inside_its_half(frames: Frames, track: Track) -> None:
    spots = frames.on_map(track.x, track.y)
    assert spots.min() > 20 and spots[:, 0].max() < 460 and spots[:, 1].max() < 440
    east, north = (
        frames.on_map(1, 0) - frames.on_map(0, 0),
        frames.on_map(0, 1) - frames.on_map(0, 0),
    )
    assert east[0] > 0 and east[1] == 0 and north[0] == 0 and north[1] == pytest.approx(-east[0])


def test_the_car_is_in_its_close_up_on_the_road_with_grass_beside(
    frames: Frames, track: Track
) -> None:
    for sample in (150, 500):  # on the straight and in the bend
        image = shown(frames, track, sample)
        assert tuple(image[378 + 7, 720]) == CAR  # behind its windscreen
        assert tuple(image[378 + 30, 720]) == ROAD
        assert tuple(image[378, 500]) in GREENS


def test_the_box_of_the_car_has_its_size_and_heading(frames: Frames, track: Track) -> None:
    def box(yaw: float) -> tuple[int, int]:
        right = shown(frames, track, 150, yaw=yaw)[:, 480:].astype(int)
        rows, columns = np.nonzero(np.abs(right - CAR).sum(2) < 120)
        return np.ptp(columns) + 1, np.ptp(rows) + 1

    heading = float(track.heading[150])
    wide, tall = box(heading)
    assert abs(wide - 8 * 1.68) <= 3 and abs(tall - 8 * 3.0) <= 3  # 8 pixels a metre
    assert box(heading + math.pi / 2) == pytest.approx((tall, wide), abs=2)


def test_the_road_leads_upwards_and_bends_to_its_side(frames: Frames, track: Track) -> None:
    start = int(np.argmax(np.abs(track.curvature) > 0.5 / 60))
    image = shown(frames, track, start)[:, 480:]
    road = (image == ROAD).all(2)
    ahead = np.nonzero(road[60])[0].mean() - np.nonzero(road[400])[0].mean()
    assert np.sign(ahead) == -np.sign(track.curvature[start])


def test_frames_change_with_place_heading_speed_and_times(frames: Frames, track: Track) -> None:
    first = shown(frames, track, 100)
    assert (first == shown(frames, track, 100)).all()
    moved, turned = shown(frames, track, 130), shown(frames, track, 100, yaw=1.0)
    assert (first[:, :480] != moved[:, :480]).any() and (first[:, 480:] != moved[:, 480:]).any()
    assert (first[:, :480] == turned[:, :480]).all() and (first[:, 480:] != turned[:, 480:]).any()
    assert (first[440:, 760:] != shown(frames, track, 100, speed=50.0)[440:, 760:]).any()
    for given in ({"lap": 2}, {"lap_seconds": 13.0}, {"last_lap": 40.0}, {"best_lap": 39.0}):
        other = shown(frames, track, 100, **given)
        assert (first[440:, :480] != other[440:, :480]).any()
        assert (first[:440] == other[:440]).all()


def test_the_driven_line_has_the_colour_of_its_speed(frames: Frames, track: Track) -> None:
    slow, fast = trail(track, 400), trail(track, 400)
    slow[:, 2], fast[:, 2] = 0, 65
    column, row = frames.on_map(track.x[200], track.y[200]).astype(int)
    for line, expected in ((slow, COLOURS[0]), (fast, COLOURS[-1])):
        pixel = shown(frames, track, 700, trail=line)[row, column]
        assert bytes(pixel).hex() == expected[1:]
    assert tuple(shown(frames, track, 700)[row, column]) == ROAD


def test_a_growing_line_is_drawn_like_a_whole_one(track: Track) -> None:
    whole = trail(track, 600)
    growing = Frames(track)
    for end in (0, 1, 2, 40, 41, 150):
        last = shown(growing, track, 599, trail=whole[:end])
    assert (last == shown(Frames(track), track, 599, trail=whole[:150])).all()
    other = whole[:60] + np.array([0, 30, 0])
    again = shown(growing, track, 599, trail=other)
    assert (again == shown(Frames(track), track, 599, trail=other)).all()


def test_colours_run_from_slow_to_fast_and_are_clipped() -> None:
    ends = colour(np.array([-1.0, 0.0, 1.0, 2.0]))
    assert [bytes(end).hex() for end in ends] == [COLOURS[i][1:] for i in (0, 0, -1, -1)]
    light = colour(np.linspace(0, 1, 50)) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(light) > 0).all()


def test_the_clock_rounds_to_hundredths_and_carries() -> None:
    assert [clock(t) for t in (0, 87.434, 59.996, 119.999)] == [
        "0:00.00", "1:27.43", "1:00.00", "2:00.00",
    ]  # fmt: skip
    assert clock(None) == clock(math.nan) == "-"


def test_stretches_of_a_closed_road_go_on_over_its_start() -> None:
    near = np.zeros(20, bool)
    near[[0, 1, 8, 9, 10, 18, 19]] = True
    assert [run.tolist() for run in _runs(near)] == [[8, 9, 10], [18, 19, 0, 1]]
    assert _runs(np.ones(4, bool))[0].tolist() == [0, 1, 2, 3, 0]
    assert _runs(np.zeros(4, bool)) == []


def test_a_missing_pygame_is_named(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gymnasium\[box2d\]'"):
        Frames(track)
