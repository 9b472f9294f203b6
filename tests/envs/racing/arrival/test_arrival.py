"""A race through the sockets of a simulator, and simulators that fail."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from envs.racing.arrival.race import ArrivalRace
from envs.racing.arrival.server import FakeServer, free
from envs.racing.arrival.simulator import Address, Lost, Simulator
from envs.racing.world import Race

GRID: dict[str, Any] = {"track": "oval", "start": "grid", "seconds": 300.0}
QUICK = {"timeout": 0.3}


def pursue(race: Race, speed: float = 25.0) -> np.ndarray:
    """An action [1, 2] towards the point of the centreline 12 m ahead: pure pursuit (Coulter 1992,
    *Implementation of the pure pursuit path tracking algorithm*)."""
    roads, cars = race.roads, race.cars
    at = (int(race.index[0]) + 12) % len(roads.x)
    dx, dy = roads.x[at] - cars.x[0], roads.y[at] - cars.y[0]
    cos, sin = np.cos(cars.yaw[0]), np.sin(cars.yaw[0])
    wheel = 3.0 * 2.0 * (dy * cos - dx * sin) / (dx**2 + dy**2)
    limit = min(0.35, 42.0 / max(cars.speed[0], 1.0) ** 2 + 0.08)
    return np.array([[wheel / limit, 0.5 * (speed - cars.vx[0])]]).clip(-1, 1)


def lap(race: Race) -> tuple[list[Any], dict[str, float]]:
    """Observations and metrics of one lap."""
    shown = [race.reset(seed=0)[0][0]]
    while True:
        obs, _, terminated, truncated, info = race.step(pursue(race))
        shown.append(obs[0])
        if terminated[0] or truncated[0]:
            return shown, {name: float(value[0]) for name, value in info["metrics"].items()}


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Any:
    """Sockets, files and threads, of ZeroMQ's own too."""

    def opened() -> tuple[int, int, int]:
        names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
        zeromq = sum(name.startswith("ZMQ") for name in names)  # NumPy's may begin at any time
        return psutil.Process().num_fds(), zeromq, threading.active_count()

    before = opened()
    yield
    end = time.monotonic() + 5.0
    while not (left := np.subtract(opened(), before) <= 0).all() and time.monotonic() < end:
        threading.Event().wait(0.01)  # ZeroMQ's threads end by themselves
    assert left.all(), (before, opened())


@pytest.mark.slow
def test_a_lap_through_sockets_is_the_lap_of_the_embedded_world() -> None:
    keywords = {**GRID, "laps": 1, "metrics": True}
    shown, here = lap(Race(1, **keywords))
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival=server.arrival, **keywords)
        seen, there = lap(race)
        again = race.reset()[0]
        race.close()
    assert here["laps_completed"] == there["laps_completed"] == 1
    for name, value in here.items():
        assert there[name] == pytest.approx(value, rel=0.01, abs=0.02, nan_ok=True), name
    assert len(seen) == len(shown)
    np.testing.assert_allclose(seen, shown, atol=0.02)
    np.testing.assert_allclose(again[0], shown[0], atol=0.02)


def test_a_circuit_with_its_own_place_on_the_earth_is_driven_too() -> None:
    if importlib.util.find_spec("l2r") is None:
        pytest.skip("the l2r package is not installed")
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival=server.arrival, track="thruxton", start="anywhere")
        for _ in range(3):
            race.reset()
            assert race.cars.speed[0] < 0.1 and abs(race.referee.metres[0]) < 1
            at = race.index[0]
            away = np.hypot(race.cars.x[0] - race.roads.x[at], race.cars.y[0] - race.roads.y[at])
            assert away == pytest.approx(abs(race.lateral[0]), abs=0.6)
            for _ in range(10):
                race.step(pursue(race))
            assert race.referee.metres[0] > 1.5
        race.close()


def test_the_camera_of_the_simulator_is_seen() -> None:
    image = np.zeros((384, 512, 3), np.uint8)
    image[:, :, 0] = 200
    with FakeServer(track="oval", image=lambda cars: image) as server:
        address = Address.read({**server.arrival, "camera": True})
        with Simulator(address) as simulator:
            simulator.enter("oval")
            for _ in range(200):  # until the subscription has arrived
                simulator.drive(0.0, 1.0, 0.1)
                if simulator._images.poll(10):  # type: ignore[union-attr]
                    break
            np.testing.assert_array_equal(simulator.image(), image)
            server.fault = "rubbish"
            with pytest.raises(Lost, match=r"pose_port=\d+: a pose of 17 bytes"):
                simulator.drive(0.0, 1.0, 0.1)
            with pytest.raises(Lost, match=r"camera_port=\d+: an image of 17 bytes"):
                simulator.image()


