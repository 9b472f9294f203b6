"""What an episode of driving was like: the ten metrics of Learn-to-Race, and lap times.

Definitions as in "Learn-to-Race: A Multimodal Control Environment for Autonomous Racing", Herman et
al. 2021, arXiv:2103.11575, and the code that came with it, with these differences: time is
simulated instead of wall clock, every figure counts one episode, nothing is rounded, the distance
includes the first step, and the centreline is closed. Smoothness is the logarithmic dimensionless
jerk of "On the analysis of movement smoothness", Balasubramanian et al. 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.racing.car import GRAVITY
from envs.racing.track import Track

UNITS = {
    "total_distance": "m",
    "total_time": "s",
    "num_infractions": "",
    "average_speed_kph": "km/h",
    "average_displacement_error": "m",
    "trajectory_efficiency": "",
    "trajectory_admissibility": "",
    "movement_smoothness": "",
    "timestep_per_sec": "1/s",
    "laps_completed": "",
    "lap_time_first": "s",
    "lap_time_best": "s",
}
METRICS = tuple(UNITS)
MEANINGS = {
    "total_distance": "length of the driven path",
    "total_time": "simulated time of the episode",
    "num_infractions": "1 if the episode ended because more than one corner left the road, else 0",
    "average_speed_kph": "distance over time",
    "average_displacement_error": "mean distance to the centreline, over all steps",
    "trajectory_efficiency": (
        "RMS curvature of the centreline over that of the driven path; above 1 the car bends less"
    ),
    "trajectory_admissibility": (
        "1 - sqrt(mean number of corners outside the road); 1 is always inside, -1 always outside"
    ),
    "movement_smoothness": (
        "ln of the dimensionless jerk of the acceleration's magnitude; higher is rougher"
    ),
    "timestep_per_sec": "control steps for each simulated second",
    "laps_completed": "whole laps",
    "lap_time_first": "the first lap, from a standing start if the car began on the grid",
    "lap_time_best": "the fastest flying lap: any after the first",
}

STRAIGHT = 1e-6  # 1/m: a path of less RMS curvature, a radius of 1000 km, is a straight one


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode of one car: T control steps of `dt` simulated seconds, T + 1 states.

    x, y: float64 [T+1], metres east and north. speed: float64 [T+1], m/s. acceleration: float64
    [T+1, 2], m/s2 forward and to the left. index: int64 [T+1], nearest sample of the centreline.
    lateral: float64 [T+1], metres left of it. outside: int64 [T], corners of the car outside the
    road after each step. lap_times: seconds, in order. infractions: 1 if the episode ended because
    more than one corner left the road, else 0. Raises ValueError where lengths disagree.
    """

    x: np.ndarray
    y: np.ndarray
    speed: np.ndarray
    acceleration: np.ndarray
    index: np.ndarray
    lateral: np.ndarray
    outside: np.ndarray
    laps: int = 0
    lap_times: tuple[float, ...] = ()
    infractions: int = 0
    dt: float = 0.1

    def __post_init__(self) -> None:
        states = self.steps + 1
        for name in ("x", "y", "speed", "acceleration", "index", "lateral"):
            shape = (states, 2) if name == "acceleration" else (states,)
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(
                    f"Trace.{name} has shape {np.shape(getattr(self, name))}; "
                    f"{self.steps} steps in Trace.outside ask for {shape}"
                )

    @property
    def steps(self) -> int:
        """T, the number of control steps."""
        return len(self.outside)

    @property
    def seconds(self) -> float:
        """Simulated time of the episode."""
        return self.steps * self.dt


def measure(trace: Trace, track: Track) -> dict[str, float]:
    """The metrics of one episode, in the order of METRICS, with the units of UNITS.

    Every value is a finite number or NaN. NaN: speed, displacement, admissibility and steps a
    second of an episode of no step; efficiency of a path of fewer than three states or without
    curvature (standing still, a straight line); smoothness of fewer than two steps or of an
    acceleration that does not change (there the logarithm has no value); lap times of laps that
    were not completed.
    """
    distance = float(np.hypot(np.diff(trace.x), np.diff(trace.y)).sum())
    seconds = trace.seconds
    values = (
        distance,
        seconds,
        trace.infractions,
        3.6 * distance / seconds if seconds else math.nan,
        _displacement(trace, track),
        _efficiency(trace, track),
        1 - math.sqrt(trace.outside.mean()) if seconds else math.nan,
        roughness(trace.acceleration[1:], trace.dt),
        trace.steps / seconds if seconds else math.nan,
        trace.laps,
        trace.lap_times[0] if trace.lap_times else math.nan,
        min(trace.lap_times[1:], default=math.nan),
    )
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def rms_curvature(x: np.ndarray, y: np.ndarray, *, closed: bool) -> float:
    """Root mean square, in 1/m, of (x'y'' - y'x'') / (x'^2 + y'^2 + 1e-6)^1.5.

    x, y: float64 [n], metres. Derivatives are central differences from state to state. Of an open
    path the two ends are left out; fewer than three states give NaN.
    """
    if closed:
        x, y = np.r_[x[-1], x, x[0]], np.r_[y[-1], y, y[0]]
    if len(x) < 3:
        return math.nan
    dx, dy = (x[2:] - x[:-2]) / 2, (y[2:] - y[:-2]) / 2
    ddx, ddy = np.diff(x, 2), np.diff(y, 2)
    curvature = (dx * ddy - dy * ddx) / (dx**2 + dy**2 + 1e-6) ** 1.5
    return math.sqrt(np.mean(curvature**2))


def roughness(acceleration: np.ndarray, dt: float) -> float:
    """ln((T / peak^2) sum((change of a / dt)^2) dt) of a = |acceleration with gravity| - 9.81.

    acceleration: float64 [n, 2], m/s2, one row a step, T = n dt. The source's documents call the
    negative of this figure smoothness, its code returns this one: the higher, the rougher. NaN for
    fewer than two rows and where `a` does not change.
    """
    if len(acceleration) < 2:
        return math.nan
    a = np.sqrt((acceleration**2).sum(1) + GRAVITY**2) - GRAVITY
    peak = np.abs(a).max()
    jerk = float((np.diff(a) ** 2).sum() / dt)
    return math.log(len(a) * dt * jerk / peak**2) if jerk > 0 else math.nan


def _displacement(trace: Trace, track: Track) -> float:
    """Mean distance in metres to the line through the nearest sample and the one after it."""
    if not trace.steps:
        return math.nan
    here = trace.index[1:]
    after = (here + 1) % len(track.x)
    east, north = track.x[after] - track.x[here], track.y[after] - track.y[here]
    across = east * (trace.y[1:] - track.y[here]) - north * (trace.x[1:] - track.x[here])
    return float(np.mean(np.abs(across) / np.hypot(east, north)))


def _efficiency(trace: Trace, track: Track) -> float:
    driven = rms_curvature(trace.x, trace.y, closed=False)
    if not driven >= STRAIGHT:
        return math.nan
    return rms_curvature(track.x, track.y, closed=True) / driven
