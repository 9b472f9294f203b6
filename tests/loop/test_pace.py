"""Updates that are due are granted once, and actors are held back while too many are not done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paradigms.experience.rollout import Fifo, Rollout
from paradigms.loop.ledger import Ledger
from paradigms.loop.pace import Once, Pace
from tests.jobs import job

RATIOS = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 1.0, 1.5, 8.0])


def make(
    updates_per_env_step: float = 1.0,
    warmup: int = 0,
    max_ahead: int = 0,
    workers: int = 2,
    env_steps: int = 100,
) -> Pace:
    return Pace(
        Ledger(workers),
        updates_per_env_step=updates_per_env_step,
        warmup=warmup,
        max_ahead=max_ahead,
        env_steps=env_steps,
    )


def resume(pace: Pace, other: Pace) -> None:
    """Loads a resumed run's counters."""
    other.ledger.load(pace.ledger.save())
    other.resume()


def due_at(pace: Pace, steps: int) -> float:
    return pace.updates_per_env_step * max(0, steps - pace.warmup)


ADDS_AND_CLAIMS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.integers(0, 100), ADDS_AND_CLAIMS)
def test_the_learner_is_granted_what_is_due_and_no_more(
    updates_per_env_step: float, warmup: int, steps: list[tuple[int, int]]
) -> None:
    pace, granted = make(updates_per_env_step, warmup), 0
    for added, most in steps:
        pace.ledger.count("added", -1, added)
        grant = pace.claim(most)
        granted += grant
        due = due_at(pace, pace.ledger.total("added"))
        assert 0 <= grant <= most
        assert granted <= due
        assert grant == most or granted > due - 1
        assert pace.debt() == max(0, int(due) - granted)
        assert pace.ledger.own("granted", -1) == pace.ledger.total("granted") == granted


OF_WORKERS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=40)


@settings(max_examples=80, deadline=None)
@given(RATIOS, st.integers(0, 100), OF_WORKERS)
def test_workers_are_granted_what_their_own_and_all_transitions_make_due(
    updates_per_env_step: float, warmup: int, steps: list[tuple[int, int]]
) -> None:
    pace = make(updates_per_env_step, warmup, workers=3)
    for rank, added in steps:
        pace.ledger.count("added", rank, added)
        while pace.claim(1, rank):
            pass
        assert pace.ledger.total("granted") <= due_at(pace, pace.ledger.total("added"))
        for each in range(3):
            own = updates_per_env_step * max(0, pace.ledger.own("added", each) - warmup // 3)
            assert pace.ledger.own("granted", each) <= own


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.integers(0, 34).map(lambda n: 3 * n), st.integers(1, 20), st.integers(1, 20))
def test_workers_of_equal_speed_are_granted_what_one_learner_would_be(
    updates_per_env_step: float, warmup: int, rounds: int, transitions: int
) -> None:
    pace = make(updates_per_env_step, warmup, workers=3)
    for _ in range(rounds):
        for rank in range(3):
            pace.ledger.count("added", rank, transitions)
        for rank in range(3):
            while pace.claim(1, rank):
                pass
    assert due_at(pace, 3 * rounds * transitions) - 3 < pace.ledger.total("granted")


def test_one_worker_is_granted_what_the_learner_would_be() -> None:
    learner, worker = make(0.3, 10, workers=1), make(0.3, 10, workers=1)
    for added in (7, 2, 1, 5, 30, 0, 3):
        learner.ledger.count("added", -1, added)
        worker.ledger.count("added", 0, added)
        assert learner.claim(4) == worker.claim(4, 0)


def test_nothing_is_due_before_the_end_of_the_warm_up() -> None:
    pace = make(2.0, warmup=10)
    assert [pace.due(steps) for steps in (0, 9, 10, 11, 12)] == [0, 0, 0, 2, 4]
    assert [pace.due(steps, parts=2) for steps in (5, 6)] == [0, 2]


