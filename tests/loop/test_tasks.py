"""The table of tasks, and the rules that choose them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from agents.parts.vector import Vector
from paradigms.experience.rollout import Rollout
from paradigms.loop.ledger import Ledger
from paradigms.loop.pace import Once, Pace
from paradigms.loop.tasks import (
    COLLECT,
    COLLECTS_PER_EVALUATION,
    EVALUATE,
    TRAIN,
    ByPace,
    ByShares,
    Task,
    Tasks,
)
from tests.jobs import Idler, job

WORKERS, ENVS = 3, 2
SHARES = {"train": 0.5, "evaluate": 0.1, "collect": 0.4}


def made() -> Tasks:
    return Tasks(WORKERS, WORKERS * ENVS, Vector(Idler(job().spec, 0)))


def pace(
    *, max_ahead: int = 0, warmup: int = 0, env_steps: int = 100, updates_per_env_step: float = 1.0
) -> Pace:
    return Pace(
        Ledger(WORKERS),
        updates_per_env_step=updates_per_env_step,
        warmup=warmup,
        max_ahead=max_ahead,
        env_steps=env_steps,
    )


def test_a_task_is_assigned_done_and_taken() -> None:
    tasks = made()
    assert tasks.all_idle() and not tasks.all_finished()
    tasks.assign(1, Task(TRAIN, learns=5, first=40, added=60))
    assert [tasks.waits_for(rank) for rank in range(WORKERS)] == [False, True, False]
    assert not tasks.all_idle() and not tasks.all_finished()
    assert tasks.read(1)[:4] == (TRAIN, 5, 40, 60)

    tasks.report(1, base=38, count=5, heads=np.zeros(6, np.int64))
    assert tasks.finished() == []
    tasks.finish(1)
    assert not tasks.waits_for(1)
    assert tasks.finished() == [1] and tasks.all_finished() and not tasks.all_idle()

    assert tasks.take(1)[:2] == (38, 5)
    assert tasks.finished() == [] and tasks.all_idle()


def test_a_round_is_over_when_every_worker_with_a_task_has_finished_it() -> None:
    tasks = made()
    tasks.assign(0, Task(COLLECT))
    tasks.assign(1, Task(None))
    tasks.assign(2, Task(COLLECT))
    assert not tasks.waits_for(1) and tasks.read(1).kind is None
    tasks.finish(2)
    assert not tasks.all_finished()
    tasks.finish(0)
    assert tasks.all_finished() and tasks.finished() == [0, 2]


def test_a_worker_may_draw_from_what_has_been_reported_to_the_learner() -> None:
    """A worker's report counts for its own streams only: in a re-executed journal, the transitions
    of others may not have been added yet."""
    tasks = made()
    tasks.assign(1, Task(COLLECT))
    tasks.report(1, base=0, count=4, heads=np.array([9, 9, 3, 4, 9, 9]))
    tasks.finish(1)
    tasks.assign(0, Task(TRAIN))
    assert_array_equal(tasks.read(0).heads, [0, 0, 0, 0, 0, 0])
    tasks.take(1)
    assert_array_equal(tasks.read(0).heads, [0, 0, 0, 0, 0, 0])
    tasks.assign(2, Task(TRAIN))
    assert_array_equal(tasks.read(2).heads, [0, 0, 3, 4, 0, 0])

    tasks.assign(1, Task(TRAIN))
    tasks.report(1, base=0, count=4, heads=np.array([0, 0, 1, 1, 0, 0]))  # as old as its task
    tasks.finish(1)
    assert_array_equal(tasks.take(1)[2], [0, 0, 3, 4, 0, 0])


def test_resumed_tasks_know_what_the_replay_holds() -> None:
    tasks = made()
    tasks.know(np.arange(6))
    tasks.assign(0, Task(TRAIN))
    assert_array_equal(tasks.read(0).heads, np.arange(6))


def test_every_worker_has_its_own_vectors() -> None:
    tasks = made()
    for rank in range(WORKERS):
        tasks.base(rank).fill_(rank)
        tasks.own(rank).fill_(10 + rank)
        tasks.counts(rank).fill_(20 + rank)
    for rank in range(WORKERS):
        assert tasks.counts(rank).tolist() == [20 + rank]
        assert torch.equal(tasks.base(rank), torch.full_like(tasks.base(rank), rank))
        assert torch.equal(tasks.own(rank), torch.full_like(tasks.own(rank), 10 + rank))


def test_training_goes_first_and_its_updates_are_numbered_on() -> None:
    counters = pace(max_ahead=1)
    rule = ByPace(counters, 16, seed=0, evaluate=False)
    assert rule(0) == Task(COLLECT)
    counters.ledger.count("added", -1, 40)
    assert [rule(rank)[:4] for rank in (0, 1, 2)] == [
        (TRAIN, 16, 0, 40),
        (TRAIN, 16, 16, 40),
        (TRAIN, 8, 32, 40),
    ]
    assert rule(0).kind == COLLECT


def test_in_lockstep_a_rounds_updates_are_divided_evenly() -> None:
    counters = pace(max_ahead=0, env_steps=1000)
    rule = ByPace(counters, 16, seed=0, evaluate=False)
    for added, shares in ((20, [7, 7, 6]), (3, [1, 1, 1]), (2, [1, 1, 0]), (60, [16, 16, 16])):
        counters.ledger.count("added", -1, added)
        assert [rule(rank).learns for rank in range(WORKERS)] == shares


def test_there_is_no_task_when_the_budget_is_spent_and_no_update_is_due() -> None:
    counters = pace(max_ahead=1, env_steps=20)
    rule = ByPace(counters, 16, seed=0, evaluate=False)
    for rank in range(WORKERS):
        counters.ledger.count("collected", rank, 10)  # only what is added decides
    assert rule(0).kind == COLLECT
    counters.ledger.count("added", -1, 20)
    assert [rule(rank).kind for rank in (0, 1, 2)] == [TRAIN, TRAIN, None]


def test_a_worker_trains_on_its_own_fragment_where_each_is_consumed_once() -> None:
    replay = Rollout(job().spec, writers=WORKERS, num_envs=ENVS, rollout_length=4)
    counters = Once(Ledger(WORKERS), replay, max_ahead=0, env_steps=24)
    rule = ByPace(counters, 16, seed=0, evaluate=False)
    assert [rule(rank).kind for rank in range(WORKERS)] == [COLLECT] * WORKERS
    counters.ledger.stored(1, 8, 0)
    assert [rule(rank)[:4] for rank in range(WORKERS)] == [
        (COLLECT, 0, 0, 0),
        (TRAIN, 1, 0, 8),
        (COLLECT, 0, 0, 0),
    ]
    for rank in (2, 0):
        counters.ledger.stored(rank, 8, 0)
    assert [rule(rank)[:3] for rank in range(WORKERS)] == [
        (TRAIN, 1, 1),
        (None, 0, 0),
        (TRAIN, 1, 2),
    ]
    assert rule(0).kind is None


def test_one_collecting_task_in_a_hundred_evaluates_where_workers_evaluate() -> None:
    for evaluate in (False, True):
        rule = ByPace(pace(max_ahead=1), 16, seed=0, evaluate=evaluate)
        kinds = Counter(rule(0).kind for _ in range(3 * COLLECTS_PER_EVALUATION))
        assert kinds[EVALUATE] == 3 * evaluate


@pytest.mark.parametrize("evaluate", [True, False])
def test_tasks_by_shares_have_their_probabilities_after_the_warm_up(evaluate: bool) -> None:
    counters = pace(warmup=50)
    rule = ByShares(SHARES, counters, 4, seed=3, evaluate=evaluate)
    assert [rule(rank).kind for rank in (0, 1, 2)] == [COLLECT] * 3
    counters.ledger.count("added", -1, 50)
    drawn = [rule(0) for _ in range(2000)]
    again = ByShares(SHARES, counters, 4, seed=3, evaluate=evaluate)
    assert [task.kind for task in drawn] == [again(1).kind for _ in range(2000)]

    kinds = Counter(task.kind for task in drawn)
    shares = {TRAIN: 0.5, EVALUATE: 0.1, COLLECT: 0.4}
    if not evaluate:
        shares = {TRAIN: 0.5, COLLECT: 0.5}
    assert {*kinds} == {*shares}
    for kind, share in shares.items():
        assert abs(kinds[kind] / 2000 - share) < 0.05
    trained = [task for task in drawn if task.kind == TRAIN]
    assert [task.first for task in trained] == [4 * k for k in range(len(trained))]
    assert {task.learns for task in trained} == {4}
    counters.ledger.count("added", -1, 50)
    assert rule(0) == Task(None)


def test_tasks_by_shares_collect_first_even_without_a_warmup() -> None:
    counters = pace(warmup=0)
    rule = ByShares(SHARES, counters, 4, seed=3, evaluate=True)
    assert {rule(0).kind for _ in range(20)} == {COLLECT}
    counters.ledger.count("added", -1, 1)
    assert TRAIN in {rule(0).kind for _ in range(20)}


def test_bytes_are_those_of_the_vectors_that_training_returns() -> None:
    tasks = made()
    for kind in (TRAIN, COLLECT, TRAIN):
        tasks.assign(2, Task(kind))
        tasks.finish(2)
        tasks.take(2)
    assert tasks.bytes_moved == 2 * 4 * len(tasks.own(2))
