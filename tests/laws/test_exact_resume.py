"""Law 19: a run in lockstep that is saved and resumed ends with the bits of the unbroken run."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from paradigms.base import Job, Progress
from paradigms.sequential import Sequential
from tests import jobs

EVERY = 100


def saving_job(agent: str, **others: Any) -> Job:
    return jobs.AGENTS[agent].job(env_steps=300, every_env_steps=EVERY, **others)


AGENTS = ["sac", "sac, prioritized", "sac, elite", "rainbow", "reinforce", "reinforce, fifo", "ppo"]
AGENTS += ["sac_discrete with a dict"]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_resumed_run_is_the_unbroken_run(agent: str) -> None:
    unbroken = jobs.run(Sequential(), saving_job(agent))
    run = Sequential().run(saving_job(agent))
    state = next(p.save() for p in run if p.env_steps >= 2 * EVERY)
    run.close()
    resumed = jobs.run(Sequential(), saving_job(agent, resume=state))
    resumed.same_as(unbroken)
    assert resumed.totals["updates"] > 0


@pytest.mark.parametrize("name", jobs.PARADIGMS)
def test_a_run_in_lockstep_is_resumed_from_anywhere(name: str) -> None:
    """From two states of the run, at random; its episodes end with every fragment."""
    few = jobs.job(env_steps=112, every_env_steps=16)
    cuts = sorted(random.Random(name).sample(range(4, 76), 2))
    states = list[dict[str, Any]]()

    def look(progress: Progress) -> None:
        if len(states) < 2 and progress.updates >= cuts[len(states)]:
            states.append(progress.save())

    unbroken = jobs.run(jobs.PARADIGMS[name], few, look)
    assert len(states) == 2
    for state in states:
        jobs.run(jobs.PARADIGMS[name], replace(few, resume=state)).same_as(unbroken)
