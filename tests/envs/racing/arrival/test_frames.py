"""Degrees, metres and axes, and the pose of the embedded world's cars."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.racing import l2r
from envs.racing.arrival.frames import Earth, from_wire, show, spawn, spawned, to_wire
from envs.racing.arrival.protocol import pack_pose, unpack_pose
from envs.racing.car import Cars, Vehicle
from envs.racing.pose import compass, pose
from envs.racing.world import Race

THRUXTON = Earth(51.2079, -1.6086)
METRES = st.floats(-4000, 4000)
installed = pytest.mark.skipif(
    importlib.util.find_spec("l2r") is None, reason="the l2r package is not installed"
)


def test_degrees_are_metres_of_the_ellipsoid() -> None:
    """A degree of latitude is 110,574 m on the equator and 111,694 m at the poles, one of longitude
    111,320 m on the equator: the usual figures of WGS 84."""
    tenth = Earth().local(0.1, 0.0, 0.0), Earth().local(0.0, 0.1, 0.0)
    assert tenth[0][:2] == pytest.approx([11132.0, 0.0], abs=0.1)
    assert tenth[1][:2] == pytest.approx([0.0, 11057.4], abs=0.1)
    north = Earth(latitude=89.9).local(0.0, 90.0, 0.0)
    assert north[:2] == pytest.approx([0.0, 11169.4], abs=0.1)
    assert THRUXTON.local(-1.6086, 51.2079, 7.0) == pytest.approx([0.0, 0.0, 7.0], abs=1e-6)
    east = THRUXTON.local(-1.6086 + 0.01, 51.2079, 0.0)[0]
    assert east == pytest.approx(1113.2 * math.cos(math.radians(51.2079)), rel=3e-3)


@given(METRES, METRES, st.floats(-50, 200))
def test_metres_become_degrees_and_metres_again(east: float, north: float, up: float) -> None:
    for earth in (THRUXTON, Earth()):
        back = earth.local(*earth.globe(east, north, up))
        np.testing.assert_allclose(back, [east, north, up], atol=1e-6)


@installed
def test_the_circuits_lie_where_they_are() -> None:
    """Thruxton in Hampshire and Anglesey in Wales, to about 1 km."""
    for track, place in (("thruxton", (51.21, -1.61)), ("anglesey", (53.19, -4.50))):
        earth = Earth.under(track)
        assert (earth.latitude, earth.longitude) == pytest.approx(place, abs=0.01)
    assert Earth.under("oval") == Earth()


@pytest.mark.parametrize(
    ("yaw", "bearing"), [(0, 90), (90, 0), (180, -90), (-90, 180), (450, 0), (135, -45)]
)
def test_yaw_becomes_a_bearing(yaw: float, bearing: float) -> None:
    turned = math.degrees(compass(np.array(math.radians(yaw))))
    assert math.cos(math.radians(turned - bearing)) == pytest.approx(1.0)
    back = math.degrees(compass(np.array(math.radians(turned))))
    assert math.cos(math.radians(back - yaw)) == pytest.approx(1.0)


@installed
def test_the_poses_of_the_package_are_spawned_as_it_has_them() -> None:
    x, y, yaw = l2r.poses("thruxton")[0]
    sent = spawn(x, y, yaw, "thruxton")
    assert sent["location"]["x"] == -x and sent["location"]["y"] == -y
    assert 50 < sent["location"]["z"] < 80
    assert sent["rotation"]["yaw"] == pytest.approx(math.remainder(math.pi / 2 - yaw, math.tau))
    back = spawned(**sent)
    assert back[:2] == (x, y) and math.cos(back[2] - yaw) == pytest.approx(1.0)


def moving() -> Cars:
    """A car that brakes in a bend to the left, on its way north-west."""
    cars = Cars(Vehicle.load(), 1)
    cars.place(*(np.array([v]) for v in (0, 120.0, -80.0, 2.2, 25.0)))
    for _ in range(5):
        cars.step(np.array([0.05]), np.array([-4.0]))
    return cars


def test_a_pose_says_what_the_car_does() -> None:
    cars = moving()
    (fields,) = pose(cars, np.array([1]))
    assert fields.shape == (30,) and fields.dtype == np.float64
    assert fields[0] == cars.steering[0] > 0 and fields[1:3].tolist() == [1, 1]
    assert fields[3] == cars.vx[0] and fields[4] == -cars.vy[0] and fields[5] == 0
    assert fields[6] < -2 and fields[7] < -1 and fields[8] == 9.81, "it brakes, and turns left"
    assert fields[11] == -cars.yaw_rate[0] < 0
    assert fields[12] == pytest.approx(math.remainder(math.pi / 2 - cars.yaw[0], math.tau))
    assert fields[15:18].tolist() == [cars.y[0], cars.x[0], 0]
    assert fields[18] == pytest.approx(cars.vx[0] / (math.tau * 0.33) * 60)
    assert fields[22:26] == pytest.approx(4 / 16, rel=0.01) and not fields[26:].any()
    cars.step(np.zeros(1), np.array([3.0]), 1.0)
    (fields,) = pose(cars, np.array([1]))
    assert (
        fields[26:] == pytest.approx([0, 0, *[1200 * 3 * 0.33 / 2] * 2]) and not fields[22:26].any()
    )


def test_a_car_comes_through_the_wire_as_it_was() -> None:
    cars, seen = moving(), Cars(Vehicle.load(), 1)
    sent = unpack_pose(pack_pose(to_wire(cars, "oval", THRUXTON)))
    show(from_wire(sent, "oval", THRUXTON), seen)
    np.testing.assert_allclose(seen.state[:2], cars.state[:2], atol=1e-6)
    np.testing.assert_allclose(seen.state[3:], cars.state[3:], rtol=1e-6)
    assert math.cos(seen.yaw[0] - cars.yaw[0]) == pytest.approx(1.0)
    for name in ("steering", "ax", "ay"):
        np.testing.assert_allclose(getattr(seen, name), getattr(cars, name), rtol=1e-6)


def test_the_pose_is_an_observation() -> None:
    race = Race(3, track=["oval", "chicane"], observation="pose")
    obs, _ = race.reset(seed=0)
    assert obs.shape == race.observation_space.shape == (3, 30) and obs.dtype == np.float32
    np.testing.assert_allclose(obs[:, 16], race.cars.x, rtol=1e-6)
    assert obs[:, 2].tolist() == [-1, -1, -1]
    some: Any = np.array([2])
    np.testing.assert_array_equal(race.sense.observe(race.cars, race.referee, some), obs[2:])
