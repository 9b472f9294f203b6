"""A running Arrival simulator, as its driver uses it: requests, actions, poses and images.

    with Simulator(Address(host="10.0.0.7")) as simulator:
        simulator.enter("thruxton")
        fields = simulator.drive(steer=0.1, acceleration=3.0, seconds=0.1)

The defects of the package's own client are not repeated: every wait has an end, a pose is only
taken if it has come after the action, a simulator that repeats itself is noticed, and the ports are
bound for this client alone.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from envs.racing.arrival import protocol
from envs.racing.arrival.frames import level

SETTING = "env.kwargs.arrival"
BUFFER = 1 << 16
ROLLING = 0.5  # m/s, from which a car cannot stay where it is


class Lost(RuntimeError):
    """The simulator is not there, does not answer, or sends what makes no sense."""


@dataclass(frozen=True)
class Address:
    """Where a simulator is, and how it is talked to: `env.kwargs.arrival`.

    host: its name or IP address. control_port: of its WebSocket. action_port: where it takes
    actions. pose_port: of this machine, to which it sends poses. camera_port: where it publishes
    images; camera: whether it is asked for them. timeout: seconds that any answer may take.
    loading: seconds that it is left alone after a circuit was opened. steer: its request of
    steering for each radian at the wheels. lockstep: it waits for every action, as the stand-in of
    server.py does at speed=max; the real one never waits.
    """

    host: str = "127.0.0.1"
    control_port: int = 16000
    action_port: int = 7077
    pose_port: int = 7078
    camera_port: int = 8008
    camera: bool = False
    timeout: float = 10.0
    loading: float = 3.0
    steer: float = 1.0
    lockstep: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> Address:
        """From plain values. Raises ValueError, in one sentence."""
        known: dict[str, Any] = {field.name: field.default for field in fields(cls)}
        for name, value in (given or {}).items():
            if name not in known:
                raise ValueError(f"arrival.{name} is no setting; it has {', '.join(known)}")
            kind = type(known[name])
            number = kind is not bool and not isinstance(value, bool)
            if not isinstance(value, int | float if kind is float and number else kind):
                raise ValueError(f"arrival.{name}={value!r} must be a {kind.__name__}")
            if name.endswith("_port") and not 0 < value < 1 << 16:
                raise ValueError(f"arrival.{name}={value} must be a port, from 1 to 65535")
            if kind is float and not (value > 0 or (name == "loading" and value == 0)):
                raise ValueError(f"arrival.{name}={value} must be a positive number")
        return cls(**(given or {}))


def check() -> None:
    """Raises ValueError, in one sentence, where a package is missing; imports nothing."""
    if find_spec("zmq") is None or find_spec("websocket") is None:
        raise ValueError(
            "env.engine=arrival needs packages that are missing: pip install 'paceline[arrival]'"
        )


class Simulator:
    """A connection to the simulator at an address, for one car. Raises Lost, in one sentence that
    names the setting, wherever it fails; what was opened is closed then."""

    def __init__(self, address: Address) -> None:
        check()
        self.address, self.track = address, ""
        self._numbers, self._last, self._due = itertools.count(1), b"", 0.0
        with ExitStack() as opened:
            self._poses = opened.enter_context(_udp())
            self._actions = opened.enter_context(_udp())
            try:
                self._poses.bind(("", address.pose_port))
            except OSError as error:
                raise Lost(
                    f"{SETTING}.pose_port={address.pose_port} cannot be bound ({error.strerror}):"
                    " end what uses it, or choose another port that the simulator sends poses to"
                ) from error
            self._arrivals = select.poll()
            self._arrivals.register(self._poses, select.POLLIN)
            self._connect(opened)
            self._images = self._subscribe(opened) if address.camera else None
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every socket. Once more does nothing."""
        self._opened.close()

    def enter(self, track: str) -> None:
        """Opens a circuit, unless it is open, and takes the wheel there."""
        if track == self.track:
            return
        self.call("open_level", level_name=level(track).file)
        time.sleep(self.address.loading)
        assert self._control.sock is not None
        own = self._control.sock.getsockname()[0]
        driver = {
            "DriverAPIClass": "VApiUdp",
            "DriverAPI_UDP_SendAddress": own,
            "InputSource": "AI",
        }
        self._sensor(protocol.DRIVER, driver)
        if self.address.camera:
            self.call("enable_sensor", veh_id=0, sensor_name=protocol.CAMERA)
            self._sensor(
                protocol.CAMERA,
                {
                    "ColorPublisher : Addr": "0.0.0.0",
                    "Format": "ColorBGR8",
                    "bAutoAdvertise": True,
                    "FOVAngle": 90,
                    "Width": 512,
                    "Height": 384,
                },
            )
        self.track = track

    def reset(self) -> None:
        """Takes the car back to where the simulator has it first, driven by actions."""
        self.call("reset_level")
        self.call(
            "set_sensor_param",
            veh_id=0,
            sensor_name=protocol.DRIVER,
            parameter_name="bADModeInput",
            value=True,
        )

    def call(self, method: str, **params: Any) -> Any:
        """The result of a request, within `timeout` seconds."""
        import websocket

        number, end = next(self._numbers), time.monotonic() + self.address.timeout
        try:
            self._control.send(protocol.request(method, params, number))
            while True:
                self._control.settimeout(max(1e-3, end - time.monotonic()))
                mine, result = protocol.read_response(self._control.recv(), number)
                if mine:
                    return result
                if time.monotonic() > end:
                    raise TimeoutError
        except (websocket.WebSocketTimeoutException, TimeoutError) as error:
            raise Lost(
                f"{self._where()} has not answered {method} within {SETTING}.timeout="
                f"{self.address.timeout:g} s: it hangs, or needs longer"
            ) from error
        except (websocket.WebSocketException, OSError) as error:
            raise Lost(f"{self._where()} has closed the connection at {method}") from error
        except protocol.Rubbish as error:
            raise Lost(f"{self._where()} answers {method} with {error}") from error
        except protocol.Refused as error:
            raise Lost(f"{self._where()} refuses {method}: {error}") from error

    def drive(self, steer: float, acceleration: float, seconds: float) -> np.ndarray:
        """Sends an action, and returns what the simulator sends of its car after it was held for
        `seconds`: float64 [30], see protocol.unpack_pose. The end is `seconds` after that of the
        action before, so that computing between two actions does not slow the car's clock; who
        computes for longer than that is late and not caught up with."""
        self._newest()
        target = (self.address.host, self.address.action_port)
        try:
            self._actions.sendto(protocol.pack_action(steer, acceleration), target)
        except OSError as error:
            raise Lost(
                f"{SETTING}.host={self.address.host} takes no actions: {error.strerror}"
            ) from error
        if not self.address.lockstep:
            now = time.monotonic()
            self._due = self._due + seconds if now < self._due + seconds else now + seconds
            time.sleep(self._due - now)
        return self._fresh()

    def image(self) -> np.ndarray:
        """The newest image of the camera that was not shown yet, uint8 [384, 512, 3], red, green,
        blue; waits for one."""
        assert self._images is not None, f"no camera: set {SETTING}.camera=true"
        port = f"{SETTING}.camera_port={self.address.camera_port}"
        if not self._images.poll(1000 * self.address.timeout):
            raise Lost(f"{port}: no image has come within {self.address.timeout:g} s")
        try:
            return protocol.unpack_image(self._images.recv())
        except protocol.Rubbish as error:
            raise Lost(f"{port}: {error}") from error

    def _fresh(self) -> np.ndarray:
        """The next pose that is none of before."""
        end = time.monotonic() + self.address.timeout
        port, repeats = f"{SETTING}.pose_port={self.address.pose_port}", False
        while True:
            data = self._newest()
            if data:
                try:
                    fields = protocol.unpack_pose(data)
                except protocol.Rubbish as error:
                    raise Lost(f"{port}: {error} has come from the simulator") from error
                repeats = data == self._last and bool(np.hypot(*fields[3:5]) > ROLLING)
                if not repeats:
                    self._last = data
                    return fields
            left = end - time.monotonic()
            if left <= 0 or not self._arrivals.poll(1000 * left):
                what = "the same pose has come all the time" if repeats else "no pose has come"
                raise Lost(
                    f"{port}: {what} for {SETTING}.timeout={self.address.timeout:g} s; is the"
                    f" simulator at {self.address.host} alive, takes it actions at {SETTING}."
                    f"action_port={self.address.action_port}, and does it send to this port?"
                )

    def _newest(self) -> bytes:
        """The packet that came last; none is left behind."""
        data = b""
        while True:
            try:
                data = self._poses.recv(BUFFER) or data
            except BlockingIOError:
                return data

    def _connect(self, opened: ExitStack) -> None:
        import websocket

        address = self.address
        try:
            self._control = websocket.create_connection(
                f"ws://{address.host}:{address.control_port}",
                timeout=address.timeout,
                http_no_proxy=[address.host],
            )
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise Lost(f"{self._where()} cannot be reached: {error}") from error
        opened.callback(self._control.close, timeout=0)

    def _subscribe(self, opened: ExitStack) -> Any:
        import zmq

        context = opened.enter_context(zmq.Context())
        images = opened.enter_context(context.socket(zmq.SUB))
        images.setsockopt(zmq.LINGER, 0)
        images.setsockopt(zmq.SUBSCRIBE, b"")
        images.setsockopt(zmq.CONFLATE, 1)  # the newest alone is kept
        images.connect(f"tcp://{self.address.host}:{self.address.camera_port}")
        return images

    def _sensor(self, name: str, values: Mapping[str, Any]) -> None:
        parameters = [{"name": key, "value": value} for key, value in values.items()]
        self.call("set_sensor_params", veh_id=0, sensor_name=name, parameters=parameters)

    def _where(self) -> str:
        port = self.address.control_port
        return f"the simulator at {SETTING}.host={self.address.host}, control_port={port},"


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
