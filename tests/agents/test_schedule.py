"""Schedules at points computed by hand, at their ends and beyond, and what they refuse."""

from __future__ import annotations

import re

import pytest

from agents.parts.schedule import Discount, Factor, Geometric, Linear, at, ends

KINDS = (Linear, Geometric, Discount, Factor)
VALUES = [
    (Factor(end=0.05, hold=0.1, until=0.6), {0.0: 1, 0.1: 1, 0.35: 0.525, 0.6: 0.05, 1.0: 0.05}),
    (Factor(start=0.5, end=2.0), {0.0: 0.5, 0.5: 1.25, 1.0: 2.0}),
    (Linear(-0.5, -1.75, until=0.9), {0.0: -0.5, 0.45: -1.125, 0.9: -1.75, 1.0: -1.75}),
    (Geometric(0.5, 8.0), {0.0: 0.5, 0.25: 1.0, 0.5: 2.0, 1.0: 8.0}),
    (Geometric(8.0, 0.5, hold=0.5), {0.0: 8.0, 0.5: 8.0, 0.75: 2.0, 1.0: 0.5}),
    (Discount(0.9, 0.999), {0.0: 0.9, 0.5: 0.99, 1.0: 0.999}),  # horizons 10, 100, 1000
    (Discount(0.0, 0.96, until=0.5), {0.0: 0.0, 0.25: 0.8, 0.5: 0.96, 1.0: 0.96}),
]


def test_values_are_those_computed_by_hand(subtests: pytest.Subtests) -> None:
    for schedule, points in VALUES:
        with subtests.test(repr(schedule)):
            for progress, value in points.items():
                assert schedule(progress) == pytest.approx(value, abs=1e-12), progress


def test_a_schedule_that_ends_where_it_starts_is_a_constant() -> None:
    for kind in KINDS:
        assert {kind(start=0.5, end=0.5)(progress) for progress in (0.0, 0.3, 1.0)} == {0.5}


def test_the_learning_rates_factor_is_1_by_default() -> None:
    assert {Factor()(progress) for progress in (0.0, 0.5, 1.0)} == {1.0}


def test_a_jump_is_a_schedule_that_holds_until_it_ends() -> None:
    for kind in KINDS:
        jump = kind(start=0.25, end=0.75, hold=0.5, until=0.5)
        assert jump(0.5) == 0.25 and jump(0.5 + 1e-6) == pytest.approx(0.75)


def test_the_horizon_does_not_jump_at_the_first_step() -> None:
    assert Discount(0.99, 0.9978)(1e-6) == pytest.approx(0.99, abs=1e-5)


REFUSED = [
    (kind, {"start": 0.5, "end": 0.5, **shares}, said.format(group=group))
    for kind, group in zip(KINDS, (*3 * ["schedule"], "lr_schedule"), strict=True)
    for shares, said in (
        ({"hold": 0.8, "until": 0.5}, "{group}.hold=0.8 must lie in [0, {group}.until=0.5]"),
        ({"hold": -0.1}, "{group}.hold=-0.1 must lie in [0, {group}.until=1.0]"),
        ({"until": 1.5}, "{group}.until=1.5 must lie in [0, 1]"),
    )
]
REFUSED += [
    (Geometric, {"start": 0.0, "end": 1.0}, "schedule.start=0.0 must be above 0"),
    (Geometric, {"start": 1.0, "end": -1.0}, "schedule.end=-1.0 must be above 0"),
    (Factor, {"end": -0.1}, "lr_schedule.end=-0.1 must be 0 or more"),
    (
        Discount,
        {"start": 0.9, "end": 1.0},
        "schedule.end=1.0 must lie in [0, 1): a discount of 1 has no horizon",
    ),
    (
        Discount,
        {"start": -0.1, "end": 0.9},
        "schedule.start=-0.1 must lie in [0, 1): a discount of 1 has no horizon",
    ),
]


def test_ends_and_shares_out_of_bounds_are_refused(subtests: pytest.Subtests) -> None:
    for kind, options, said in REFUSED:
        with subtests.test(said):
            with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
                kind(**options)


def test_a_number_is_the_same_at_any_progress_and_a_schedule_is_called() -> None:
    assert at(0.3, 0.0) == at(0.3, 1.0) == 0.3
    assert at(Linear(0.0, 4.0), 0.25) == 1.0


def test_bounds_are_checked_at_both_ends_of_a_schedule() -> None:
    found = ends(entropy=Linear(0.1, -1.0), clip_reward=None, gamma=0.9)
    assert found == {"entropy.start": 0.1, "entropy.end": -1.0, "clip_reward": None, "gamma": 0.9}
    with pytest.raises(ValueError, match=r"agent\.gamma=high must be a number or a schedule"):
        ends(gamma="high")  # type: ignore[arg-type]
