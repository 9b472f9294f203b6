"""Law 17: with r = updates_per_env_step, at every moment
0 <= r * max(0, collected - warmup) - updates <= max_ahead + 1 + r * workers * rollout_length *
num_envs; and no two workers share their first 100 actions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from paradigms.base import Progress
from paradigms.loop import build
from paradigms.loop.ledger import Ledger
from paradigms.loop.pace import Pace
from tests.covering import covering
from tests.jobs import AGENTS, PARADIGMS, Idler, counters, job, run, sac, world

FRAGMENT = 16  # env steps: a rollout of 8 with 2 envs
MANY = ("dcollect", "dupdate", "hogwild", "locked", "allreduce", "a3c", "gorila")


def lawful(pace: Pace, collected: int, updates: int, *, later: int | None = None) -> None:
    """`later`: updates counted after `collected`, where others count meanwhile."""
    owed = pace.updates_per_env_step * max(0, collected - pace.warmup)
    assert updates <= owed
    most = pace.max_ahead + 1 + pace.updates_per_env_step * pace.workers * FRAGMENT
    assert owed - (updates if later is None else later) <= most


class Watched(Pace):
    """Checks the law whenever something has been counted; inline nobody counts meanwhile."""

    seen: list[int]

    def __init__(self, ledger: Ledger, **options: Any) -> None:
        super().__init__(ledger, **options)
        for name in ("_count_at_once", "served"):
            setattr(ledger, name, self.watching(getattr(ledger, name), ledger))

    def watching(self, counts: Callable[..., None], ledger: Ledger) -> Callable[..., None]:
        def watched(*args: Any, **counted: Any) -> None:
            counts(*args, **counted)
            lawful(self, ledger.total("collected"), ledger.total("updates"))
            self.seen.append(ledger.total("updates"))

        return watched


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Makes every run's Pace a Watched one; gives the updates it saw."""
    monkeypatch.setattr(Watched, "seen", updates := [], raising=False)
    monkeypatch.setattr(build, "Pace", Watched)
    yield updates
    assert len(updates) > 8


PACES = ((1.0, 32), (0.25, 0), (3.0, 50))  # updates_per_env_step, warmup
PACED = covering(
    case
    for case in itertools.product(PARADIGMS, (1, 2, 3), PACES, (0, 1, 40))
    if (case[0] == "sequential") == (case[1] == 1)
)


@pytest.mark.parametrize(("name", "workers", "pace", "max_ahead"), PACED)
def test_updates_are_owed_and_few_are_outstanding(
    name: str, workers: int, pace: tuple[float, int], max_ahead: int, seen: list[int]
) -> None:
    updates_per_env_step, warmup = pace
    changes = {
        "updates_per_env_step": updates_per_env_step,
        "warmup": warmup,
        "max_ahead": max_ahead,
    }
    ended = run(
        PARADIGMS[name], job(agent=Idler, workers=workers, batch_size=4, env_steps=160, **changes)
    )
    owed = updates_per_env_step * (ended.totals["env_steps"] - warmup)
    assert owed - workers < ended.totals["updates"] == seen[-1]


