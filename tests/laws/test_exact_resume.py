"""A run that is saved at a checkpoint's moment and resumed gives the bits of the unbroken run."""

from __future__ import annotations

from typing import Any

from paradigms.base import Job
from paradigms.sequential import Sequential
from tests import jobs

EVERY = 100


def saving_job(**others: Any) -> Job:
    return jobs.job(env_steps=300, checkpoint_env_steps=EVERY, **others)


def test_a_resumed_run_is_the_unbroken_run() -> None:
    unbroken = jobs.run(Sequential(), saving_job())
    run = Sequential().run(saving_job())
    state = next(p.save() for p in run if p.env_steps >= 2 * EVERY)
    run.close()
    resumed = jobs.run(Sequential(), saving_job(resume=state))
    resumed.same_as(unbroken)
    assert resumed.totals["updates"] > 0
