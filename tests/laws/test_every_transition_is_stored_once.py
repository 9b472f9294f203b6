"""Law 10: what any paradigm stores and feeds is each transition once, whole and in its place.

The Counting world can be recomputed from its observations; `Counter.learn` recomputes every batch.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.counting import Counter, life
from tests.jobs import PARADIGMS, Ended, job, run, world

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
    shown = [float(rows["obs"][0, 2]) for rows in streams if len(rows)]
    assert len({*shown}) == len(shown) > 0
    for rows, head in zip(streams, heads, strict=True):
        whole = life(rows["obs"][0, 2], head) if head else {}
        for name, column in whole.items():
            assert_array_equal(rows[name], column[head - len(rows) :], err_msg=name)
        assert (np.diff(rows["version"]) >= 0).all()
        assert rows["valid"].all()
    assert heads.sum() == ended.totals["env_steps"] >= ended.job.budget.env_steps
    owed = ended.totals["env_steps"] - ended.job.warmup - ended.totals["updates"]
    assert owed == 0 or (ended.job.crew == "process" and 0 < owed <= ended.job.warmup)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PARADIGMS)
def test_every_transition_is_stored_once_and_fed_whole(name: str, mode: str, n_step: int) -> None:
    ended = counted(name, mode=mode, n_step=n_step)
    each_transition_is_stored_once(ended)
    assert ended.state["replay"]["heads"].all()


@pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild"])
def test_so_it_is_when_nobody_waits_for_anybody(name: str) -> None:
    each_transition_is_stored_once(counted(name, n_step=3, max_ahead=64, env_steps=256))


@pytest.mark.parametrize("name", PARADIGMS)
def test_so_it_is_when_the_ring_has_wrapped(name: str) -> None:
    ended = counted(name, n_step=3, capacity=64, env_steps=256)
    each_transition_is_stored_once(ended)
    assert sum(map(len, ended.stored())) == 64


@pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild"])
def test_so_it_is_in_processes(name: str) -> None:
    changes = {"n_step": 3, "max_ahead": 64, "env_steps": 512, "capacity": 256, "crew": "process"}
    each_transition_is_stored_once(counted(name, **changes))
