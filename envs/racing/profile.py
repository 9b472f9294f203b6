"""How fast a road can be driven: speed profiles, lap times, the line of minimum curvature.

Quasi-steady states of a point mass whose axles keep their loads and friction, forward and backward
along the line, as in "Minimum curvature trajectory planning and control for an autonomous race
car", Heilmeier et al. 2020, doi:10.1080/00423114.2019.1631455, from which the line is too.
`python -m envs.racing.profile` prints the times of all circuits.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs.racing.car import GRAVITY, Vehicle
from envs.racing.circuits import NAMES, named
from envs.racing.track import Track

FASTEST = 120.0  # m/s, above the top speed of any car
STEP = 0.25  # m/s between the speeds of the table
WEIGHT = 0.01  # of the constraints in the programme of the line; its size decides the speed only
LEFTOVERS = np.linspace(0, 1, 41)  # square root of 1 - (part of the lateral limit in use) ** 2


def speed_profile(
    track: Track, vehicle: Vehicle, *, sigma: float = 3.0, standing: bool = False
) -> np.ndarray:
    """Metres a second at each sample of the centreline, float64 [n]: the fastest at which no axle
    asks more of its tyres than their friction, and the engine and the brakes suffice.

    The curvature is smoothed by `sigma` metres first. `standing` begins at rest, otherwise the lap
    begins at the speed with which it ends.
    """
    limits = _limits(vehicle)
    curvature = np.abs(_smoothed(track.curvature, sigma / track.spacing))
    # The slowest sample is driven at its limit: a lap from there needs no second one.
    slowest = int(curvature.argmax())
    curvature = np.roll(curvature, -slowest)
    speed = limits.steady(curvature)
    backward = -np.arange(len(speed)) % len(speed)
    speed = _limited(speed[backward], curvature[backward], limits, limits.brake, track.spacing)
    speed = _limited(speed[backward], curvature, limits, limits.drive, track.spacing)
    speed, curvature = np.roll(speed, slowest), np.roll(curvature, slowest)
    if standing:
        speed[0] = 0.0
        speed = _limited(speed, curvature, limits, limits.drive, track.spacing)
    return speed


def lap_time(track: Track, profile: np.ndarray) -> float:
    """Seconds of a lap at the speeds of `profile`, float64 [n]; one that begins at rest ends at the
    speed of its last sample."""
    after = np.append(profile[1:], profile[0] or profile[-1])
    return float((2 * track.spacing / (profile + after)).sum())


def minimum_curvature(
    track: Track, vehicle: Vehicle, margin: float = 0.3, *, spacing: float = 3.0, rounds: int = 4
) -> Track:
    """The line whose squared curvature is least while the car's sides stay `margin` metres inside
    the road, as a track: its half-widths are the distances to the edges of the road.

    Quadratic programmes in the offsets from a line at about `spacing` metres, by the alternating
    direction method of multipliers (Boyd et al. 2011, doi:10.1561/2200000016): the first moves the
    centreline, each of the other `rounds` the line found. The fastest line is close to it.
    """
    room = margin + vehicle.width / 2
    edges = track.beside(track.left), track.beside(-track.right)
    road = track
    for _ in range(rounds):
        points = _straightened(road, room, max(1, round(spacing / road.spacing)))
        road = Track.build(f"{track.name}, least curvature", points, *edges)
    return road


def _straightened(road: Track, room: float, every: int) -> np.ndarray:
    """Points [m, 2] moved along the normals to where the squares of their second differences have
    the least sum, at least `room` metres from each edge."""
    count = len(road.x) // every
    at = np.arange(count) * len(road.x) // count
    heading, line = road.heading[at], road.x[at] + 1j * road.y[at]
    low, high = room - road.right[at], road.left[at] - room
    stencil = [1.0, -4.0, 6.0, -4.0, 1.0]
    bend = np.zeros((count, count))
    for shift, value in zip(range(-2, 3), stencil, strict=True):
        bend += value * np.roll(np.eye(count), shift, 0)
    slope = (bend @ line * -1j * np.exp(-1j * heading)).real
    solve = np.linalg.inv(bend * np.cos(heading[:, None] - heading) + WEIGHT * np.eye(count))
    inside = dual = np.zeros(count)
    for _ in range(300):
        offset = solve @ (WEIGHT * (inside - dual) - slope)
        inside = np.clip(offset + dual, low, high)
        dual = dual + offset - inside
    return road.beside(np.interp(np.arange(len(road.x)), at, inside, period=len(road.x)))[at]


Table = list[list[float]]


class Limits(NamedTuple):
    """What a car can do at each speed of the table, v = 0, STEP, .. m/s."""

    lateral: np.ndarray  # float64 [v], m/s2 at which it holds its speed
    drive: Table  # [v][LEFTOVERS], m/s2 by which it can gain speed
    brake: Table  # [v][LEFTOVERS], m/s2 by which it can lose speed

    def steady(self, curvature: np.ndarray) -> np.ndarray:
        """The speed that a bend of each curvature (1/m, not negative) allows, m/s."""
        speed = np.arange(len(self.lateral)) * STEP
        fine = np.arange(0.1, speed[-1], 0.02)
        bends = np.interp(fine, speed, self.lateral) / fine**2
        fine, bends = fine[bends > 0], bends[bends > 0]
        return np.interp(curvature, bends[::-1], fine[::-1])


@functools.cache
def _limits(vehicle: Vehicle) -> Limits:
    """Each by 30 bisections, all entries side by side."""
    speed = np.arange(0, FASTEST, STEP)
    lateral = _most(lambda y: _possible(vehicle, speed, y, np.zeros_like(y)), speed.shape)
    speed, used = speed[:, None], lateral[:, None] * np.sqrt(1 - LEFTOVERS**2)
    drive = _most(lambda x: _possible(vehicle, speed, used, x), used.shape)
    brake = _most(lambda x: _possible(vehicle, speed, used, -x), used.shape)
    return Limits(lateral, drive.tolist(), brake.tolist())


def _most(possible: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The largest possible value of each entry, from 0 to 50 m/s2."""
    low, high = np.zeros(shape), np.full(shape, 50.0)
    for _ in range(30):
        middle = (low + high) / 2
        fits = possible(middle)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def _possible(
    vehicle: Vehicle, speed: np.ndarray, lateral: np.ndarray, along: np.ndarray
) -> np.ndarray:
    """Whether the car can accelerate by `lateral` and `along` m/s2 at `speed` m/s, bool [...]."""
    v = vehicle
    squared, transfer = speed**2, v.mass * v.height / v.wheelbase * along
    rest = v.load_of_axles()
    loads = np.stack(
        [
            rest[0] + v.downforce_front * squared - transfer,
            rest[1] + v.downforce_rear * squared + transfer,
        ]
    )
    most = v.friction(np.maximum(loads, 1.0))
    side = v.mass * lateral / v.wheelbase
    left = most**2 - np.stack([side * v.rear, side * v.front]) ** 2
    room = np.minimum(np.sqrt(np.maximum(left, 0.0)), v.brake_share * most)
    force = v.mass * (along + v.rolling_resistance * GRAVITY) + v.drag * squared
    engine = np.minimum(v.drive_force, v.power / np.maximum(speed, 1.0))
    brakes = v.mass * v.brake * np.array([v.brake_front, 1 - v.brake_front])
    brake = np.minimum(room[0], brakes[0]) + np.minimum(room[1], brakes[1])
    return (left >= 0).all(0) & (force <= np.minimum(engine, room[1])) & (force >= -brake)


