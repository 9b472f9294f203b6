"""Solved, kept and best, on evaluations made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paradigms.base import Snapshot
from paradigms.loop.episodes import Returns
from paradigms.session.checkpoint import read, write
from paradigms.session.evaluator import EvaluationResult
from paradigms.session.outcome import SolveTracker, retention


def evaluation(mean: float, at: int) -> EvaluationResult:
    snapshot = Snapshot(
        "evaluate", torch.full((4,), float(at)), torch.tensor([at]), at, 10 * at, at, at, at
    )
    return EvaluationResult(snapshot, np.array([mean - 1, mean + 1]), np.array([5, 7]))


def followed(means: list[float], threshold: float | None = 100.0) -> SolveTracker:
    outcome = SolveTracker(threshold, random_return=0.0)
    for at, mean in enumerate(means):
        outcome.add(evaluation(mean, at))
    return outcome


def measuring(returns: dict[int, float]) -> Any:
    """A stand-in for the evaluator: the policy of update n has returns[n]; counts its calls."""

    def ask(snapshot: Snapshot, episodes: int) -> Returns:
        ask.calls.append(snapshot.version)
        return Returns(np.full(episodes, returns[snapshot.version]), np.ones(episodes, np.int64))

    ask.calls = []
    return ask


def test_three_in_a_row_count_from_the_first() -> None:
    outcome = followed([90, 110, 90, 120, 100, 130, 90, 95, 105])
    assert outcome.reached
    assert outcome.solving is not None
    assert outcome.solving.version == 3
    result = outcome.result({})
    assert (result["solved"], result["updates_to_threshold"]) == (True, 3)
    assert (result["env_steps_to_threshold"], result["seconds_to_threshold"]) == (30, 3)
    assert result["share_above_threshold"] == pytest.approx(3 / 5)


def test_two_in_a_row_are_not_enough() -> None:
    outcome = followed([110, 110, 90, 110, 110])
    assert not outcome.reached
    result = outcome.result({})
    assert result["solved"] is False
    assert result["seconds_to_threshold"] is None
    assert result["share_above_threshold"] is None


def test_the_solving_policy_has_to_be_confirmed() -> None:
    outcome = followed([110, 110, 110])
    outcome.measure(evaluation(0, 9).snapshot, 100, measuring({0: 99.0, 1: 120.0, 9: 118.0}))
    result = outcome.result({})
    assert result["solved"] is False
    assert result["confirmed_return"] == 99.0
    assert result["seconds_to_threshold"] is None
    assert (result["best_return"], result["final_return"]) == (120.0, 118.0)
    assert result["retention"] == pytest.approx(118 / 120)


def test_an_unconfirmed_policy_gives_way_to_the_next_that_began_three_in_a_row() -> None:
    outcome = followed([110, 110, 110, 110, 90, 110])
    outcome.measure(None, 100, measuring({0: 99.0, 1: 120.0, 2: 110.0}))
    result = outcome.result({})
    assert (result["solved"], result["updates_to_threshold"]) == (True, 1)
    assert (result["confirmed_return"], outcome.confirmations) == (120.0, 2)
    assert result["share_above_threshold"] == pytest.approx(3 / 4)


def test_a_run_that_confirms_while_it_trains_goes_on_until_a_policy_is_confirmed() -> None:
    outcome = followed([110, 110, 110])
    pending = outcome.unconfirmed()
    assert pending is not None
    assert not outcome.confirm(replace(evaluation(99, pending.version), confirming=True))
    assert outcome.unconfirmed() is None, "the next one needs three in a row of its own"
    for at in (3, 4, 5):
        outcome.add(evaluation(110, at))
    pending = outcome.unconfirmed()
    assert pending is not None
    assert pending.version == 3
    assert outcome.confirm(replace(evaluation(120, pending.version), confirming=True))
    assert outcome.unconfirmed() is None
    ask = measuring({1: 125.0, 5: 130.0})
    outcome.measure(evaluation(0, 5).snapshot, 100, ask)
    result = outcome.result({})
    assert (result["solved"], result["updates_to_threshold"]) == (True, 3)
    assert (result["confirmed_return"], outcome.confirmations) == (120.0, 2)
    assert 3 not in ask.calls, "what was measured once is not measured again"


def test_a_run_that_ends_before_a_policy_is_confirmed_is_not_solved() -> None:
    outcome = followed([110, 110, 110])
    assert outcome.result({})["solved"]
    outcome.confirm(replace(evaluation(99, 0), confirming=True))
    for after in (outcome, taken_up(outcome)):
        result = after.result({})
        assert not result["solved"]
        assert result["seconds_to_threshold"] is None
        assert result["confirmed_return"] == 99
        assert after.unconfirmed() is None, "what was refuted is not confirmed again"


def test_a_run_that_ends_when_a_later_policy_is_confirmed_says_which() -> None:
    outcome = followed([110] * 3)
    outcome.confirm(replace(evaluation(99, 0), confirming=True))
    for at in (3, 4, 5):
        outcome.add(evaluation(110, at))
    outcome.confirm(replace(evaluation(120, 3), confirming=True))
    for after in (outcome, taken_up(outcome)):
        result = after.result({})
        assert (result["solved"], result["updates_to_threshold"]) == (True, 3)
        assert result["confirmed_return"] == 120


def taken_up(outcome: SolveTracker) -> SolveTracker:
    other = SolveTracker(outcome.threshold, outcome.random_return)
    other.load(outcome.save())
    return other


def test_the_best_is_the_middle_of_the_best_three_in_a_row() -> None:
    outcome = followed([10, 500, 10, 200, 210, 220, 30])
    assert outcome.best is not None
    assert outcome.best.version == 2, "(500 + 10 + 200) / 3 is the highest mean of three in a row"
    assert outcome.recent == pytest.approx((210 + 220 + 30) / 3)


def test_a_final_policy_that_is_better_than_the_best_one_becomes_the_best() -> None:
    outcome = followed([10, 20, 30, 20])
    assert outcome.measure(evaluation(0, 9).snapshot, 50, measuring({2: 49.0, 9: 624.0})) == [
        "best"
    ]
    assert outcome.best is not None
    assert outcome.best.version == 9
    result = outcome.result({})
    assert (result["best_return"], result["final_return"]) == (624.0, 624.0)
    assert result["retention"] == 1.0


def test_a_final_policy_that_is_worse_leaves_the_best_one() -> None:
    outcome = followed([10, 20, 30, 20])
    assert outcome.measure(evaluation(0, 9).snapshot, 50, measuring({2: 49.0, 9: 48.0})) == []
    assert outcome.best is not None
    assert outcome.best.version == 2


@given(st.lists(st.floats(-1e3, 1e3)), st.lists(st.floats(-1e3, 1e3), min_size=20, max_size=20))
def test_the_best_return_is_never_below_the_final_one(
    means: list[float], again: list[float]
) -> None:
    outcome = followed(means[:15])
    for measured in (False, True):
        if measured:
            outcome.measure(evaluation(0, 19).snapshot, 10, measuring(dict(enumerate(again))))
        result = outcome.result({})
        if result["best_return"] is not None:
            assert result["best_return"] >= result["final_return"]


def test_fewer_than_three_evaluations_still_have_a_best() -> None:
    outcome = followed([10.0])
    assert outcome.best is not None
    assert outcome.result({})["best_return"] == 10.0
    nothing = followed([]).result({})
    assert nothing["best_return"] is None
    assert nothing["final_return"] is None


def test_one_policy_in_two_parts_is_measured_once() -> None:
    outcome = followed([110, 110, 110])
    ask = measuring({0: 110.0, 1: 111.0})
    outcome.measure(evaluation(0, 1).snapshot, 10, ask)
    assert ask.calls == [0, 1]


def test_without_a_threshold_nothing_is_solved() -> None:
    result = followed([1e9] * 5, threshold=None).result({})
    assert result["solved"] is False
    assert result["best_return"] == 1e9


RETENTIONS = [(90, 100, 0, 0.9), (-20, -10, -110, 0.9), (5, 5, 10, None), (5, 5, None, None)]


def test_retention_is_the_final_share_of_the_best_return_above_random() -> None:
    for final, best, random, share in RETENTIONS:
        assert retention(final, best, random) == (None if share is None else pytest.approx(share))


def test_the_outcome_goes_on_after_a_checkpoint_as_before(tmp_path: Path) -> None:
    means = [90, 110, 120, 130, 60, 140, 150, 160.0]
    whole = followed(means)
    for cut in range(len(means)):
        first = followed(means[:cut])
        again = SolveTracker(100.0, 0.0)
        again.load(read(write(tmp_path / str(cut), first.save())))
        for at in range(cut, len(means)):
            again.add(evaluation(means[at], at))
        assert again.result({}) == whole.result({})
        assert again.best is not None
        assert whole.best is not None
        assert again.best.version == whole.best.version


def test_absent_totals_are_there_as_zeros() -> None:
    result = followed([]).result({"updates": 7})
    assert (result["updates"], result["dropped"], result["time_by_role"]) == (7, 0, {})
