"""The metrics, against paths whose figures follow from geometry."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.racing.metrics import MEANINGS, METRICS, UNITS, Trace, measure, rms_curvature, roughness
from envs.racing.track import Track

GRAVITY = 9.81


def circle(radius: float = 100.0, n: int = 628, half_width: float = 6.0) -> Track:
    """A circular road, driven counter-clockwise from its easternmost point."""
    angle = 2 * np.pi * np.arange(n) / n
    wide = np.full(n, half_width)
    return Track(
        name="circle",
        x=radius * np.cos(angle),
        y=radius * np.sin(angle),
        heading=angle + np.pi / 2,
        curvature=np.full(n, 1 / radius),
        left=wide,
        right=wide,
        spacing=2 * np.pi * radius / n,
    )


def trace(x: Any, y: Any, track: Track, **given: Any) -> Trace:
    """A drive through the points, with the nearest samples found by comparing with all of them."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    far = np.hypot(x[:, None] - track.x, y[:, None] - track.y)
    given.setdefault("acceleration", np.zeros((len(x), 2)))
    given.setdefault("outside", np.zeros(len(x) - 1, np.int64))
    speed = np.full(len(x), 10.0)
    return Trace(x=x, y=y, speed=speed, index=far.argmin(1), lateral=far.min(1), **given)


