"""Law 12: every agent makes at least 8 updates under every paradigm within 64 env steps."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.hogwild import Hogwild
from paradigms.sequential import Sequential
from tests.jobs import AGENTS, laid, run

VARIANTS: dict[str, Any] = {
    "sequential": Sequential(),
    "dcollect": DCollect(),
    "dcollect, chunk 1, depth 1": DCollect(chunk=1, depth=1),
    "dupdate delta": DUpdate(),
    "dupdate damped": DUpdate(merge="damped"),
    "dupdate elastic": DUpdate(merge="elastic"),
    "dupdate mean": DUpdate(merge="mean"),
    "dupdate own rows": DUpdate(sample_from="own"),
    "dupdate the learner's samples": DUpdate(sample_from="learner"),
    "dupdate, tasks by shares": DUpdate(merge="damped", tasks="by_shares"),
    "hogwild": Hogwild(),
    "hogwild own rows": Hogwild(sample_from="own"),
    "locked": Hogwild(locked=True),
}


PAIRS = [
    (name, agent, max_ahead)
    for name, agent in itertools.product(VARIANTS, AGENTS)
    for max_ahead in ((0, 32) if agent in ("sac", "reinforce") else (32,))
    if AGENTS[agent].changes.get("updates_per_env_step", 1)  # else transitions are consumed once
    or not ("shares" in name or "samples" in name)
]


@pytest.mark.parametrize(("name", "agent", "max_ahead"), PAIRS)
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
