"""Law 20: a run resumed in the middle, or with other settings, keeps the laws of an unbroken one.

(That a sequential run gives the same bits is in test_exact_resume.py.)
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from paradigms.loop.ledger import COUNTS
from tests.counting import Counter
from tests.covering import covering
from tests.jobs import AGENTS, PARADIGMS, Ended, job, run, world

EVERYWHERE = pytest.mark.parametrize("name", PARADIGMS)


def counted(name: str, **changes: Any) -> Ended:
    workers = 1 if name == "sequential" else 2
    agent = functools.partial(Counter, streams=2 * workers, whole=False)
    return run(PARADIGMS[name], job(world("Counting"), agent, workers=workers, **changes))


def saved_in_the_middle(name: str, max_ahead: int, least: int = 20) -> dict[str, Any]:
    workers = 1 if name == "sequential" else 2
    agent = functools.partial(Counter, streams=2 * workers, whole=False)
    steps = PARADIGMS[name].run(job(world("Counting"), agent, workers=workers, max_ahead=max_ahead))
    state: dict[str, Any] = next(p.save() for p in steps if p.updates >= least)
    steps.close()
    return state


@EVERYWHERE
def test_a_resumed_run_counts_its_policy_lag_from_where_it_goes_on(name: str) -> None:
    state = saved_in_the_middle(name, 0, least=100)
    ended = counted(name, max_ahead=0, env_steps=512, resume=state)
    assert ended.totals["policy_lag_max"] <= 2 * 16, "two rollouts of each worker at most"


@EVERYWHERE
@pytest.mark.parametrize("max_ahead", [0, 64])
def test_a_run_saved_in_the_middle_is_resumed_from_there(name: str, max_ahead: int) -> None:
    """`Counter` checks every batch; episodes that were open end where they stood."""
    state = saved_in_the_middle(name, max_ahead)
    made = state["ledger"]["counts"][:, COUNTS.index("updates")].sum()
    assert state["counts"][0] == made >= 20, "the ledger's updates are the weights' own"
    ended = counted(name, max_ahead=max_ahead, env_steps=256, resume=state)
    assert 256 <= ended.totals["env_steps"] < 256 + 4 * 16
    assert ended.totals["env_steps"] - 32 - ended.totals["updates"] in (0, 1)
    held = zip(ended.stored(), state["replay"]["transitions"], strict=True)
    for stream, before in held:
        ends = stream["terminated"] | stream["truncated"]
        assert ends[:-1][stream["is_first"][1:]].all()
        assert len({*stream["obs"][:, 2]}) == 2
        old = slice(len(before) - 1)
        assert_array_equal(stream["obs"][old, 1], stream["age"][old])


@pytest.mark.parametrize(
    ("name", "agent", "max_ahead"),
    covering(itertools.product(PARADIGMS, ("reinforce", "reinforce, fifo"), (0, 64))),
)
def test_transitions_that_are_consumed_once_are_learned_from_after_a_resume(
    name: str, agent: str, max_ahead: int
) -> None:
    """Wherever the run is broken off: every sample that is whole from there on is consumed."""
    changes = {"workers": 1 if name == "sequential" else 3, "max_ahead": max_ahead}
    first = AGENTS[agent].job(**changes)
    broken = [p.save() for p in PARADIGMS[name].run(first)]
    for state in broken[:: max(1, len(broken) // 6)]:
        ended = run(PARADIGMS[name], AGENTS[agent].job(env_steps=192, resume=state, **changes))
        left = len(ended.state["replay"]["ranks"])
        assert left <= (0 if agent == "reinforce" else changes["workers"])
        assert 192 <= ended.totals["env_steps"] < 192 + 3 * 16
        granted, learns = (
            ended.state["ledger"]["counts"][:, COUNTS.index(name)] for name in ("granted", "learns")
        )
        assert (
            granted.sum()
            == learns.sum()
            > state["ledger"]["counts"][:, COUNTS.index("learns")].sum()
        )


@EVERYWHERE
def test_a_run_resumed_with_updates_owed_makes_them(name: str) -> None:
    state = counted(name, max_ahead=64).state
    ended = counted(name, max_ahead=64, env_steps=192, updates_per_env_step=2.0, resume=state)
    assert ended.totals["updates"] >= 2 * (192 - 32) - 2
