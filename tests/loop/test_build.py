"""What is built follows from what a replay says of itself: the pace, and who draws from whose
transitions."""

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
OWN, ALL = (1,), None


def made(kind: Any, updates_per_env_step: float | None) -> Any:
    """The components of a job of two workers."""
    return Driver(job(kind, updates_per_env_step), workers=2).components


def job(kind: Any, updates_per_env_step: float | None) -> Job:
    replay = functools.partial(kind, capacity=100)
    return jobs.job(
        make_replay=replay, updates_per_env_step=updates_per_env_step, workers=2, env_steps=32
    )


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_the_replay_sets_the_pace_if_its_transitions_are_consumed_once(kind: Any) -> None:
    fitting, other = (None, 1.0) if kind in ONCE else (1.0, None)
    assert type(made(kind, fitting).pace) is (Once if kind in ONCE else Pace)
    with pytest.raises(ValueError, match=f"replay={kind.kind} .*: set updates_per_env_step"):
        made(kind, other)


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_workers_learn_from_all_transitions_or_their_own(kind: Any) -> None:
    replay = made(kind, None if kind in ONCE else 1.0).replay
    assert whose("own", replay, 1) == OWN
    assert whose(None, replay, 1) == (ALL if kind in (Uniform, Elite) else OWN)
    if kind in ONCE:
        with pytest.raises(ValueError, match=r"set paradigm\.sample_from=own"):
            whose("all", replay, 1)
    else:
        assert whose("all", replay, 1) == ALL
    with pytest.raises(ValueError, match="choose own, all or null"):
        whose("mine", replay, 1)


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_the_learner_draws_for_all_workers_where_one_process_has_to(kind: Any) -> None:
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


def test_an_unknown_sample_from_is_refused() -> None:
    with pytest.raises(ValueError, match="choose own, all, learner or null"):
        DUpdate(sample_from="mine")


class Late(Prioritized):
    """Claims that seven priorities were late."""

    @property
    def late(self) -> int:
        return 7


@pytest.mark.parametrize(
    "name", ["sequential", "dcollect", "dupdate", "hogwild", "allreduce", "gorila"]
)
def test_the_totals_count_priorities_that_came_too_late(name: str) -> None:
    alone = dataclasses.replace(job(Late, 1.0), workers=1)
    assert jobs.run(jobs.PARADIGMS[name], alone).totals["late"] == 7


@pytest.mark.parametrize("kind", KEPT + ONCE)
def test_tasks_by_shares_need_a_replay_that_keeps_transitions(kind: Any) -> None:
    run = DUpdate(tasks="by_shares").run(job(kind, None if kind in ONCE else 1.0))
    if kind in ONCE:
        with pytest.raises(ValueError, match=r"set paradigm\.tasks=by_pace"):
            next(run)
    else:
        next(run)
        run.close()


def test_the_state_that_a_run_resumes_from_is_not_sent_to_processes() -> None:
    begun = Driver(job(Uniform, 1.0), workers=2)
    state = begun.save(begun.snapshot("all"))
    resumed = Driver(dataclasses.replace(job(Uniform, 1.0), resume=state), workers=2)
    assert resumed.components.job.resume is None
