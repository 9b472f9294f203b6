"""Law 10: what any paradigm stores and feeds is each transition once, whole and in its place.

The Counting env can be recomputed from its observations; `Counter.learn` recomputes every batch.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.counting import Counter, life
from tests.jobs import PARADIGMS, Ended, job, run, world

NAMES = [name for name in PARADIGMS if name != "locked"]
MODES = ("next_step", "same_step", "disabled")


def counted(name: str, *, mode: str = "next_step", n_step: int = 1, **changes: object) -> Ended:
    workers = 1 if name == "sequential" else 2
    agent = functools.partial(Counter, streams=2 * workers, n_step=n_step)
    return run(
        PARADIGMS[name],
        job(world("Counting", autoreset=mode), agent, workers=workers, **changes),
    )


def each_transition_is_stored_once(ended: Ended) -> None:
    streams, heads = ended.stored(), ended.state["replay"]["heads"]
    shown = [float(transitions["obs"][0, 2]) for transitions in streams if len(transitions)]
    assert len({*shown}) == len(shown) > 0
    for transitions, head in zip(streams, heads, strict=True):
        whole = life(transitions["obs"][0, 2], head) if head else {}
        for name, column in whole.items():
            assert_array_equal(transitions[name], column[head - len(transitions) :], err_msg=name)
        assert (np.diff(transitions["version"]) >= 0).all()
        assert transitions["valid"].all()
    assert heads.sum() == ended.totals["env_steps"] >= ended.job.budget.env_steps
    due = ended.totals["env_steps"] - ended.job.warmup - ended.totals["updates"]
    assert due == 0 or (ended.job.crew == "process" and 0 < due <= ended.job.warmup)


@pytest.mark.parametrize(("mode", "n_step"), [*zip(MODES, (1, 3, 2), strict=True)])
@pytest.mark.parametrize("name", NAMES)
def test_every_transition_is_stored_once_and_fed_whole(name: str, mode: str, n_step: int) -> None:
    ended = counted(name, mode=mode, n_step=n_step)
    each_transition_is_stored_once(ended)
    assert ended.state["replay"]["heads"].all()


@pytest.mark.parametrize("max_ahead", [0, 64])
@pytest.mark.parametrize("name", NAMES)
def test_every_transition_is_stored_once_in_a_ring_that_has_wrapped(
    name: str, max_ahead: int
) -> None:
    ended = counted(name, n_step=3, max_ahead=max_ahead, capacity=64, env_steps=256)
    each_transition_is_stored_once(ended)
    assert sum(map(len, ended.stored())) == 64


@pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild", "allreduce", "gorila"])
def test_processes_store_every_transition_once(name: str) -> None:
    changes = {"n_step": 3, "max_ahead": 64, "env_steps": 512, "capacity": 256, "crew": "process"}
    each_transition_is_stored_once(counted(name, **changes))
