"""Law 13: an asynchronous run in real processes, re-executed inline from its journal, ends with
the same parameters to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from paradigms.allreduce import AllReduce
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.gorila import Gorila
from paradigms.runtime.journal import Journal
from paradigms.runtime.recorded import Recorded
from tests.jobs import AGENTS, job, run

pytestmark = pytest.mark.slow

RECORDED: dict[str, Any] = {
    "dcollect": DCollect(),
    "dupdate delta": DUpdate(merge="delta"),
    "dupdate elastic": DUpdate(merge="elastic"),
    "dupdate the learner's samples": DUpdate(sample_from="learner"),
    "allreduce": AllReduce(),
    "gorila": Gorila(),
    "gorila, 2 shards": Gorila(shards=2, sync_period=2, max_staleness=4, outlier_deviations=3.0),
}


# every merge rule and way to sample, and every replay under dcollect and dupdate
RUNS = [
    ("dcollect", "sac"),
    ("dcollect", "sac, prioritized"),
    ("dcollect", "reinforce, fifo"),
    ("dcollect", "ppo"),
    ("dupdate delta", "sac, prioritized"),
    ("dupdate delta", "sac, elite"),
    ("dupdate elastic", "reinforce"),
    ("dupdate elastic", "sac"),
    ("dupdate the learner's samples", "sac"),
    ("allreduce", "sac"),
    ("allreduce", "ppo"),
    ("gorila", "sac"),
    ("gorila", "sac, prioritized"),
    ("gorila", "reinforce, fifo"),
    ("gorila, 2 shards", "sac"),
    ("gorila, 2 shards", "ppo"),
]


@pytest.mark.parametrize(("name", "agent"), RUNS)
def test_a_journal_gives_the_same_bits_again(name: str, agent: str, tmp_path: Path) -> None:
    file = str(tmp_path / "journal.bin")
    changes = {"workers": 3, "max_ahead": 50, "env_steps": 450}
    live = run(RECORDED[name], AGENTS[agent].job(crew="process", journal=file, **changes))
    again = run(RECORDED[name], AGENTS[agent].job(order=Recorded(Journal.read(file)), **changes))

    assert live.totals["updates"] > (200 if "sac" in agent else 60)
    assert torch.equal(again.floats, live.floats)
    assert torch.equal(again.result.final.counts, live.result.final.counts)
    for key in ("env_steps", "updates", "episodes", "merges"):
        assert again.totals[key] == live.totals[key]


def test_another_order_gives_other_parameters() -> None:
    """Else the equality above would say nothing about the order."""
    lockstep, free = (
        run(DCollect(), job(workers=2, max_ahead=max_ahead, env_steps=300)) for max_ahead in (0, 50)
    )
    assert not torch.equal(lockstep.floats, free.floats)
