"""What a handful of seeds allows to say: ERT, IQM, improvement, portfolio, speed-up.

A run's time to the threshold is a float, or None where it was not solved; None is never dropped, it
counts as the whole budget. IQM, stratified bootstrap and probability of improvement as in "Deep
Reinforcement Learning at the Edge of the Statistical Precipice", Agarwal et al. 2021,
arXiv:2108.13264; ERT as in "COCO: a platform", Hansen et al. 2016, arXiv:1603.08785.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")
Time = float | None
Tasks = Sequence[Sequence[float]]


class Interval(NamedTuple):
    """An estimate and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


def ert(times: Sequence[Time], budget: float) -> float:
    """Expected running time: everything spent until success or budget, over the number solved.

    `times` and `budget` in one unit (seconds, env steps or updates). Infinite where none is solved.
    """
    solved = sum(time is not None for time in _some(times))
    return sum(_capped(times, budget)) / solved if solved else math.inf


def median(times: Sequence[Time], budget: float) -> float:
    """The median run, an unsolved one counting as the budget."""
    return statistics.median(_capped(_some(times), budget))


class Portfolio(NamedTuple):
    """`cores` independent runs side by side, the first to solve counts."""

    share: float
    mean: float
    ert: float
    median: float


def portfolio(times: Sequence[Time], budget: float, cores: int) -> Portfolio:
    """What `cores` independent runs, drawn without repetition from the seeds, would have shown.

    `mean` is the expected minimum, unsolved = budget (an unbiased estimate: the mean over all
    subsets). Raises ValueError where there are fewer seeds than cores.
    """
    if len(times) < cores:
        raise ValueError(
            f"a portfolio of {cores} cores needs {cores} seeds, there are {len(times)}"
        )
    groups = list(itertools.combinations(_capped(times, math.inf), cores))
    best = [min(group) for group in groups]
    share = sum(time < math.inf for time in best) / len(best)
    capped = [min(time, budget) for time in best]
    mean = sum(capped) / len(capped)
    return Portfolio(share, mean, mean / share if share else math.inf, statistics.median(capped))


class SpeedUp(NamedTuple):
    """How many times sooner the threshold comes: hardware efficiency (updates a second) times
    statistical efficiency (how few updates are needed), each relative to a baseline."""

    hardware: float
    statistical: float

    @property
    def total(self) -> float:
        return self.hardware * self.statistical


def speed_up(
    rates: Sequence[float],
    base_rates: Sequence[float],
    updates: float,
    base_updates: float,
) -> SpeedUp:
    """(updates/s over the baseline's) x (the baseline's updates to the threshold over ours).

    `rates` are updates/s, one a seed (their median is taken); `updates` are expected updates to the
    threshold (`ert` in updates). Where ours is infinite the second factor is 0; where the baseline
    has none, NaN.
    """
    hardware = statistics.median(rates) / statistics.median(base_rates)
    if math.isinf(base_updates):
        return SpeedUp(hardware, math.nan)
    return SpeedUp(hardware, base_updates / updates)


def iqm_interval(
    tasks: Tasks, *, level: float = 0.95, draws: int = 20_000, seed: int = 0
) -> Interval:
    """IQM over all runs of all tasks, runs redrawn within each task (percentile interval)."""
    return _bootstrap([tasks], lambda drawn: _rows_iqm(np.hstack(drawn[0])), level, draws, seed)


def probability_of_improvement(
    ours: Tasks, theirs: Tasks, *, level: float = 0.95, draws: int = 2_000, seed: int = 0
) -> Interval:
    """P(a run of ours is above a run of theirs), ties one half, averaged over tasks.

    Higher is better: negate times first. Both hold the same tasks in the same order.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks of ours against {len(theirs)} of theirs")

    def improvement(drawn: list[list[np.ndarray]]) -> np.ndarray:
        pairs = zip(*drawn, strict=True)
        wins = [np.sign(x[:, :, None] - y[:, None, :]).mean(axis=(1, 2)) for x, y in pairs]
        mean: np.ndarray = np.mean(wins, axis=0) / 2 + 0.5
        return mean

    return _bootstrap([ours, theirs], improvement, level, draws, seed)


def verdict(ours: Interval, theirs: Interval, seeds: int, improvement: Interval) -> str:
    """ "better", "worse", "not distinguishable" (below 10 seeds only disjoint intervals speak), or,
    below 5, "too few seeds"."""
    if seeds < 5:
        return "too few seeds"
    apart = not ours.overlaps(theirs)
    if not apart and (seeds < 10 or improvement.low <= 0.5 <= improvement.high):
        return "not distinguishable"
    above = ours.value > theirs.value if apart else improvement.value > 0.5
    return "better" if above else "worse"


def _bootstrap(
    samples: list[Tasks],
    statistic: Callable[[list[list[np.ndarray]]], np.ndarray],
    level: float,
    draws: int,
    seed: int,
) -> Interval:
    """`statistic` takes, for each sample, one [draws, runs] array a task, and returns [draws]."""
    rng = np.random.default_rng(seed)
    exact: list[list[np.ndarray]] = []
    drawn: list[list[np.ndarray]] = []
    for tasks in samples:
        arrays = [np.asarray(_some(runs), dtype=np.float64) for runs in tasks]
        exact.append([runs[None] for runs in arrays])
        drawn.append([runs[rng.integers(0, len(runs), (draws, len(runs)))] for runs in arrays])
    low, high = np.quantile(statistic(drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(exact)[0]), float(low), float(high))


def _rows_iqm(rows: np.ndarray) -> np.ndarray:
    """[draws, runs] -> [draws]"""
    cut = rows.shape[1] // 4
    means: np.ndarray = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)
    return means


def _capped(times: Sequence[Time], budget: float) -> list[float]:
    return [budget if time is None else time for time in times]


def _some(values: Sequence[Item]) -> Sequence[Item]:
    if not len(values):
        raise ValueError("no run to take a statistic of")
    return values
