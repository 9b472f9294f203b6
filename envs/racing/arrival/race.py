"""The race of the embedded world, with the car of a running Arrival simulator in it.

Road, laps, reward, metrics and what a driver is shown are those of world.Race; only the car is
another one. So the same policy drives both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.racing.arrival.frames import Earth, from_wire, show, spawn
from envs.racing.arrival.simulator import SETTING, Address, Lost, Simulator
from envs.racing.car import Cars, Vehicle
from envs.racing.referee import Referee
from envs.racing.rules import SOURCE_BRAKE, SOURCE_DRIVE
from envs.racing.world import Race

NEAR, STILL = 3.0, 0.3  # metres from where the car was to be put; m/s
HEARD, STRAIGHT = 0.05, 0.005  # rad of wheel angle: it follows actions; the wheels are straight


class ArrivalCar(Cars):
    """The car of a simulator, in place of car.Cars with n = 1, with the same attributes.

    What the pose does not say is reckoned: the pedal follows what was asked for with the vehicle's
    lag. fields: float64 [30], the last pose, see pose.pose. The connection is made when the car is
    first put somewhere, and anew after it was lost.
    """

    def __init__(self, vehicle: Vehicle, address: Address) -> None:
        super().__init__(vehicle, 1)
        self.address, self.fields = address, np.zeros(30)
        self._simulator: Simulator | None = None
        self._track, self._earth = "", Earth()

    def enter(self, track: str) -> None:
        """Names the circuit on which it is put from now on."""
        if track != self._track:
            self._track, self._earth = track, Earth.under(track)

    def place(
        self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray, speed: np.ndarray
    ) -> None:
        """Puts the car somewhere, at rest whatever the speed is, and waits until it stands there
        and follows actions. Raises Lost."""
        try:
            if self._simulator is None:
                self._simulator = Simulator(self.address)
            self._simulator.enter(self._track)
            self._simulator.reset()
            where = spawn(float(x[0]), float(y[0]), float(yaw[0]), self._track)
            self._simulator.call("set_vehicle_position", veh_id=0, **where)
            self._await(float(x[0]), float(y[0]))
        except Lost:
            self.close()
            raise
        self.pedal[:] = 0.0

    def step(self, steering: np.ndarray, acceleration: np.ndarray, seconds: float = 0.1) -> None:
        """Holds an action for `seconds` of the simulator's time, as Cars.step. Raises Lost."""
        v, asked = self.vehicle, max(float(acceleration[0]), -self.vehicle.brake)
        wheel = min(max(float(steering[0]), -v.steering), v.steering)
        try:
            self._drive(wheel, asked, seconds)
        except Lost:
            self.close()
            raise
        self.pedal += (asked - self.pedal) * (1.0 - math.exp(-seconds / v.pedal_lag))

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _await(self, x: float, y: float) -> None:
        """Brakes and turns the wheels, then lets go and straightens them, until the car stands
        there."""
        end, heard = time.monotonic() + self.address.timeout, False
        while True:
            wheel, pedal = (0.0, 0.0) if heard else (self.vehicle.steering, -SOURCE_BRAKE)
            self._drive(wheel, pedal, 0.1)
            away = math.hypot(self.x[0] - x, self.y[0] - y)
            there = away < NEAR and self.speed[0] < STILL
            heard = heard or (there and abs(self.steering[0]) > HEARD)
            if there and heard and abs(self.steering[0]) < STRAIGHT:
                return
            if time.monotonic() > end:
                what = "does not follow actions" if there else f"is {away:.0f} m away from there"
                raise Lost(
                    f"the simulator's car was put on {self._track} by set_vehicle_position, and"
                    f" {what} after {SETTING}.timeout={self.address.timeout:g} s"
                )

    def _drive(self, wheel: float, acceleration: float, seconds: float) -> None:
        assert self._simulator is not None, "reset() comes first"
        a, ratio = min(max(acceleration, -SOURCE_BRAKE), SOURCE_DRIVE), self.address.steer
        steer = min(max(wheel * ratio, -1.0), 1.0)
        sent = self._simulator.drive(steer, a, seconds)
        self.fields = from_wire(sent, self._track, self._earth)
        self.fields[0] /= ratio
        show(self.fields, self)


class ArrivalRace(Race):
    """world.Race with one car, that of the simulator at `arrival` (see simulator.Address), and its
    other keywords. Cars begin at rest. Raises Lost where the simulator fails."""

    def __init__(
        self, num_envs: int = 1, *, arrival: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        assert num_envs == 1, "a simulator has one car"
        super().__init__(1, **keywords)
        if self.observation == "camera":
            raise ValueError(
                "observation=camera would show the embedded world, not what the simulator's camera"
                " sees: with env.engine=arrival choose vector or pose"
            )
        self.cars: ArrivalCar = ArrivalCar(self.vehicle, Address.read(arrival))
        if self.observation == "pose":
            self.sense.observe = self._pose  # type: ignore[method-assign]

    def close_extras(self, **kwargs: Any) -> None:
        self.cars.close()

    def _control_step(
        self, actions: np.ndarray, over: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if over.all():  # it is left alone where the embedded world's cars only stand still
            return np.zeros(1), over & False, over & False
        return super()._control_step(actions, over)

    def _place(
        self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray, speed: np.ndarray
    ) -> None:
        if len(slots):
            self.cars.enter(self.tracks[self.turn[0] % len(self.tracks)].name)
            self.cars.place(slots, x, y, yaw, speed)

    def _pose(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        """The simulator's own pose, instead of one that is reckoned."""
        shown = self.cars.fields[None].astype(np.float32)
        return shown if slots is None else shown[: len(slots)]
