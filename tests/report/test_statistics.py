"""Every case is computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paradigms.report import statistics
from paradigms.report.statistics import Interval


def test_an_unsolved_run_counts_as_the_whole_budget() -> None:
    times = [10.0, None, 30.0, 20.0]
    assert statistics.ert(times, budget=90) == 150 / 3
    assert statistics.median(times, budget=90) == 25


def test_nothing_solved_is_an_infinite_expectation_and_a_median_at_the_budget() -> None:
    assert statistics.ert([None, None], budget=90) == math.inf
    assert statistics.median([None, None], budget=90) == 90


def test_no_run_is_an_error_and_not_a_number() -> None:
    with pytest.raises(ValueError, match="no run"):
        statistics.ert([], budget=1)


def test_portfolio_of_two_takes_the_minimum_of_every_pair() -> None:
    # pairs of 10, 20, 40: minima 10, 10, 20
    result = statistics.portfolio([10, 20, 40], budget=90, cores=2)
    assert result == (1.0, 40 / 3, 40 / 3, 10)


def test_portfolio_pays_for_the_pairs_that_solve_nothing() -> None:
    # pairs of 10, None, None: minima 10, 10, unsolved
    result = statistics.portfolio([10, None, None], budget=90, cores=2)
    assert result.share == pytest.approx(2 / 3)
    assert result.mean == pytest.approx(110 / 3)
    assert result.ert == pytest.approx(55)
    assert result.median == 10


def test_portfolio_of_one_core_is_the_plain_run() -> None:
    times = [10.0, None, 30.0]
    result = statistics.portfolio(times, budget=90, cores=1)
    assert result.ert == pytest.approx(statistics.ert(times, budget=90))
    assert result.median == statistics.median(times, budget=90)


def test_portfolio_needs_a_seed_for_each_core() -> None:
    with pytest.raises(ValueError, match="needs 2 seeds, there are 1"):
        statistics.portfolio([10], budget=90, cores=2)


def test_speed_up_is_the_product_of_two_ratios() -> None:
    result = statistics.speed_up([300, 310, 290], [150, 160], updates=8000, base_updates=6000)
    assert result.hardware == pytest.approx(300 / 155)
    assert result.statistical == pytest.approx(0.75)
    assert result.total == pytest.approx(300 / 155 * 0.75)


def test_speed_up_is_zero_where_we_fail_and_unknown_where_the_baseline_does() -> None:
    assert statistics.speed_up([2], [1], updates=math.inf, base_updates=5).total == 0
    assert math.isnan(statistics.speed_up([2], [1], updates=5, base_updates=math.inf).total)


def test_iqm_interval_holds_its_estimate_and_is_repeatable() -> None:
    runs = [[1.0, 2.0, 3.0, 4.0, 5.0]]
    first = statistics.iqm_interval(runs)
    assert first == statistics.iqm_interval(runs)
    assert first.value == 3
    assert 1 <= first.low < 3 < first.high <= 5
    assert statistics.iqm_interval([[7.0, 7.0], [7.0]]) == (7, 7, 7)
    # a quarter at each end is left out, rounded down: of eight runs two, of three none
    assert statistics.iqm_interval([[100, 1, 2, 3, 4, 5, 6, -50]]).value == (2 + 3 + 4 + 5) / 4
    assert statistics.iqm_interval([[1, 2, 6]]).value == 3


def test_iqm_interval_redraws_within_each_task() -> None:
    # each task is constant, so stratified draws never change: 0 0 0 0 8 8 8 8 -> mean of 0 0 8 8
    assert statistics.iqm_interval([[0.0] * 4, [8.0] * 4]) == (4, 4, 4)


def test_probability_of_improvement_counts_wins_and_half_of_the_ties() -> None:
    # 3 > 1, 3 = 3, 2 > 1, 2 < 3: (1 + 0.5 + 1 + 0) / 4
    result = statistics.probability_of_improvement([[3.0, 2.0]], [[1.0, 3.0]])
    assert result.value == 0.625
    certain = statistics.probability_of_improvement([[5.0, 6.0]], [[1.0, 2.0]])
    assert certain == (1, 1, 1)
    both = statistics.probability_of_improvement([[5.0], [0.0]], [[1.0], [1.0]])
    assert both.value == 0.5


def test_probability_of_improvement_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="1 tasks of ours against 2"):
        statistics.probability_of_improvement([[1.0]], [[1.0], [2.0]])


def test_few_seeds_speak_only_where_the_intervals_are_disjoint() -> None:
    low, high, wide = Interval(1, 0, 2), Interval(5, 4, 6), Interval(3, 1, 5)
    likely = Interval(0.9, 0.7, 1.0)
    unsure = Interval(0.6, 0.4, 0.8)
    assert statistics.verdict(high, low, 4, likely) == "too few seeds"
    assert statistics.verdict(high, low, 5, likely) == "better"
    assert statistics.verdict(low, high, 5, likely) == "worse"
    assert statistics.verdict(wide, low, 5, likely) == "not distinguishable"
    assert statistics.verdict(wide, low, 10, likely) == "better"
    assert statistics.verdict(wide, low, 10, unsure) == "not distinguishable"


@given(st.lists(st.one_of(st.none(), st.floats(0.1, 89)), min_size=3, max_size=8))
def test_more_cores_never_solve_less_nor_later(times: list[float | None]) -> None:
    one, two, three = (statistics.portfolio(times, 90, cores) for cores in (1, 2, 3))
    assert one.share <= two.share + 1e-12 <= three.share + 2e-12
    assert one.mean >= two.mean - 1e-9 >= three.mean - 2e-9


def test_the_interval_shrinks_with_the_number_of_runs() -> None:
    rng = np.random.default_rng(0)
    few = statistics.iqm_interval([rng.normal(size=8).tolist()])
    many = statistics.iqm_interval([rng.normal(size=200).tolist()])
    assert many.high - many.low < few.high - few.low