def around(radius: float, steps: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    angle = np.arange(steps + 1) * step / radius
    return radius * np.cos(angle), radius * np.sin(angle)


def test_a_straight_line_at_constant_speed() -> None:
    got = measure(trace(np.linspace(0, 50, 26), np.zeros(26), circle()), circle())
    assert got["total_distance"] == pytest.approx(50)
    assert got["total_time"] == pytest.approx(2.5)
    assert got["average_speed_kph"] == pytest.approx(72)
    assert got["timestep_per_sec"] == pytest.approx(10)
    assert got["trajectory_admissibility"] == 1
    assert got["num_infractions"] == got["laps_completed"] == 0
    assert math.isnan(got["trajectory_efficiency"])
    assert math.isnan(got["movement_smoothness"])


@pytest.mark.parametrize("radius", [60.0, 100.0, 103.0])
def test_efficiency_on_a_circle_is_the_ratio_of_the_radii(radius: float) -> None:
    track = circle(100)
    got = measure(trace(*around(radius, 300, 0.5), track), track)
    assert got["trajectory_efficiency"] == pytest.approx(radius / 100, rel=1e-4)


@pytest.mark.parametrize("radius", [97.0, 100.0, 104.0])
def test_displacement_on_a_circle_is_the_difference_of_the_radii(radius: float) -> None:
    track = circle(100)
    got = measure(trace(*around(radius, 300, 1.0), track), track)
    # A chord lies at most spacing^2 / 8 R inside its circle, and its end as much outside its line.
    assert got["average_displacement_error"] == pytest.approx(abs(radius - 100), abs=6e-3)


def test_displacement_is_measured_across_the_line_and_after_each_step() -> None:
    line = replace(circle(100, n=400), x=np.arange(400) * 1.0, y=np.zeros(400), spacing=1.0)
    got = measure(trace([10.3, 12.4, 14.4], [5.0, 1.0, -3.0], line), line)
    assert got["average_displacement_error"] == pytest.approx(2)


def test_the_line_at_the_last_sample_leads_to_the_first() -> None:
    track = circle(100)
    last = len(track.x) - 1
    middle = [(track.x[last] + track.x[0]) / 2 * 1.02, (track.y[last] + track.y[0]) / 2 * 1.02]
    drive = Trace(
        x=np.repeat(middle[0], 2),
        y=np.repeat(middle[1], 2),
        speed=np.zeros(2),
        acceleration=np.zeros((2, 2)),
        index=np.repeat(last, 2),
        lateral=np.zeros(2),
        outside=np.zeros(1, np.int64),
    )
    assert measure(drive, track)["average_displacement_error"] == pytest.approx(2, abs=1e-3)


def test_a_zig_zag_is_long_and_inefficient() -> None:
    # Steps of 3 m along and 4 m to and fro: at every corner x' = 3, y' = 0, y'' = +-8.
    x, y = 3.0 * np.arange(41), 4.0 * (np.arange(41) % 2)
    assert rms_curvature(x, y, closed=False) == pytest.approx(8 / 9, rel=1e-6)
    track = circle(100)
    got = measure(trace(x, y, track), track)
    assert got["total_distance"] == pytest.approx(40 * 5)
    assert got["trajectory_efficiency"] == pytest.approx((1 / 100) / (8 / 9), rel=1e-4)


def test_the_curvature_of_a_closed_line_includes_where_it_closes() -> None:
    # A square of side 1: x' and y' are 1/2 each, x'' and y'' 1 each, at all four corners.
    x, y = np.array([0.0, 1, 1, 0]), np.array([0.0, 0, 1, 1])
    assert rms_curvature(x, y, closed=True) == pytest.approx(2**1.5, rel=1e-5)


def test_two_corners_outside_for_a_quarter_of_the_time() -> None:
    outside = np.array([0, 0, 2, 2, 0, 0, 0, 0])
    x, y = around(100, 8, 1.0)
    track = circle()
    got = measure(trace(x, y, track, outside=outside, infractions=1), track)
    assert got["trajectory_admissibility"] == pytest.approx(1 - math.sqrt(2 / 4))
    assert got["num_infractions"] == 1
    gone = measure(trace(x, y, track, outside=np.full(8, 4)), track)
    assert gone["trajectory_admissibility"] == pytest.approx(-1)


@pytest.mark.parametrize("periods", [1, 5])
@pytest.mark.parametrize("peak", [0.5, 4.0])
def test_the_smoothness_of_a_sine(periods: int, peak: float) -> None:
    # a = peak (1 + sin wt) / 2 has T / peak^2 int (da/dt)^2 dt = (wT)^2 / 8, whatever the peak.
    n, dt = 4000, 0.1
    a = peak * (1 + np.sin(2 * np.pi * periods * np.arange(n) / n)) / 2
    force = np.sqrt((a + GRAVITY) ** 2 - GRAVITY**2)
    turned = force[:, None] * [0.6, -0.8]
    expected = math.log((2 * np.pi * periods) ** 2 / 8)
    assert roughness(turned, dt) == pytest.approx(expected, abs=1e-3)


def test_a_rougher_drive_has_the_higher_figure_and_the_first_state_does_not_count() -> None:
    track = circle()
    x, y = around(100, 100, 1.0)
    wave = np.sin(np.arange(101) / 8)
    smooth = np.stack([3 + wave, 0 * wave], 1)
    rough = smooth + np.random.default_rng(0).normal(0, 0.5, (101, 2))
    drives = [trace(x, y, track, acceleration=a) for a in (smooth, rough)]
    first, second = (measure(d, track)["movement_smoothness"] for d in drives)
    assert second > first
    jolted = smooth.copy()
    jolted[0] = 15
    jolt = measure(trace(x, y, track, acceleration=jolted), track)
    assert jolt["movement_smoothness"] == first


def test_lap_times_are_the_first_and_the_best_flying_one() -> None:
    track = circle()
    x, y = around(100, 10, 1.0)
    got = measure(trace(x, y, track, laps=3, lap_times=(61.0, 64.5, 63.25)), track)
    assert (got["lap_time_first"], got["lap_time_best"], got["laps_completed"]) == (61, 63.25, 3)
    one = measure(trace(x, y, track, laps=1, lap_times=(61.0,)), track)
    assert one["lap_time_first"] == 61 and math.isnan(one["lap_time_best"])
    assert math.isnan(measure(trace(x, y, track), track)["lap_time_first"])


@pytest.mark.parametrize("steps", [0, 1, 2, 50])
def test_a_car_that_does_not_move_gives_no_warning_and_nothing_infinite(steps: int) -> None:
    still = np.zeros(steps + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = measure(trace(still, still, circle()), circle())
    assert not any(math.isinf(value) for value in got.values())
    assert got["total_distance"] == 0 and got["total_time"] == pytest.approx(steps / 10)
    assert math.isnan(got["average_speed_kph"]) == (steps == 0)
    assert math.isnan(got["trajectory_efficiency"])
    assert math.isnan(got["movement_smoothness"])


def test_constant_acceleration_has_no_logarithm_of_jerk() -> None:
    assert math.isnan(roughness(np.full((20, 2), 2.0), 0.1))


def test_all_metrics_are_described() -> None:
    got = measure(trace(*around(100, 5, 1.0), circle()), circle())
    assert tuple(got) == METRICS == tuple(UNITS) == tuple(MEANINGS)


def test_lengths_that_disagree_are_refused() -> None:
    track = circle()
    with pytest.raises(ValueError, match=r"Trace\.acceleration has shape \(5, 2\)"):
        trace(*around(100, 5, 1.0), track, acceleration=np.zeros((5, 2)))
