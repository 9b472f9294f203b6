"""Law 12: every agent makes at least 8 updates under every paradigm within 64 env steps."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from paradigms.allreduce import AllReduce
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.gorila import Gorila
from paradigms.gossip import Gossiping
from paradigms.hogwild import Hogwild
from paradigms.sequential import Sequential
from tests.covering import covering
from tests.jobs import AGENTS, laid, run

VARIANTS: dict[str, Any] = {
    "sequential": Sequential(),
    "dcollect": DCollect(),
    "dcollect, chunk 1, depth 1": DCollect(chunk=1, depth=1),
    "dupdate delta": DUpdate(),
    "dupdate damped": DUpdate(merge="damped"),
    "dupdate elastic": DUpdate(merge="elastic"),
    "dupdate mean": DUpdate(merge="mean"),
    "dupdate, own transitions": DUpdate(sample_from="own"),
    "dupdate, the learner's samples": DUpdate(sample_from="learner"),
    "dupdate, tasks by shares": DUpdate(merge="damped", tasks="by_shares"),
    "hogwild": Hogwild(),
    "hogwild, own transitions": Hogwild(sample_from="own"),
    "locked": Hogwild(locked=True),
    "a3c": Hogwild(copy="rollout"),
    "a3c, locked": Hogwild(copy="rollout", locked=True),
    "allreduce": AllReduce(),
    "allreduce, whole batches": AllReduce(batch="each"),
    "gorila": Gorila(),
    "gossip": Gossiping(every=1),
    "gorila, 2 shards, rare pulls": Gorila(shards=2, sync_period=3),
    "gorila, few gradients taken": Gorila(max_staleness=0, outlier_deviations=3.0),
}


def consumed_once(agent: str) -> bool:
    return AGENTS[agent].changes.get("updates_per_env_step", 1) is None


def shows(case: tuple[str, str, int]) -> set[tuple]:
    """The pairs that must occur: each paradigm with each agent, each variant with what is special
    to some agents or both values of max_ahead."""
    variant, agent, max_ahead = case
    paradigm = variant if variant in ("locked", "a3c") else VARIANTS[variant].name
    once = consumed_once(agent)
    return {(paradigm, agent), (variant, "once", once), (variant, max_ahead), (agent, max_ahead)}


CASES = [
    (variant, agent, max_ahead)
    for variant, agent, max_ahead in itertools.product(VARIANTS, AGENTS, (0, 32))
    if not (consumed_once(agent) and ("shares" in variant or "samples" in variant))
]


@pytest.mark.parametrize(("name", "agent", "max_ahead"), covering(CASES, shows))
def test_every_pair_makes_eight_updates_within_64_steps(
    name: str, agent: str, max_ahead: int
) -> None:
    workers = 1 if name == "sequential" else 2
    drawn = {"warmup": 16, "batch_size": 8}
    small = AGENTS[agent].job(
        **{**drawn, **AGENTS[agent].changes},
        workers=workers,
        num_envs=1,
        env_steps=64,
        max_ahead=max_ahead,
    )
    ended = run(VARIANTS[name], small)
    assert 64 <= ended.totals["env_steps"] <= 64 + 16 * workers
    assert ended.totals["updates"] >= 8
    start = laid(small.make_agent(small.spec, 0)).vector
    assert ended.floats.isfinite().all()
    for group in start.agent.groups:
        assert not torch.equal(ended.floats[start.span(group)], start.flat(group))
