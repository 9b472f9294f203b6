"""What an agent's action means, what its driving is worth, and how long an episode may last."""

from __future__ import annotations

import numpy as np

from envs.racing.car import Vehicle

ACTIONS = ("assisted", "source")
REWARDS = ("progress", "granturismo", "custom")
CREEP, PUSH = 6.0, 2.0  # m/s, m/s2
SHORTEST, LONGEST = 0.1, 10_000.0  # s
SOURCE_STEERING, SOURCE_DRIVE, SOURCE_BRAKE = 0.3, 6.0, 16.0  # rad, m/s2, m/s2
SOURCE_INDEX = 0.505  # metres from one point of the source's centreline to the next


def lasts(seconds: float, laps: int | None) -> None:
    """Raises ValueError for an episode that no race is."""
    if type(seconds) not in (int, float) or not SHORTEST <= seconds <= LONGEST:
        raise ValueError(
            f"env.kwargs.seconds={seconds} must be a number in [{SHORTEST:g}, {LONGEST:g}]"
        )
    if laps is not None and (type(laps) is not int or laps < 1):
        raise ValueError(f"env.kwargs.laps={laps} must be a whole number of at least 1, or null")


def asked(
    name: str, action: np.ndarray, speed: np.ndarray, vehicle: Vehicle
) -> tuple[np.ndarray, np.ndarray]:
    """The wheel angle, rad, and the acceleration, m/s2, float64 [N] each, that actions [N, 2] in
    [-1, 1] ask for: steering (positive to the left) and pedals (positive drives, negative brakes).

    assisted: the largest wheel angle falls with the speed to about that of the grip's limit,
    min(0.35, 42 / v^2 + 0.08) rad; acceleration up to 6 m/s2, braking up to 10 m/s2; below 6 m/s
    the car accelerates by at least 2 m/s2 whatever is asked. Without that creep, agents learn to
    park before a bend. source: 0.3 rad, 6 m/s2 and 16 m/s2 at any speed, as in the agents published
    with Learn-to-Race (Herman et al. 2021, "Learn-to-Race", arXiv:2103.11575).
    """
    steer, pedal = np.clip(np.asarray(action, np.float64).T, -1.0, 1.0)
    if name == "source":
        return steer * SOURCE_STEERING, pedal * np.where(pedal > 0, SOURCE_DRIVE, SOURCE_BRAKE)
    limit = np.minimum(vehicle.steering, 42.0 / np.maximum(speed, 1.0) ** 2 + 0.08)
    acceleration = pedal * np.where(pedal > 0, 6.0, 10.0)
    creeping = np.where(speed < CREEP, PUSH, -np.inf)
    return steer * limit, np.maximum(acceleration, creeping)


def reward(
    name: str,
    progress: np.ndarray,
    speed: np.ndarray,
    lateral: np.ndarray,
    crashed: np.ndarray,
    stuck: np.ndarray,
) -> np.ndarray:
    """What a step is worth, float64 [N], by metres of progress along the centreline, negative ones
    backwards, also across the start line.

    progress: 0.1 a metre, less 5 + v/4 for leaving the road and 10 for standing still.
    granturismo: Learn-to-Race's default, the points of the centreline that were passed (0.505 m
    apart), less max(25, 5 v) for leaving the road. custom: that, and 1 for a step forwards within
    1 m of the centreline (Bian 2023, "Learn to Race: Distributed RL and Optimization Thrust").
    """
    if name == "progress":
        worth = 0.1 * progress
        worth -= np.where(crashed, 5.0 + 0.25 * speed, 0.0)
        return np.asarray(worth - np.where(stuck, 10.0, 0.0))
    worth = progress / SOURCE_INDEX - np.where(crashed, np.maximum(25.0, 5.0 * speed), 0.0)
    if name == "custom":
        worth += (progress > 0) & (np.abs(lateral) < 1.0)
    return worth
