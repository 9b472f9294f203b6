from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from envs.racing.car import GRAVITY, Vehicle
from envs.racing.circuits import named, oval
from envs.racing.profile import lap_time, minimum_curvature, speed_profile
from envs.racing.track import Track

CAR = Vehicle.load()
LIGHT = replace(CAR, load_dependence=0.0, downforce_front=1e-9, downforce_rear=1e-9, drag=1e-9)
installed = pytest.mark.skipif(
    importlib.util.find_spec("l2r") is None, reason="the l2r package is not installed"
)


def circle(radius: float) -> Track:
    line = radius * np.exp(2j * np.pi * np.arange(2000) / 2000)
    return Track.build("circle", np.stack([line.real, line.imag], 1), 5.0, 5.0, sigma=0.0)


def grip(vehicle: Vehicle, speed: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The most that each axle can do, m/s2 of the car, under the loads of an acceleration."""
    down = np.array([[vehicle.downforce_front], [vehicle.downforce_rear]]) * speed**2
    shift = vehicle.mass * vehicle.height / vehicle.wheelbase * np.array([[-1.0], [1.0]]) * along
    return vehicle.friction(vehicle.load_of_axles()[:, None] + down + shift) / vehicle.mass


@pytest.mark.parametrize("radius", [20.0, 60.0, 150.0])
def test_a_circle_is_driven_at_its_steady_state(radius: float) -> None:
    # Without downforce and with constant friction the front axle's is all that counts.
    speed = speed_profile(circle(radius), LIGHT)
    np.testing.assert_allclose(speed, np.sqrt(LIGHT.friction_front * GRAVITY * radius), rtol=2e-3)


def test_downforce_and_load_count_on_a_circle() -> None:
    speed = speed_profile(circle(120.0), CAR)
    most = grip(CAR, speed, np.zeros_like(speed))[0] * CAR.wheelbase / CAR.rear
    np.testing.assert_allclose(speed**2 / 120, most, rtol=5e-3)


def test_a_great_circle_is_driven_at_top_speed() -> None:
    speed = speed_profile(circle(3000.0), CAR)
    engine = CAR.power / speed
    resistance = CAR.drag * speed**2 + CAR.rolling_resistance * CAR.mass * GRAVITY
    np.testing.assert_allclose(engine, resistance, rtol=0.02)


@pytest.mark.parametrize("name", ["oval", "chicane", "random"])
def test_no_axle_ever_asks_for_more_than_its_friction(name: str) -> None:
    road = named(name)
    # At 0.25 m a step of the profile hardly differs from the differential equation.
    track = Track.build(name, road.beside(0.0), 5.0, 5.0, spacing=0.25)
    speed = speed_profile(track, CAR, sigma=0.0)
    along = (np.roll(speed, -1) ** 2 - speed**2) / (2 * track.spacing)
    lateral = np.abs(track.curvature) * speed**2
    resistance = CAR.drag * speed**2 / CAR.mass + CAR.rolling_resistance * GRAVITY
    front, rear = grip(CAR, speed, along)
    assert (lateral * CAR.rear / CAR.wheelbase < front * 1.01).all()
    assert (lateral * CAR.front / CAR.wheelbase < rear * 1.01).all()
    total = np.hypot(np.abs(along + resistance), lateral)
    assert (total < (front + rear) * 1.02).all()
    assert along.max() < CAR.drive_force / CAR.mass
    assert along.min() > -CAR.brake - resistance.max()
    assert (speed * (along + resistance) * CAR.mass).max() < CAR.power * 1.01


def test_a_standing_lap_starts_at_rest_and_joins_the_flying_one() -> None:
    track = oval()
    flying, standing = speed_profile(track, CAR), speed_profile(track, CAR, standing=True)
    assert standing[0] == 0
    assert (standing <= flying + 1e-9).all()
    np.testing.assert_array_equal(standing[-300:], flying[-300:])
    assert 2 < lap_time(track, standing) - lap_time(track, flying) < 6


def test_a_lap_at_constant_speed_takes_its_length_over_the_speed() -> None:
    track = oval()
    assert lap_time(track, np.full(len(track.x), 20.0)) == pytest.approx(track.length / 20)


def test_a_mirrored_or_reversed_road_has_the_same_limits() -> None:
    track = named("random", 2)
    there = lap_time(track, speed_profile(track, CAR))
    mirrored = track.mirrored()
    assert lap_time(mirrored, speed_profile(mirrored, CAR)) == pytest.approx(there, rel=1e-9)
    back = track.reversed()
    assert lap_time(back, speed_profile(back, CAR)) == pytest.approx(there, rel=0.1)


def test_more_grip_is_faster() -> None:
    track = named("chicane")
    better = replace(CAR, friction_front=1.3, friction_rear=1.4)
    times = [lap_time(track, speed_profile(track, car)) for car in (CAR, better)]
    assert times[1] < times[0] - 1


def test_the_line_of_least_curvature_is_faster_and_stays_on_the_road() -> None:
    track = named("chicane")
    line = minimum_curvature(track, CAR)
    assert (line.curvature**2).mean() < 0.6 * (track.curvature**2).mean()
    assert min(line.left.min(), line.right.min()) > CAR.width / 2
    assert lap_time(line, speed_profile(line, CAR)) < 0.9 * lap_time(
        track, speed_profile(track, CAR)
    )


BOUNDS = {  # seconds, flying and standing: on the centreline, on the line of least curvature
    "thruxton": (98.9, 102.9, 78.7, 83.2),
    "anglesey": (64.0, 68.4, 56.8, 61.4),
}


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_of_the_real_circuits(name: str) -> None:
    track = named(name)
    found = [
        lap_time(line, speed_profile(line, CAR, standing=standing))
        for line in (track, minimum_curvature(track, CAR))
        for standing in (False, True)
    ]
    assert found == pytest.approx(BOUNDS[name], rel=0.01)
