"""Columns of the tables of racing studies: laps, their times, and what the simulator measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.rows import Row, Runs, median, number
from benchmarks.store import Record

Columns = Mapping[str, Callable[[Row], str]]

RACE: Columns = {
    "seeds": lambda row: str(len(row.runs)),
    "first lap after, s": lambda row: times([lapped(run, 1) for run in row.runs]),
    "three laps after, s": lambda row: times([lapped(run, 3) for run in row.runs]),
    "laps kept": lambda row: share(row.runs),
    "flying lap after 60 s": lambda row: times([flying(run, 60) for run in row.runs]),
    "120 s": lambda row: times([flying(run, 120) for run in row.runs]),
    "at the end": lambda row: times([driven(run).get("lap_time_best") for run in row.runs], 2),
    "best": lambda row: number(
        min((lap for run in row.runs if (lap := flying(run)) is not None), default=math.inf), 2
    ),
    "env steps/s": lambda row: number(
        median([r["result"]["env_steps"] / r["result"]["seconds"] for r in row.runs]), 0
    ),
}


def fastest(row: Row, seconds: float) -> str:
    """The fastest flying lap of an evaluation within so many seconds."""
    return times([flying(run, seconds) for run in row.runs], 2)


def metric(row: Row, key: str) -> str:
    """One metric of the final policies, the median over runs."""
    values = [value for run in row.runs if (value := driven(run).get(key)) is not None]
    return number(median(values), 2)


RACE_LONG: Columns = {
    "seeds": lambda row: str(len(row.runs)),
    **{
        f"after {minutes} min": partial(fastest, seconds=60.0 * minutes)
        for minutes in (1, 2, 5, 10)
    },
    "at the end": RACE["at the end"],
    "laps kept": RACE["laps kept"],
}
DRIVEN = {
    "distance, m": "total_distance",
    "time, s": "total_time",
    "infractions": "num_infractions",
    "speed, km/h": "average_speed_kph",
    "off the centreline, m": "average_displacement_error",
    "efficiency": "trajectory_efficiency",
    "admissibility": "trajectory_admissibility",
    "jerk": "movement_smoothness",
    "steps/s": "timestep_per_sec",
    "laps": "laps_completed",
    "first lap, s": "lap_time_first",
    "flying lap, s": "lap_time_best",
}
DRIVING: Columns = {head: partial(metric, key=key) for head, key in DRIVEN.items()}


def lapped(run: Record, laps: int) -> float | None:
    """Seconds from the start of the process to the first evaluation whose episodes complete that
    many laps on average; None where none does."""
    driven = run.get("laps", {"seconds": [], "laps_completed": []})
    pairs = zip(driven["seconds"], driven["laps_completed"], strict=True)
    return next((seconds for seconds, mean in pairs if mean >= laps), None)


def flying(run: Record, seconds: float = math.inf) -> float | None:
    """The fastest flying lap, a mean over an evaluation's episodes, within so many seconds."""
    driven = run.get("laps", {"seconds": [], "lap_time_best": []})
    pairs = zip(driven["seconds"], driven["lap_time_best"], strict=True)
    return min((lap for at, lap in pairs if lap is not None and at <= seconds), default=None)


def driven(run: Record) -> dict[str, float | None]:
    """The metrics of the final policy."""
    return run["result"].get("metrics", {}).get("final", {})


def share(runs: Runs) -> str:
    """Of the evaluations that follow the first whole lap, those with a lap in every episode."""
    after = [
        laps >= 1
        for run in runs
        if (first := lapped(run, 1)) is not None
        for at, laps in zip(run["laps"]["seconds"], run["laps"]["laps_completed"], strict=True)
        if at >= first
    ]
    return f"{sum(after)}/{len(after)}"


def times(values: Sequence[float | None], digits: int = 1) -> str:
    """The median, and the largest; None counts as never."""
    found = [math.inf if value is None else value for value in values]
    return f"{number(median(found), digits)} ({number(max(found), digits)})"
