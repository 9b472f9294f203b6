"""Law 10: what any paradigm stores and feeds is each transition once, whole and in its place.

The Counting env can be recomputed from its observations; `Counter.learn` recomputes every batch.
So can its images, stacks of them, and a Dict of one with its numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from envs.make import make_env
from tests.counting import Counter, life, numbers
from tests.jobs import PARADIGMS, Ended, job, run, world

COUNTING = world("Counting")
PICTURES = functools.partial(make_env, id="tests.envs.worlds:worlds/Pictures-v0")
SHOWN: dict[str, Callable[..., Any]] = {
    "images": PICTURES,
    "frames": functools.partial(PICTURES, stack=3),
    "a dict": functools.partial(PICTURES, kwargs={"both": True}),
}
NAMES = [name for name in PARADIGMS if name != "locked"]
MODES = ("next_step", "same_step", "disabled")


def counted(
    name: str,
    *,
    shows: Callable[..., Any] = COUNTING,
    mode: str = "next_step",
    n_step: int = 1,
    **changes: object,
) -> Ended:
    workers = 1 if name == "sequential" else 2
    agent = functools.partial(Counter, streams=2 * workers, n_step=n_step)
    return run(
        PARADIGMS[name],
        job(functools.partial(shows, autoreset=mode), agent, workers=workers, **changes),
    )


def each_transition_is_stored_once(ended: Ended) -> None:
    streams, heads = ended.stored(), ended.state["replay"]["heads"]
    space = ended.job.spec.observation_space
    shown = [numbers(space, transitions["obs"]) for transitions in streams]
    drawn = [float(obs[0, 2]) for obs in shown if len(obs)]
    assert len({*drawn}) == len(drawn) > 0
    for transitions, obs, head in zip(streams, shown, heads, strict=True):
        whole = life(obs[0, 2], head) if head else {}
        for name, column in whole.items():
            stored = obs if name == "obs" else transitions[name]
            assert_array_equal(stored, column[head - len(transitions) :], err_msg=name)
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


@pytest.mark.parametrize(("what", "mode"), [*zip(SHOWN, MODES, strict=True)])
@pytest.mark.parametrize("name", ["sequential", "dcollect", "dupdate", "hogwild"])
def test_every_transition_with_an_image_is_stored_once(name: str, what: str, mode: str) -> None:
    ended = counted(name, shows=SHOWN[what], mode=mode, n_step=2, capacity=64)
    each_transition_is_stored_once(ended)
    older = 2 if what == "frames" else 0  # which stacks of the oldest ones need
    assert {len(stream) - older for stream in ended.stored()} == {64 // len(ended.stored())}


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
    shows = SHOWN["a dict"] if name == "dcollect" else COUNTING
    each_transition_is_stored_once(counted(name, shows=shows, **changes))