def test_in_lockstep_a_fragment_waits_for_the_round_of_the_last_one() -> None:
    pace = make(max_ahead=0)
    assert pace.may_collect(0) and pace.may_collect(1)
    pace.ledger.count("fragments", 0)
    assert not pace.may_collect(0) and pace.may_collect(1)
    pace.ledger.count("fragments", 1)
    pace.ledger.count("rounds", -1)
    assert pace.may_collect(0) and pace.may_collect(1)


@pytest.mark.parametrize("max_ahead", [1, 10])
def test_actors_go_ahead_until_more_than_max_ahead_updates_are_not_done(max_ahead: int) -> None:
    pace = make(updates_per_env_step=0.5, warmup=20, max_ahead=max_ahead)
    pace.ledger.count("collected", 0, 20 + 2 * max_ahead)
    assert pace.may_collect(0)
    pace.ledger.count("collected", 1, 2)
    assert not pace.may_collect(0) and not pace.may_collect(1)
    pace.ledger.learned(-1, updates=1)
    assert pace.may_collect(0) and pace.may_collect(1)


def test_the_budget_is_spent_by_all_together_and_in_lockstep_each_spends_its_part() -> None:
    lockstep, free = make(max_ahead=0), make(max_ahead=1)
    for pace in (lockstep, free):
        pace.ledger.count("collected", 0, 60)
        pace.ledger.count("added", -1, 60)
    assert lockstep.spent(0) and not lockstep.spent(1) and not lockstep.spent()
    assert not free.spent(0)
    for pace in (lockstep, free):
        pace.ledger.count("collected", 1, 40)
        assert not pace.spent()
        pace.ledger.count("added", -1, 40)
        assert pace.spent()
    assert free.spent(0) and free.spent(1) and not lockstep.spent(1)


def test_progress_ends_at_1() -> None:
    pace = make(env_steps=80)
    progress = []
    for _ in range(4):
        progress.append(pace.progress())
        pace.ledger.count("added", -1, 40)
    assert progress == [0.0, 0.5, 1.0, 1.0]
    assert make(env_steps=0).progress() == 0


def test_a_resumed_pace_has_the_same_counters_when_nothing_was_on_its_way() -> None:
    pace, other = make(), make()
    for column, count in (("collected", 30), ("fragments", 2), ("episodes", 3), ("length", 28)):
        pace.ledger.count(column, 0, count)
        pace.ledger.count(column, 1, count)
    for column, count in (("added", 60), ("learns", 7), ("granted", 7), ("rounds", 2)):
        pace.ledger.count(column, -1, count)
    resume(pace, other)
    assert np.array_equal(other.ledger.save()["counts"], pace.ledger.save()["counts"])