def test_time_passes_as_it_does_where_the_simulator_does_not_wait() -> None:
    with FakeServer(track="oval", speed="real") as server:
        race = ArrivalRace(arrival=server.arrival, **GRID)
        race.reset(seed=0)
        begun = time.monotonic()
        for _ in range(5):
            race.step(np.array([[0.0, 1.0]]))
        assert time.monotonic() - begun > 0.35
        assert race.cars.speed[0] > 0.0
        race.close()


def test_requests_of_steering_are_in_the_simulators_own_measure() -> None:
    """The stand-in's is a radian at the wheels; one whose is two shows half of what is asked."""
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival={**server.arrival, "steer": 0.5}, action="source", **GRID)
        race.reset(seed=0)
        for _ in range(10):
            race.step(np.array([[0.5, 0.2]]))
        assert race.cars.steering[0] == pytest.approx(0.15, rel=0.01)
        assert server.cars.steering[0] == pytest.approx(0.075, rel=0.01)
        race.close()


def test_a_camera_that_is_not_the_simulators_is_refused() -> None:
    with pytest.raises(ValueError, match="choose vector or pose"):
        ArrivalRace(observation="camera", **GRID)


def test_the_pose_is_the_simulators_own() -> None:
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival=server.arrival, observation="pose", **GRID)
        race.reset(seed=0)
        obs = race.step(np.array([[0.3, 1.0]]))[0]
        assert obs.shape == (1, 30) and obs.dtype == np.float32
        assert obs[0, 2] == -1 and obs[0, 3] == pytest.approx(race.cars.vx[0])
        assert obs[0, 28] > 100, "the torque is not reckoned"
        np.testing.assert_allclose(obs[0, 15:17], [race.cars.y[0], race.cars.x[0]], rtol=1e-6)
        race.close()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("dies", r"arrival\.pose_port=\d+: no pose has come .*timeout=0\.3 s; is .* alive"),
        ("stalls", r"arrival\.pose_port=\d+: no pose has come"),
        ("repeats", r"arrival\.pose_port=\d+: the same pose has come all the time"),
        ("rubbish", r"arrival\.pose_port=\d+: a pose of 17 bytes instead of 126 has come"),
        ("not finite", r"arrival\.pose_port=\d+: a pose with numbers that are not finite"),
    ],
)
def test_a_simulator_that_fails_while_driving_is_lost(fault: str, sentence: str) -> None:
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival={**server.arrival, **QUICK}, **GRID)
        race.reset(seed=0)
        for _ in range(5):
            race.step(np.array([[0.0, 1.0]]))
        server.fault = fault
        with pytest.raises(Lost, match=sentence):
            for _ in range(3):
                race.step(np.array([[0.0, 1.0]]))
        race.close()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("dies", r"control_port=\d+, (has closed the connection at|cannot be reached)"),
        ("stalls", r"control_port=\d+, has not answered reset_level within .*timeout=0\.3 s"),
        ("rubbish", r"control_port=\d+, answers reset_level with an answer that is no JSON"),
    ],
)
def test_a_simulator_that_fails_at_a_reset_is_lost_and_may_come_back(
    fault: str, sentence: str
) -> None:
    with FakeServer(track="oval") as server:
        race = ArrivalRace(arrival={**server.arrival, **QUICK}, **GRID)
        race.reset(seed=0)
        server.fault = fault
        if fault == "dies":
            with pytest.raises(Lost):
                race.step(np.zeros((1, 2)))
        with pytest.raises(Lost, match=sentence):
            race.reset()
        if fault != "dies":
            server.fault = ""
            race.reset()
            assert race.step(np.zeros((1, 2)))[0].shape == (1, 42)
        race.close()


def occupied(port: str) -> Callable[[dict[str, Any]], Any]:
    def occupy(arrival: dict[str, Any]) -> Any:
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(("", arrival[port]))
        return taken

    return occupy


def test_what_cannot_be_opened_is_said_with_its_setting(subtests: pytest.Subtests) -> None:
    with FakeServer(track="oval") as server:
        taken = occupied("pose_port")(server.arrival)
        with subtests.test("a port that is taken"), taken:
            race = ArrivalRace(arrival=server.arrival, **GRID)
            with pytest.raises(Lost, match=r"arrival\.pose_port=\d+ cannot be bound"):
                race.reset()
        with subtests.test("nobody there"):
            away = {**server.arrival, "control_port": free("127.0.0.1"), **QUICK}
            race = ArrivalRace(arrival=away, **GRID)
            with pytest.raises(Lost, match=r"control_port=\d+, cannot be reached"):
                race.reset()
        with subtests.test("a circuit that it does not have"):
            race = ArrivalRace(arrival=server.arrival, **{**GRID, "track": "oval_mirrored"})
            with pytest.raises(Lost, match=r"refuses open_level: .*oval mirrored"):
                race.reset()
        with subtests.test("actions that nobody takes"):
            away = {**server.arrival, "action_port": free("127.0.0.1"), **QUICK}
            race = ArrivalRace(arrival=away, **GRID)
            with pytest.raises(Lost, match=r"no pose has come .*action_port=\d+"):
                race.reset()
