"""A stand-in for the Arrival simulator: its protocol in front of a car of the embedded world.

    python -m envs.racing.arrival.server track=thruxton speed=real
    python evaluate.py run=FOLDER engine=arrival

Settings: track, speed (real: time passes as it does; max: 0.1 s pass with every action, so that a
lap takes seconds), host, and control_port, action_port, pose_port, camera_port.
"""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from envs.racing.arrival import protocol
from envs.racing.arrival.frames import LEVELS, Earth, spawned, to_wire
from envs.racing.arrival.rfc6455 import Conversation
from envs.racing.arrival.simulator import Address, check
from envs.racing.car import Cars, Vehicle
from envs.racing.circuits import NAMES, named

TICK = 0.02  # s, from one pose to the next at speed=real
SPEEDS = ("real", "max")
FAULTS = ("dies", "stalls", "repeats", "rubbish", "not finite")
PORTS = ("control_port", "action_port", "pose_port", "camera_port")


class FakeServer:
    """Serves one car to one client at a time, on a thread of its own:

        with FakeServer(track="oval") as server:
            race = ArrivalRace(track="oval", arrival=server.arrival)

    Ports that are not given are free ones. arrival: the settings by which a client finds it. fault:
    one of FAULTS, which may be set at any time: what it does wrong from then on. image: what its
    camera sees, uint8 [384, 512, 3]; called for every pose while a client has the camera on.
    Raises OSError where a port is taken, and ValueError for wrong settings.
    """

    def __init__(
        self,
        *,
        track: str = "thruxton",
        speed: str = "max",
        host: str = "127.0.0.1",
        image: Callable[[Cars], np.ndarray] | None = None,
        **ports: int,
    ) -> None:
        import zmq

        if speed not in SPEEDS:
            raise ValueError(f"speed={speed} is not one of {', '.join(SPEEDS)}")
        for port in ports:
            if port not in PORTS:
                raise ValueError(
                    f"{port} is no setting: choose track, speed, host, {', '.join(PORTS)}"
                )
        self.cars, self.lockstep, self.fault = Cars(Vehicle.load(), 1), speed == "max", ""
        self.image = image or (lambda cars: np.full((384, 512, 3), 128, np.uint8))
        self._open_level(track)
        self._action, self._client = (0.0, 0.0), (host, 0)
        self._filming, self._frames, self._packet = False, 0, b""
        self._talk: tuple[socket.socket, Conversation] | None = None
        with ExitStack() as opened:
            self._choose = opened.enter_context(selectors.DefaultSelector())
            self._door = opened.enter_context(
                socket.create_server((host, ports.get("control_port", 0)))
            )
            self._road = opened.enter_context(_bound(host, ports.get("action_port", 0)))
            self._bell, self._rope = (opened.enter_context(s) for s in socket.socketpair())
            context = opened.enter_context(zmq.Context())
            self._film = opened.enter_context(context.socket(zmq.PUB))
            self._film.setsockopt(zmq.LINGER, 0)
            self._film.setsockopt(zmq.SNDHWM, 1)
            film = ports.get("camera_port") or "*"
            try:
                self._film.bind(f"tcp://{host}:{film}")
            except zmq.ZMQError as error:
                raise OSError(f"camera_port={film} cannot be bound: {error}") from error
            opened.callback(self._hang_up)
            for made in (self._door, self._road, self._bell):
                self._choose.register(made, selectors.EVENT_READ)
            endpoint: Any = self._film.getsockopt(zmq.LAST_ENDPOINT)
            self._opened = opened.pop_all()
        self._pose_port = ports.get("pose_port") or free(host)
        self.arrival: dict[str, Any] = {
            "host": host,
            "control_port": self._door.getsockname()[1],
            "action_port": self._road.getsockname()[1],
            "pose_port": self._pose_port,
            "camera_port": int(endpoint.rpartition(b":")[2]),
            "lockstep": self.lockstep,
            "loading": 0.0,
        }
        self._thread = threading.Thread(target=self.serve, name="arrival", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rope.send(b"x")
        self._thread.join(10.0)
        self.close()

    def close(self) -> None:
        """Closes every socket, of a server that does not serve."""
        self._opened.close()

    def serve(self) -> None:
        """Answers until the context ends, on the thread that calls it."""
        due = time.monotonic()
        while self.fault != "dies":
            due = max(due, time.monotonic() - 1.0)
            wait = None if self.lockstep else max(0.0, due - time.monotonic())
            for event, _ in self._choose.select(wait):
                if event.fileobj is self._bell:
                    return
                if event.fileobj is self._door:
                    self._welcome()
                elif event.fileobj is self._road:
                    self._take_action()
                else:
                    self._listen()
            if not self.lockstep and time.monotonic() >= due:
                due += TICK
                self._move(TICK)
        self._choose.unregister(self._door)
        self._door.close()
        self._road.close()
        self._hang_up()

    def _take_action(self) -> None:
        data = self._road.recv(1 << 16)
        try:
            steer, acceleration, _ = protocol.unpack_action(data)
        except protocol.Rubbish:
            return
        self._action = (steer, acceleration)
        if self.lockstep:
            self._move(0.1)

    def _move(self, seconds: float) -> None:
        """Lets time pass and tells the client what came of it."""
        steer, acceleration = self._action
        self.cars.step(np.array([steer]), np.array([acceleration]), seconds)
        if self._client[1] == 0 or self.fault in ("dies", "stalls"):
            return
        if self.fault != "repeats" or not self._packet:
            fields = to_wire(self.cars, self._track.name, self._earth)
            if self.fault == "not finite":
                fields[4] = np.nan
            self._packet = protocol.pack_pose(fields)
        sent = self._packet[:17] if self.fault == "rubbish" else self._packet
        self._road.sendto(sent, self._client)
        if self._filming:
            self._frames += 1
            film = protocol.pack_image(self.image(self.cars), self._frames)
            self._film.send(film[:17] if self.fault == "rubbish" else film)

    def _welcome(self) -> None:
        """A new client takes the place of the one before."""
        self._hang_up()
        client, _ = self._door.accept()
        self._choose.register(client, selectors.EVENT_READ)
        self._talk = client, Conversation()

    def _hang_up(self) -> None:
        if self._talk is not None:
            self._choose.unregister(self._talk[0])
            self._talk[0].close()
            self._talk, self._client, self._filming = None, (self._client[0], 0), False

    def _listen(self) -> None:
        if self._talk is None:
            return
        client, talk = self._talk
        try:
            data = client.recv(1 << 16)
            for text in talk.feed(data):
                self._answer(talk, text)
            client.sendall(talk.out)
        except OSError:
            data = b""
        talk.out = b""
        if not data or talk.over:
            self._hang_up()

    def _answer(self, talk: Conversation, text: str) -> None:
        if self.fault == "stalls":
            return
        if self.fault == "rubbish":
            talk.say("rubbish")
            return
        method, params, number = protocol.read_request(text)
        try:
            talk.say(protocol.response(number, self._obey(method, params)))
        except (KeyError, TypeError, ValueError) as error:
            talk.say(protocol.response(number, error=str(error)))

    def _obey(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a request. Raises ValueError, KeyError or TypeError."""
        name = params.get("sensor_name")
        if method == "open_level":
            files = {level.file: track for track, level in LEVELS.items()}
            wanted = params["level_name"]
            self._open_level(files.get(wanted, wanted))
        elif method == "reset_level":
            self._put(self._track.x[0], self._track.y[0], self._track.heading[0])
        elif method == "set_vehicle_position":
            self._put(*spawned(params["location"], params["rotation"]))
        elif method == "get_level":
            return self._track.name
        elif method == "get_levels":
            return list(NAMES)
        elif method == "get_vehicle_state":
            return {
                "pos_xyz": [float(self.cars.x[0]), float(self.cars.y[0]), 0.0],
                "yaw": float(to_wire(self.cars, self._track.name, self._earth)[12]),
            }
        elif method == "set_sensor_params" and name == protocol.DRIVER:
            said = {each["name"]: each["value"] for each in params["parameters"]}
            self._client = (said["DriverAPI_UDP_SendAddress"], self._pose_port)
        elif method in ("enable_sensor", "disable_sensor"):
            self._filming = method == "enable_sensor"
        elif method not in ("set_sensor_params", "set_sensor_param", "set_vehicle_params"):
            raise ValueError(f"there is no method {method}")
        return 0

    def _open_level(self, track: str) -> None:
        self._track, self._earth = named(track), Earth.under(track)
        self._put(self._track.x[0], self._track.y[0], self._track.heading[0])

    def _put(self, x: float, y: float, yaw: float) -> None:
        self._action = (0.0, 0.0)
        self.cars.place(*(np.array([each]) for each in (0, x, y, yaw, 0.0)))


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def free(host: str) -> int:
    """A UDP port that nobody has at the moment."""
    with _bound(host, 0) as made:
        return int(made.getsockname()[1])


def main(words: list[str]) -> None:
    """The command: serves until it is interrupted."""
    given: dict[str, Any] = {"speed": "real"}
    given |= {port: getattr(Address(), port) for port in PORTS}
    try:
        check()
        for word in words:
            name, _, value = word.partition("=")
            if name in PORTS and not value.isdecimal():
                raise ValueError(f"{word} must be a port, from 1 to 65535")
            given[name] = int(value) if name in PORTS else value
        server = FakeServer(**given)
    except (ValueError, OSError, OverflowError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{given}\n")
    try:
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
