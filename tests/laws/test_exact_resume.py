"""Law 19: a run in lockstep that is saved and resumed ends with the bits of the unbroken run."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from agents.parts.schedule import Factor
from paradigms.base import Job
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
def test_a_run_in_lockstep_that_ends_twice_and_goes_on_is_the_unbroken_run(name: str) -> None:
    """After two of its rounds, at random. (Learning rates do not fall with the budget here, and
    episodes end with every fragment, as they do where a run is resumed.)"""
    rounds = random.Random(name).sample(range(48, 112, 16), 2)
    state: dict[str, Any] | None = None
    for end in (*sorted(rounds), 112):
        few = jobs.job(env_steps=end, every_env_steps=16, lr_schedule=Factor(end=1.0))
        broken = jobs.run(jobs.PARADIGMS[name], replace(few, resume=state))
        state = broken.state
    broken.same_as(jobs.run(jobs.PARADIGMS[name], few))
    assert broken.totals["updates"] == 112 - 32
