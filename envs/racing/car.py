"""A car as a dynamic bicycle with saturating tyres, many of them side by side in NumPy.

Two wheels stand for the two axles. Tyre forces are Pacejka's Magic Formula of the lateral slip
(Pacejka 2012, *Tire and Vehicle Dynamics*, section 4.3), within a friction ellipse; the loads of
the axles move with the acceleration and grow with the speed (downforce).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml

GRAVITY = 9.81
LEAST_SUBSTEP, MOST_SUBSTEP = 1e-4, 0.02  # s, of the integration


@dataclass(frozen=True)
class Vehicle:
    """The numbers of a car, in SI units; devbot.yaml has them, with their sources."""

    mass: float
    yaw_inertia: float
    front: float
    rear: float
    height: float
    drag: float
    downforce_front: float
    downforce_rear: float
    rolling_resistance: float
    power: float
    drive_force: float
    brake: float
    brake_front: float
    steering: float
    steering_lag: float
    steering_rate: float
    pedal_lag: float
    stiffness_front: float
    stiffness_rear: float
    shape: float
    friction_front: float
    friction_rear: float
    nominal_load: float
    load_dependence: float
    brake_share: float
    length: float
    width: float

    @classmethod
    def load(cls, changes: Mapping[str, float] | None = None) -> Vehicle:
        """The DevBot 2.0, with some of its numbers changed. Raises ValueError for a name that it
        does not have and for a value that is no positive number."""
        text = Path(__file__).with_name("devbot.yaml").read_text("utf-8")
        numbers = {name: float(value) for name, value in yaml.safe_load(text).items()}
        if not isinstance(changes or {}, Mapping):
            raise ValueError(f"vehicle={changes} must be a mapping, as {{mass: 900.0}}")
        for name, value in (changes or {}).items():
            if name not in numbers:
                known = ", ".join(f.name for f in fields(cls))
                raise ValueError(f"vehicle.{name} is no number of a car; it has {known}")
            number = isinstance(value, int | float) and np.isfinite(value)
            if not number or not (value > 0 or name == "load_dependence"):
                raise ValueError(f"vehicle.{name}={value} must be a positive number")
            numbers[name] = float(value)
        return cls(**numbers)

    @property
    def wheelbase(self) -> float:
        """Metres between the axles."""
        return self.front + self.rear

    def load_of_axles(self) -> np.ndarray:
        """Newtons on the front and the rear axle at rest: float64 [2]."""
        weight = self.mass * GRAVITY / self.wheelbase
        return np.array([weight * self.rear, weight * self.front])

    def friction(self, loads: np.ndarray) -> np.ndarray:
        """The largest force of each axle, N, under its load [2, ...] N; a tyre has half of it."""
        most = np.array([self.friction_front, self.friction_rear])
        most = most.reshape(2, *[1] * (loads.ndim - 1))
        over = loads * (0.5 / self.nominal_load) - 1.0
        return np.asarray(loads * most * (1.0 + self.load_dependence * over))


class Cars:
    """`n` cars of one kind, side by side; a car's numbers do not depend on how many there are.

    float64 [n] each: x, y (metres east and north), yaw (radians counter-clockwise from east), vx,
    vy (m/s forward and to the left), yaw_rate (rad/s), steering (radians at the wheels, positive to
    the left), pedal (the acceleration asked for, m/s2, after its lag), ax, ay (m/s2 forward and to
    the left, as an accelerometer shows them).

    substep: seconds of one step of the integration, a midpoint rule (RK2), 1e-4 to 0.02. The slip
    of a wheel is its lateral speed over its longitudinal one, or over `slowest` where it rolls more
    slowly. That keeps the equations from becoming too stiff for the sub-step, makes walking speed
    kinematic, and lets tyres only ever take energy: no blend with a kinematic model is needed.
    """

    def __init__(self, vehicle: Vehicle, n: int, *, substep: float = MOST_SUBSTEP) -> None:
        number = isinstance(substep, int | float)
        if not number or not LEAST_SUBSTEP <= substep <= MOST_SUBSTEP:
            raise ValueError(
                f"substep={substep} must lie in [{LEAST_SUBSTEP}, {MOST_SUBSTEP}] seconds"
            )
        self.vehicle, self.n, self.substep = vehicle, n, substep
        self.state = np.zeros((6, n))
        self.x, self.y, self.yaw, self.vx, self.vy, self.yaw_rate = self.state
        self.steering, self.pedal, self.ax, self.ay = np.zeros((4, n))
        v = vehicle
        self._arms = np.array([[v.front], [-v.rear]])
        self._stiffness = np.array([[v.stiffness_front], [v.stiffness_rear]])
        self._rest = v.load_of_axles()[:, None]
        self._downforce = np.array([[v.downforce_front], [v.downforce_rear]])
        self._shift = np.array([[-1.0], [1.0]]) * (v.mass * v.height / v.wheelbase)
        self._brakes = np.array([[v.brake_front], [1.0 - v.brake_front]]) * v.mass
        grip = v.friction(v.load_of_axles()) * v.shape * self._stiffness[:, 0]
        stiffest = float((self._arms[:, 0] ** 2 * grip).sum() / v.yaw_inertia)
        self.slowest = max(4.0, substep * stiffest / 1.85)  # RK2 is stable up to 2

    @property
    def speed(self) -> np.ndarray:
        """m/s, float64 [n]."""
        return np.hypot(self.vx, self.vy)

    def place(
        self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray, speed: np.ndarray
    ) -> None:
        """Puts the cars `slots` somewhere, rolling straight ahead at `speed` m/s."""
        self.state[:, slots] = 0.0
        self.x[slots], self.y[slots], self.yaw[slots], self.vx[slots] = x, y, yaw, speed
        for column in (self.steering, self.pedal, self.ax, self.ay):
            column[slots] = 0.0

    def step(self, steering: np.ndarray, acceleration: np.ndarray, seconds: float = 0.1) -> None:
        """Moves all cars on. steering: the wheel angle asked for, rad; acceleration: m/s2 asked for
        at the pedals, negative ones brake; float64 [n] each, held for `seconds`. Both follow with
        the vehicle's lags, within its limits; a brake stops and holds, there is no reverse gear."""
        v, h = self.vehicle, self.substep
        steering = np.clip(steering, -v.steering, v.steering)
        acceleration = np.maximum(acceleration, -v.brake)
        turn, press = 1 - np.exp(-h / v.steering_lag), 1 - np.exp(-h / v.pedal_lag)
        for _ in range(round(seconds / h)):
            angle = turn * (steering - self.steering)
            limit = v.steering_rate * h
            angle = np.minimum(np.maximum(angle, -limit), limit)
            pedal = press * (acceleration - self.pedal)
            self._substep(self.steering + 0.5 * angle, self.pedal + 0.5 * pedal, h)
            self.steering += angle
            self.pedal += pedal

    def _substep(self, angle: np.ndarray, pedal: np.ndarray, h: float) -> None:
        """One midpoint step with the wheels at `angle` and the pedals at `pedal`."""
        v, vx = self.vehicle, self.vx
        squared = vx * vx
        loads = self._rest + self._downforce * squared + self._shift * self.ax
        most = v.friction(np.maximum(loads, 1.0))
        along = self._pedals(vx, pedal, most)
        across = -most * np.sqrt(1.0 - (along / most) ** 2)
        turned = np.stack([np.cos(angle), np.sin(angle)])
        middle = self.state + (0.5 * h) * self._rates(self.state, turned, along, across)
        rates = self._rates(middle, turned, along, across)
        self.state += h * rates
        self.ax[:] = rates[3] - middle[5] * middle[4]
        self.ay[:] = rates[4] + middle[5] * middle[3]

    def _pedals(self, vx: np.ndarray, pedal: np.ndarray, most: np.ndarray) -> np.ndarray:
        """Longitudinal force of the two axles, N, [2, n]: the rear one drives, both brake."""
        v = self.vehicle
        rolling = np.minimum(np.maximum(2.0 * vx, -1.0), 1.0)  # the way it rolls; 0 at rest
        force = self._brakes * (np.minimum(pedal, 0.0) * rolling)
        power = v.power / np.maximum(np.abs(vx), 1.0)
        force[1] += np.minimum(np.maximum(pedal, 0.0) * v.mass, np.minimum(power, v.drive_force))
        limit = v.brake_share * most
        return np.asarray(np.minimum(np.maximum(force, -limit), limit))

    def _rates(
        self, state: np.ndarray, turned: np.ndarray, along: np.ndarray, across: np.ndarray
    ) -> np.ndarray:
        """Time derivatives of the state [6, n]. turned: cosine and sine of the front wheel's angle;
        along: longitudinal force [2, n]; across: minus the largest lateral force [2, n]."""
        v, (cos, sin) = self.vehicle, turned
        _, _, yaw, vx, vy, r = state
        lateral = vy + self._arms * r
        rolling = np.abs(np.stack([vx * cos + lateral[0] * sin, vx]))
        lateral[0] = lateral[0] * cos - vx * sin
        slip = self._stiffness * lateral / np.maximum(rolling, self.slowest)
        across = across * np.sin(v.shape * np.arctan(np.arctan(slip)))
        left = across[0] * cos + along[0] * sin
        held = np.minimum(np.maximum(2.0 * vx, -1.0), 1.0)
        drag = v.drag * vx * np.abs(vx) + v.rolling_resistance * v.mass * GRAVITY * held
        forward = along[0] * cos - across[0] * sin + along[1] - drag
        c, s = np.cos(yaw), np.sin(yaw)
        rates = np.empty_like(state)
        rates[0] = vx * c - vy * s
        rates[1] = vx * s + vy * c
        rates[2] = r
        rates[3] = forward / v.mass + r * vy
        rates[4] = (left + across[1]) / v.mass - r * vx
        rates[5] = (left * v.front - across[1] * v.rear) / v.yaw_inertia
        return rates
