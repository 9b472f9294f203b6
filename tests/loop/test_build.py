"""Who learns from whose transitions, and who sets the pace, follow from what a replay says of
itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest

from paradigms.base import Job
from paradigms.dupdate import DUpdate
from paradigms.experience.elite import Elite
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Fifo, Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.build import make_drawn_batches, whose
from paradigms.loop.drive import Driver
from paradigms.loop.pace import Once, Pace
from tests import jobs

KEPT, ONCE = (Uniform, Elite, Prioritized), (Rollout, Fifo)
OWN, EVERYBODYS = (1,), None


def made(kind: Any, updates_per_env_step: float | None) -> Any:
    """The components of a job of two workers."""
    return Driver(job(kind, updates_per_env_step), workers=2).components


def job(kind: Any, updates_per_env_step: float | None) -> Job:
    replay = functools.partial(kind, capacity=100)
    return jobs.job(
        make_replay=replay, updates_per_env_step=updates_per_env_step, workers=2, env_steps=32
    )


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_the_replay_sets_the_pace_if_it_hands_out_each_row_once(kind: Any) -> None:
    fitting, other = (None, 1.0) if kind in ONCE else (1.0, None)
    assert type(made(kind, fitting).pace) is (Once if kind in ONCE else Pace)
    with pytest.raises(ValueError, match=f"replay={kind.kind} .*: set updates_per_env_step"):
        made(kind, other)


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_who_learns_from_whose_rows(kind: Any) -> None:
    replay = made(kind, None if kind in ONCE else 1.0).replay
    assert whose("own", replay, 1) == OWN
    assert whose(None, replay, 1) == (EVERYBODYS if kind in (Uniform, Elite) else OWN)
    if kind in ONCE:
        with pytest.raises(ValueError, match=r"set paradigm\.sample_from=own"):
            whose("all", replay, 1)
    else:
        assert whose("all", replay, 1) == EVERYBODYS
    with pytest.raises(ValueError, match="choose own, all or null"):
        whose("everybodys", replay, 1)


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_the_learner_draws_for_all_where_one_process_has_to(kind: Any) -> None:
    replay, two = made(kind, None if kind in ONCE else 1.0).replay, job(kind, None)
    draws = {
        sample_from: make_drawn_batches(sample_from, two, replay, 4)
        for sample_from in (None, "all", "own")
    }
    assert (draws[None] is not None) == (kind is Prioritized)
    assert draws["all"] is None
    assert draws["own"] is None
    if kind in ONCE:
        with pytest.raises(ValueError, match=r"set paradigm\.sample_from=own"):
            make_drawn_batches("learner", two, replay, 4)
    else:
        assert make_drawn_batches("learner", two, replay, 4) is not None


def test_rows_of_nobody_are_refused() -> None:
    with pytest.raises(ValueError, match="choose own, all, learner or null"):
        DUpdate(sample_from="mine")


class Late(Prioritized):
    """As if seven priorities had come too late."""

    @property
    def late(self) -> int:
        return 7


@pytest.mark.parametrize("name", jobs.PARADIGMS)
def test_the_totals_count_priorities_that_came_too_late(name: str) -> None:
    alone = dataclasses.replace(job(Late, 1.0), workers=1)
    assert jobs.run(jobs.PARADIGMS[name], alone).totals["late"] == 7


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_tasks_are_drawn_at_random_where_rows_stay(kind: Any) -> None:
    run = DUpdate(tasks="by_shares").run(job(kind, None if kind in ONCE else 1.0))
    if kind in ONCE:
        with pytest.raises(ValueError, match=r"set paradigm\.tasks=by_pace"):
            next(run)
    else:
        next(run)
        run.close()


def test_what_a_run_resumes_from_is_taken_up_once_and_sent_to_nobody() -> None:
    begun = Driver(job(Uniform, 1.0), workers=2)
    state = begun.save(begun.snapshot("all"))
    resumed = Driver(dataclasses.replace(job(Uniform, 1.0), resume=state), workers=2)
    assert resumed.components.job.resume is None