@pytest.mark.parametrize("name", PARADIGMS)
def test_a_repeated_action_counts_as_many_env_steps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the env steps of everything, and half the updates an env step: the same transitions."""
    ended, paces, explored = [], counters(monkeypatch), list[list[int]]()
    for action_repeat in (1, 2):
        explored.append([])

        def explore(steps: int, index: int, count: int) -> float:
            explored[-1].append(steps)
            return 1.0

        doubled = {
            "updates_per_env_step": 1 / action_repeat,
            "warmup": 32 * action_repeat,
            "env_steps": 128 * action_repeat,
        }
        worlds = world(action_repeat=action_repeat, kwargs={"length": 12 * action_repeat})
        ended.append(run(PARADIGMS[name], job(worlds, Idler, explore=explore, **doubled)))
    one, two = ended
    assert two.totals["env_steps"] == 2 * one.totals["env_steps"] >= 256
    assert two.totals["updates"] == one.totals["updates"] >= 96
    assert [*map(len, two.stored())] == [*map(len, one.stored())]
    assert explored[1] == [2 * steps for steps in explored[0]]
    lengths = [p.ledger.total("length") / p.ledger.total("episodes") for p in paces]
    assert lengths == [12, 24]


@pytest.mark.parametrize("name", PARADIGMS)
def test_a_repeated_action_counts_as_many_where_the_replay_sets_the_pace(name: str) -> None:
    ended = []
    for action_repeat in (1, 2):
        worlds = world(action_repeat=action_repeat, kwargs={"length": 12 * action_repeat})
        pupil = dataclasses.replace(AGENTS["reinforce"], world=worlds)
        ended.append(run(PARADIGMS[name], pupil.job(env_steps=128 * action_repeat)).totals)
    one, two = ended
    assert two["env_steps"] == 2 * one["env_steps"] >= 256
    assert two["updates"] == one["updates"] > 30


@pytest.mark.parametrize("agent", ["ppo", "reinforce", "reinforce, fifo", "actor_critic"])
def test_updates_per_env_step_are_the_same_in_every_paradigm_where_the_replay_sets_the_pace(
    agent: str,
) -> None:
    ratios = {}
    for name, paradigm in PARADIGMS.items():
        workers = 1 if name == "sequential" else 2
        totals = run(paradigm, AGENTS[agent].job(workers=workers, env_steps=384)).totals
        ratios[name] = totals["updates"] / totals["env_steps"]
    assert min(ratios.values()) > 0.9 * max(ratios.values()), ratios


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild", "allreduce", "gorila"])
def test_the_pace_is_held_in_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = counters(monkeypatch)

    def look(progress: Progress) -> None:
        """Counters only grow: what holds between an early and a late look held in between."""
        (pace,) = paces
        updates, collected = pace.ledger.total("updates"), pace.ledger.total("collected")
        lawful(pace, collected, updates, later=pace.ledger.total("updates"))

    changes = {"workers": 2, "batch_size": 2, "max_ahead": 20, "env_steps": 2000, "crew": "process"}
    ended = run(PARADIGMS[name], job(agent=Idler, **changes), look)
    assert 0 <= ended.totals["env_steps"] - 32 - ended.totals["updates"] <= 32


@pytest.mark.parametrize(
    ("name", "hold"),
    [("dcollect", 1), ("dupdate", 16), ("hogwild", 1), ("allreduce", 1), ("gorila", 1)],
)
def test_no_two_workers_share_their_first_100_actions(name: str, hold: int) -> None:
    agent = functools.partial(sac, action_hold=hold)
    changes = {"workers": 3, "warmup": 300, "env_steps": 3 * 2 * 120, "updates_per_env_step": 0.1}
    streams = run(PARADIGMS[name], job(agent=agent, **changes)).stored()
    firsts = [stream["action"][:100, 0] for stream in streams]
    assert len(firsts) == 6 and {len(actions) for actions in firsts} == {100}
    for one, other in itertools.combinations(firsts, 2):
        assert not np.isin(one, other).any()


@pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild", "allreduce", "a3c", "gorila"])
def test_no_two_workers_see_the_same_env(name: str) -> None:
    streams = run(PARADIGMS[name], job(agent=Idler, workers=3, env_steps=400)).stored()
    shown = [stream["obs"][:40, 0] for stream in streams]
    for one, other in itertools.combinations(shown, 2):
        assert not np.isin(one, other).any()


@pytest.mark.parametrize("name", MANY)
def test_lockstep_ends_for_all_where_some_have_more_reset_steps(name: str) -> None:
    unlike = world(per_worker=[{"length": 2}, {"length": 50}])
    ended = run(PARADIGMS[name], job(unlike, Idler, workers=2, batch_size=2, env_steps=160))
    assert 160 <= ended.totals["env_steps"] < 160 + 2 * FRAGMENT
