"""A run resumed in the middle, or with other settings, keeps the laws of one that was not broken.

(That a sequential one gives the same bits is in test_exact_resume.py.)
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from paradigms.loop.ledger import COUNTS
from tests.counting import Counter
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
def test_counters_and_weights_of_a_checkpoint_belong_together(name: str) -> None:
    state = saved_in_the_middle(name, 64)
    made = state["ledger"]["counts"][:, COUNTS.index("updates")].sum()
    assert state["counts"][0] == made >= 20


@EVERYWHERE
def test_a_resumed_run_counts_its_lag_from_where_it_goes_on(name: str) -> None:
    state = saved_in_the_middle(name, 0, least=100)
    ended = counted(name, max_ahead=0, env_steps=512, resume=state)
    assert ended.totals["policy_lag_max"] <= 2 * 16, "a worker's turns of two rounds at most"


@EVERYWHERE
@pytest.mark.parametrize("max_ahead", [0, 64])
def test_what_was_saved_in_the_middle_is_gone_on_with(name: str, max_ahead: int) -> None:
    """`Counter` checks what is fed; episodes that were open end where they stood."""
    state = saved_in_the_middle(name, max_ahead)
    ended = counted(name, max_ahead=max_ahead, env_steps=256, resume=state)
    assert 256 <= ended.totals["env_steps"] < 256 + 4 * 16
    assert ended.totals["env_steps"] - 32 - ended.totals["updates"] in (0, 1)
    held = zip(ended.stored(), state["replay"]["transitions"], strict=True)
    for rows, before in held:
        ends = rows["terminated"] | rows["truncated"]
        assert ends[:-1][rows["is_first"][1:]].all()
        assert len({*rows["obs"][:, 2]}) == 2
        assert_array_equal(rows["obs"][: len(before) - 1, 1], rows["age"][: len(before) - 1])


@EVERYWHERE
@pytest.mark.parametrize("max_ahead", [0, 64])
@pytest.mark.parametrize("agent", ["reinforce", "reinforce, fifo"])
def test_rows_that_are_handed_out_once_are_gone_on_with(
    name: str, agent: str, max_ahead: int
) -> None:
    """Wherever it is broken off: every sample that is whole from there on is learned from."""
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
