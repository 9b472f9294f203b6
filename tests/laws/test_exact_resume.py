"""Law 19: a sequential run that is saved and resumed ends with the bits of the unbroken run."""

from __future__ import annotations

from typing import Any

import pytest

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