def test_transitions_that_were_on_their_way_count_as_never_collected() -> None:
    pace, other = make(), make()
    for rank, collected in ((0, 48), (1, 32)):
        pace.ledger.count("collected", rank, collected)
        pace.ledger.count("fragments", rank, collected // 16)
    pace.ledger.count("added", -1, 64)
    pace.ledger.count("rounds", -1, 2)
    resume(pace, other)
    assert other.ledger.total("collected") == other.ledger.total("added") == 64
    assert other.may_collect(0) and other.may_collect(1)


def test_updates_granted_and_not_made_are_due_again() -> None:
    pace, other = make(), make()
    pace.ledger.count("added", -1, 50)
    pace.ledger.learned(-1, updates=10, learns=10)
    assert pace.claim(26) == 26
    assert pace.debt() == 24
    resume(pace, other)
    assert other.debt() == 40


def once(kind: type[Rollout] = Rollout, *, max_ahead: int = 1, **options: Any) -> Once:
    together = {"fragments": None} if kind is Rollout else {}
    shape = {"writers": 2, "num_envs": 1, "rollout_length": 4}
    replay = kind(job().spec, **{**together, **shape, **options})
    return Once(Ledger(2), replay, max_ahead=max_ahead, env_steps=100)


def collect(pace: Once, rank: int) -> None:
    """A fragment is collected, reaches the replay, and is counted."""
    fragment = pace.replay.layout.empty(rank)
    fragment.number, fragment.n_valid = pace.ledger.own("fragments", rank), 4
    fragment.transitions["valid"] = True
    pace.ledger.collected(rank, 4)
    pace.ledger.stored(rank, pace.replay.add(fragment), 0)


def learn(pace: Once, ranks: tuple[int, ...] | None = None, rank: int = -1) -> None:
    pace.replay.sample(0, torch.Generator(), ranks=ranks)
    pace.ledger.learned(rank, updates=40)


def test_with_rollouts_of_all_a_call_of_learn_is_due_for_a_fragment_of_each_worker() -> None:
    pace = once(capacity=3)
    for rank, due in ((0, 0), (0, 0), (1, 1), (0, 1), (1, 2)):
        collect(pace, rank)
        assert pace.debt() == due
    assert [pace.claim(1), pace.claim(16), pace.claim(16)] == [1, 1, 0]
    assert pace.debt() == 0


def test_a_worker_is_due_a_call_of_learn_for_each_of_its_fragments() -> None:
    pace = once(capacity=3)
    for rank in (0, 0, 1):
        collect(pace, rank)
    assert [pace.claim(16, 1), pace.grant(16, 1)] == [1, 0]
    assert [pace.claim(1, 0), pace.grant(16, 0), pace.claim(1, 0)] == [1, 1, 0]


def test_with_a_fifo_a_call_of_learn_is_due_for_so_many_fragments_of_any_workers() -> None:
    pace = once(Fifo, capacity=3, fragments=2)
    for rank, due in ((0, 0), (0, 1), (0, 1), (1, 2)):
        collect(pace, rank)
        assert pace.debt() == due
    assert pace.claim(16) == 2


def test_a_fragment_added_again_makes_nothing_due() -> None:
    pace = once(capacity=3)
    pace.ledger.stored(0, 4, 0)
    pace.ledger.stored(1, 0, 0)
    assert pace.debt() == 0
    assert (pace.ledger.total("arrived"), pace.ledger.total("added")) == (1, 4)


@pytest.mark.parametrize("capacity", [1, 2])
def test_a_worker_waits_while_the_replay_is_full_of_its_fragments(capacity: int) -> None:
    pace = once(capacity=capacity)
    for _ in range(capacity):
        assert pace.may_collect(0)
        collect(pace, 0)
    assert not pace.may_collect(0) and pace.may_collect(1)
    collect(pace, 1)
    learn(pace)
    assert pace.may_collect(0) and pace.may_collect(1)


def test_in_lockstep_rollouts_wait_for_the_round() -> None:
    pace = once(max_ahead=0, capacity=3)
    collect(pace, 0)
    assert not pace.may_collect(0) and pace.may_collect(1)
    collect(pace, 1)
    pace.ledger.count("rounds", -1)
    assert pace.may_collect(0) and pace.may_collect(1)


def test_waiting_fragments_are_due_again_and_lost_ones_are_collected_again() -> None:
    pace, other = once(capacity=3), once(capacity=3)
    for rank in (0, 1, 0, 1, 0):
        collect(pace, rank)
    assert pace.claim(1) == 1
    learn(pace)
    assert pace.claim(1) == 1  # and is not learned from
    pace.ledger.count("fragments", 1)
    pace.ledger.count("collected", 1, 4)
    other.replay.load(pace.replay.save())
    resume(pace, other)
    assert other.debt() == 1
    assert other.ledger.total("granted") == other.ledger.total("learns") == 1
    assert [other.ledger.own("fragments", rank) for rank in (0, 1)] == [3, 3]
    assert other.ledger.total("collected") == other.ledger.total("added") == 20
    collect(other, 0)
    collect(other, 1)
    assert other.claim(16) == 2


@pytest.mark.parametrize("wrong", [{"updates_per_env_step": -1.0}, {"max_ahead": -1}])
def test_negative_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="updates_per_env_step and max_ahead must be 0 or more"):
        make(**wrong)  # type: ignore[arg-type]
