"""The car against figures worked out by hand, and against laws that hold whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from envs.racing.car import GRAVITY, Cars, Vehicle

V = Vehicle.load()
SUBSTEPS = (0.005, 0.01, 0.0125, 0.02)  # each divides a control step of 0.1 s


def rolling(speed: float | np.ndarray, n: int = 1, substep: float = 0.02) -> Cars:
    cars = Cars(V, n, substep=substep)
    cars.vx[:] = speed
    return cars


def energy(cars: Cars) -> np.ndarray:
    return 0.5 * V.mass * (cars.vx**2 + cars.vy**2) + 0.5 * V.yaw_inertia * cars.yaw_rate**2


def test_it_accelerates_with_its_drive_force_and_then_with_its_power() -> None:
    cars, straight = rolling(0.0), np.zeros(1)
    speeds = [0.0]
    for _ in range(1000):
        cars.step(straight, straight + 6.0)
        speeds.append(float(cars.vx[0]))
    first = (V.drive_force - V.rolling_resistance * V.mass * GRAVITY) / V.mass
    assert speeds[11] - speeds[1] == pytest.approx(first, rel=0.01), "m/s in a second"
    to_100 = np.interp(100 / 3.6, speeds, 0.1 * np.arange(len(speeds)))
    assert 4.9 < to_100 < 5.2
    power = V.drag * speeds[-1] ** 3 + V.rolling_resistance * V.mass * GRAVITY * speeds[-1]
    assert power == pytest.approx(V.power, rel=0.01), "at the top speed drag takes all power"


def test_it_brakes_within_the_grip_and_stays_where_it_stops() -> None:
    cars, straight = rolling(100 / 3.6), np.zeros(1)
    for _ in range(60):
        cars.step(straight, straight - 16.0)
    hardest = (100 / 3.6) ** 2 / (2 * 16.0)
    assert hardest < cars.x[0] < hardest * 1.45
    assert abs(cars.vx[0]) < 1e-6
    there = cars.x.copy()
    cars.step(straight, straight - 16.0, 2.0)
    assert cars.x == pytest.approx(there, abs=1e-9), "a brake does not push backwards"


@pytest.mark.parametrize("radius", [15.0, 30.0, 60.0, 120.0])
def test_it_corners_up_to_the_friction_limit(radius: float) -> None:
    speeds = np.arange(5.0, 60.0, 0.25)
    cars, ask = rolling(speeds, len(speeds)), np.full(len(speeds), V.wheelbase / radius)
    cars.yaw_rate[:] = speeds / radius
    for _ in range(200):
        cars.step(ask, 3.0 * (speeds - cars.vx))
        ask = np.clip(ask + 0.04 * (speeds / radius - cars.yaw_rate), 0.0, V.steering)
    held = np.isclose(cars.yaw_rate, speeds / radius, rtol=0.01) & np.isclose(
        cars.vx, speeds, rtol=0.02
    )
    fastest = speeds[held].max()
    downforce = np.array([V.downforce_front, V.downforce_rear]) * fastest**2
    limit = V.friction(V.load_of_axles() + downforce).sum() / V.mass
    assert 0.8 * limit < fastest**2 / radius < limit


@pytest.mark.parametrize("substep", SUBSTEPS)
@pytest.mark.parametrize("speed", [1.0, 2.0, 3.0, 5.0])
def test_at_walking_speed_it_turns_as_its_wheels_roll(substep: float, speed: float) -> None:
    cars = rolling(speed, substep=substep)
    for _ in range(30):
        cars.step(np.full(1, 0.2), 2.0 * (speed - cars.vx))
    kinematic = cars.vx * np.tan(cars.steering) / V.wheelbase
    assert cars.yaw_rate == pytest.approx(kinematic, rel=0.015)


@pytest.mark.parametrize("substep", SUBSTEPS)
def test_no_energy_is_created(substep: float) -> None:
    rng, n = np.random.default_rng(0), 512
    cars = Cars(V, n, substep=substep)
    cars.vx[:], cars.vy[:] = rng.uniform(0.0, 60.0, n), rng.normal(0.0, 5.0, n)
    cars.yaw_rate[:] = rng.normal(0.0, 1.0, n)
    before = energy(cars)
    for _ in range(100):
        cars.step(rng.uniform(-0.35, 0.35, n), -rng.uniform(0.0, 16.0, n))
        assert (energy(cars) <= before + 1e-9).all()
        before = energy(cars)


def test_smaller_sub_steps_come_closer_with_the_square_of_their_size() -> None:
    def driven(substep: float) -> np.ndarray:
        cars = rolling(25.0, 64, substep)
        cars.slowest = 8.0  # the same equations for all
        rng = np.random.default_rng(1)
        for _ in range(10):
            cars.step(rng.uniform(-0.03, 0.03, 64), rng.uniform(-6.0, 4.0, 64))
        return np.stack([cars.x, cars.y])

    true = driven(0.000625)
    errors = [float(np.median(np.abs(driven(h) - true))) for h in (0.02, 0.01, 0.005)]
    assert errors[0] < 0.02, "metres after 1 s"
    assert errors[0] > 2.5 * errors[1] > 2.5 * 2.5 * errors[2]


def test_mirrored_steering_gives_the_mirrored_path_to_the_bit() -> None:
    left, right, rng = rolling(30.0, 64), rolling(30.0, 64), np.random.default_rng(2)
    for _ in range(100):
        steering, pedals = rng.uniform(-0.35, 0.35, 64), rng.uniform(-16.0, 6.0, 64)
        left.step(steering, pedals)
        right.step(-steering, pedals)
    mirror = np.array([1, -1, -1, 1, -1, -1])[:, None]
    np.testing.assert_array_equal(left.state, mirror * right.state)
    assert np.ptp(left.y) > 10


def test_a_car_does_not_know_how_many_are_beside_it() -> None:
    many, rng = rolling(30.0, 33), np.random.default_rng(3)
    alone = rolling(30.0, 1)
    for _ in range(50):
        steering, pedals = rng.uniform(-0.35, 0.35, 33), rng.uniform(-16.0, 6.0, 33)
        many.step(steering, pedals)
        alone.step(steering[32:], pedals[32:])
    np.testing.assert_array_equal(many.state[:, 32:], alone.state)


def test_numbers_of_the_vehicle_can_be_changed_and_wrong_ones_are_refused() -> None:
    assert Vehicle.load({"mass": 900}).mass == 900 and Vehicle.load().mass == 1200
    with pytest.raises(ValueError, match=r"vehicle.weight is no number of a car; it has mass,"):
        Vehicle.load({"weight": 900})
    with pytest.raises(ValueError, match=r"vehicle.mass=-1 must be a positive number"):
        Vehicle.load({"mass": -1})
    with pytest.raises(ValueError, match=r"substep=0.05 must lie in"):
        Cars(V, 1, substep=0.05)
