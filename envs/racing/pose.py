"""What the Arrival simulator says of its car, 30 numbers, said of the cars of the embedded world.

Fields as in "Learn-to-Race: A Multimodal Control Environment for Autonomous Racing", Herman et al.
2021, arXiv:2103.11575, and the package l2r 0.0.2. Neither says which way the axes point: they are
taken to be those of Unreal Engine, in which the simulator is written: forward, right and up.
"""

from __future__ import annotations

import numpy as np

from envs.racing.car import GRAVITY, Cars

SIZE = 30
TRACKS = {"thruxton": 1, "anglesey": 2}  # as the package numbers them; Vegas, 0, is in no package
ELSEWHERE = -1  # the number of any other circuit
DRIVE = 1  # the gear
WHEEL_RADIUS = 0.33  # m, assumed


def pose(cars: Cars, ids: np.ndarray, slots: np.ndarray | None = None) -> np.ndarray:
    """float64 [m, 30] of the cars `slots` (int64 [m]; None: all). ids: [n], the number of each
    car's track, see TRACKS.

    0 the front wheels' angle, rad, positive to the left. 1 the gear, 1 to drive. 2 the number of
    the track, as the package has it; the simulator sends its mode of driving there. 3-5 velocity,
    m/s, forward, right, up. 6-8 acceleration, m/s2, forward, right, up, as an accelerometer shows
    it: 9.81 upwards at rest. 9-11 angular velocity, rad/s: roll, pitch, and yaw, clockwise. 12-14
    yaw, in (-pi, pi], clockwise from north, pitch, roll: rad. 15-17 metres north, east and up from
    the track's reference point; the simulator sends longitude and latitude in degrees, and height.
    18-29 of each wheel, front left, front right, rear left, rear right: 18-21 revolutions a minute,
    22-25 the brake in [0, 1], 26-29 the drive's torque, N m, of which the front wheels have none.
    """
    fields = np.zeros((SIZE, cars.n))
    fields[0] = cars.steering
    fields[1] = DRIVE
    fields[2] = ids
    fields[3], fields[4] = cars.vx, -cars.vy
    fields[6], fields[7], fields[8] = cars.ax, -cars.ay, GRAVITY
    fields[11] = -cars.yaw_rate
    fields[12] = compass(cars.yaw)
    fields[15], fields[16] = cars.y, cars.x
    fields[18:22] = cars.vx * (30 / (np.pi * WHEEL_RADIUS))
    v = cars.vehicle
    fields[22:26] = np.maximum(-cars.pedal, 0.0) / v.brake
    force = np.minimum(v.power / np.maximum(np.abs(cars.vx), 1.0), v.drive_force)
    fields[28:30] = np.minimum(v.mass * np.maximum(cars.pedal, 0.0), force) * (0.5 * WHEEL_RADIUS)
    return fields.T if slots is None else fields.T[slots]


def compass(yaw: np.ndarray) -> np.ndarray:
    """From radians counter-clockwise from east to radians clockwise from north, in (-pi, pi], and
    from there back."""
    return np.pi - (np.pi / 2 + yaw) % (2 * np.pi)
