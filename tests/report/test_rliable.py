"""Our statistics are those of rliable (Agarwal et al. 2021), where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from paradigms.report import statistics

try:
    from rliable import library, metrics
except (ImportError, TypeError) as error:  # TypeError: its package arch, with pandas 3
    pytest.skip(f"rliable cannot be imported: {error}", allow_module_level=True)

RUNS, TASKS = 12, 3


def scores(seed: int, shift: float = 0.0) -> np.ndarray:
    """[runs, tasks], as rliable has them; ours are [tasks][runs]."""
    return np.random.default_rng(seed).normal(shift, 1.0, (RUNS, TASKS)).round(1)  # with ties


def test_the_interquartile_mean_is_the_same() -> None:
    for seed in range(5):
        drawn = scores(seed)
        ours = statistics.iqm_interval(drawn.T.tolist())
        assert ours.value == pytest.approx(metrics.aggregate_iqm(drawn))


def test_the_probability_of_improvement_is_the_same() -> None:
    for seed in range(5):
        one, other = scores(seed, 0.5), scores(seed + 100)
        ours = statistics.probability_of_improvement(one.T.tolist(), other.T.tolist())
        assert ours.value == pytest.approx(metrics.probability_of_improvement(one, other))


@pytest.mark.slow
def test_the_bootstrap_intervals_agree() -> None:
    drawn = scores(1)
    ours = statistics.iqm_interval(drawn.T.tolist())
    _, theirs = library.get_interval_estimates(
        {"a": drawn}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=5000
    )
    low, high = (float(bound[0]) for bound in theirs["a"])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.05)