def _limited(
    speed: np.ndarray, curvature: np.ndarray, limits: Limits, gains: Table, step: float
) -> np.ndarray:
    """The speeds, cut where from one sample to the next they rise faster than `gains` allows.

    A loop over plain numbers: each speed follows from the one before.
    """
    lateral, last = limits.lateral.tolist(), len(LEFTOVERS) - 1
    most, reached = speed.tolist(), [float(speed[0])]
    for bend, highest in zip(curvature.tolist(), most[1:], strict=False):
        v = reached[-1]
        row = int(v / STEP)
        part = v / STEP - row
        side = (1 - part) * lateral[row] + part * lateral[row + 1]
        used = bend * v * v / side
        column = math.sqrt(1 - used * used) * last if used < 1 else 0.0
        left = min(int(column), last - 1)
        share = column - left
        below, above = gains[row], gains[row + 1]
        gain = (1 - part) * ((1 - share) * below[left] + share * below[left + 1])
        gain += part * ((1 - share) * above[left] + share * above[left + 1])
        reached.append(min(highest, math.sqrt(v * v + 2 * gain * step)))
    return np.array(reached)


def _smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """By a periodic Gaussian of `sigma` samples."""
    frequencies = 2 * np.pi * np.fft.rfftfreq(len(values))
    kept = np.fft.rfft(values) * np.exp(-0.5 * (sigma * frequencies) ** 2)
    return np.fft.irfft(kept, len(values))


def main() -> None:
    """Prints the bounds of all circuits, the first six random ones among them."""
    vehicle = Vehicle.load()
    row = "{:28} {:>7} {:>7} {:>11} {:>7} {:>9}\n".format
    sys.stdout.write(row("line", "m", "radius", "m/s", "flying", "standing"))
    for name, circuit in [(name, 0) for name in NAMES[:-1]] + [("random", i) for i in range(6)]:
        centre = named(name, circuit)
        for track in (centre, minimum_curvature(centre, vehicle)):
            flying = speed_profile(track, vehicle)
            times = [flying, speed_profile(track, vehicle, standing=True)]
            shown = [f"{lap_time(track, time):.1f}" for time in times]
            radius = f"{1 / np.abs(track.curvature).max():.1f}"
            speeds = f"{flying.min():.1f}-{flying.max():.1f}"
            sys.stdout.write(row(track.name, f"{track.length:.0f}", radius, speeds, *shown))


if __name__ == "__main__":
    main()
