"""The ledger counts once what a run has done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paradigms.loop.ledger import COUNTS, LEARNER, Ledger


def test_a_collected_fragment_is_counted_in_env_steps_with_its_episodes() -> None:
    ledger = Ledger(2, action_repeat=3)
    ledger.collected(1, 8, [(5.0, 12), (-1.0, 9)])
    ledger.collected(1, 4)
    ledger.collected(0, 2, [(2.0, 30)])
    assert [ledger.own("collected", rank) for rank in (0, 1)] == [6, 36]
    assert [ledger.own("fragments", rank) for rank in (0, 1)] == [1, 2]
    assert (ledger.total("episodes"), ledger.total("length")) == (3, 51)
    assert ledger.total("added") == 0
    assert ledger.means()["episode/return"] == (6.0, 3)
    assert ledger.means()["episode/length"] == (51.0, 3)


def test_policy_lag_is_the_updates_made_since_the_policy_was_read() -> None:
    ledger = Ledger(1)
    ledger.learned(LEARNER, updates=7, learns=2)
    ledger.stored(0, 8, version=4)
    ledger.learned(LEARNER, updates=2)
    ledger.stored(0, 8, version=8)
    ledger.stored(0, 0, version=0)
    assert ledger.total("learns") == 3
    assert (ledger.total("arrived"), ledger.total("added")) == (2, 16)
    assert ledger.means()["policy_lag/mean"] == (3 + 1, 2)
    assert ledger.policy_lag_max == 3


def test_time_is_counted_by_kind_and_process() -> None:
    ledger = Ledger(2)
    with ledger.timed("learning", 1):
        np.ones(1000).sum()
    assert ledger.seconds("learning", 1) > 0
    assert ledger.seconds("collecting", 1) == ledger.seconds("learning", 0) == 0


def test_a_resumed_ledger_goes_on_counting() -> None:
    ledger, other = Ledger(2), Ledger(2)
    ledger.collected(0, 8, [(5.0, 12)])
    ledger.learned(LEARNER, 4)
    ledger.stored(0, 8, 1)
    other.load(ledger.save())
    assert other.means() == ledger.means()
    assert other.policy_lag_max == 3
    other.collected(1, 8, [(7.0, 2)])
    assert other.means()["episode/return"] == (12.0, 2)


def test_a_worker_that_is_a_run_counts_nothing_twice_that_it_does_again() -> None:
    ledger = Ledger(2)
    run: dict[str, Any] = {"updates": 5, "episodes": 2, "returns": 3.5, "length": 20}
    ledger.stands(1, env_steps=32, **run)
    ledger.stands(1, env_steps=16, updates=1, episodes=0, returns=0.0, length=0)
    assert ledger.total("added") == ledger.total("collected") == 32
    assert ledger.total("updates") == ledger.total("learns") == 5
    assert ledger.means()["episode/return"] == (3.5, 2)
    ledger.stands(1, env_steps=48, **{**run, "episodes": 3, "returns": -1.0})
    assert ledger.total("added") == 48 and ledger.means()["episode/return"] == (-1.0, 3)
    assert ledger.own("fragments", 1) == 2


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="tuple"):
        Ledger(1).total("transitions")


def test_each_counter_has_its_own_place() -> None:
    ledger = Ledger(3)
    for weight, column in enumerate(COUNTS):
        for rank in (-1, 0, 1, 2):
            ledger.count(column, rank, 100**weight % 97 * (rank + 2))
    for weight, column in enumerate(COUNTS):
        for rank in (-1, 0, 1, 2):
            assert ledger.own(column, rank) == 100**weight % 97 * (rank + 2)
        assert ledger.total(column) == 100**weight % 97 * (1 + 2 + 3 + 4)
