"""Law 11: wherever a worker or a parameter server dies, what was collected is stored or counted as
dropped, every update that was granted is made, and no gradient is applied twice.

A role dies between two calls by which it changes what others see: on threads, by an error that is
raised before some of those calls, so that all of them are met in a few runs."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections import Counter as Count
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from paradigms.base import Progress
from paradigms.experience.channel import Channel
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.ledger import LEARNER, Ledger
from paradigms.loop.tasks import Tasks
from paradigms.runtime.crew import Crew
from paradigms.weights.published import Weights
from paradigms.weights.scores import Scores
from paradigms.weights.sharded import Mail, Shards
from tests.counting import Counter
from tests.jobs import EVOLVED, ONCE, PARADIGMS, Ended, Idler, counters, job, run, world

WORKERS, ENVS = 2, 2
SEEN: tuple[tuple[type, str], ...] = (
    *((Ledger, name) for name in ("count", "_count_at_once", "served")),
    *((Tasks, name) for name in ("report", "finish")),
    *((Mail, name) for name in ("send", "note", "done", "end")),
    *((Shards, name) for name in ("begin", "finish")),
    *((Scores, name) for name in ("finish", "go_on")),
    *((Channel, name) for name in ("put", "free")),
    *((Uniform, "add"), (Rollout, "add"), (Weights, "publish")),
)


class Death(Exception):
    pass


class Reaper:
    """Raises Death before one of every `every` calls, about, that workers and servers make. met:
    how often before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        self.every, self.draws, self.met = every, random.Random(0), Count[str]()
        self.left = every
        for owner, name in SEEN:
            monkeypatch.setattr(owner, name, self.before(getattr(owner, name)))

    def before(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if threading.current_thread().name.startswith(("worker-", "server-")):
                self.left -= 1
                if not self.left:
                    self.left = self.every + self.draws.randrange(-3, 4)
                    self.met[original.__qualname__] += 1
                    raise Death(original.__qualname__)
            return original(*args, **options)

        return call


def dying(
    paradigm: Any, monkeypatch: pytest.MonkeyPatch, every: int, **changes: Any
) -> tuple[Ended, Ledger, Reaper]:
    module = sys.modules[type(paradigm).__module__]
    monkeypatch.setattr(module, "Crew", functools.partial(Crew, restarts=10**6))
    paces, reaper = counters(monkeypatch), Reaper(monkeypatch, every)
    agent: Any = functools.partial(Counter, streams=WORKERS * ENVS, whole=False)
    if "batch_size" in changes:  # whole fragments, which Counter does not read
        agent = Idler
    given = {"workers": WORKERS, "max_ahead": 64, "env_steps": 400, **changes}

    def look(progress: Progress) -> None:
        for words, trace in progress.notes:
            assert "raised Death" in words, trace

    ended = run(paradigm, job(world("Counting"), agent, **given), look)
    return ended, paces[0].ledger, reaper


@pytest.mark.parametrize("replay", ["kept", "consumed", "consumed in pairs"])
@pytest.mark.parametrize("name", sorted(PARADIGMS.keys() - {"sequential"}))
def test_the_counters_agree(name: str, replay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Counter` checks every batch of transitions that are kept on the way."""
    size = {"capacity": 4, "fragments": 2} if "pairs" in replay else {}
    consumed = {**ONCE, "make_replay": functools.partial(Rollout, **size)}
    changes = {} if replay == "kept" else consumed
    ended, ledger, reaper = dying(PARADIGMS[name], monkeypatch, 13, **changes)
    deaths, totals = sum(reaper.met.values()), ended.totals
    assert deaths > 3
    assert totals["restarts"] <= deaths and totals["lost"] <= deaths
    dropped = ledger.total("collected") - ledger.total("added")
    under_way = 4 * WORKERS * ENVS * 8 if name == "dcollect" else 0  # when the budget was spent
    assert 0 <= dropped <= under_way
    if replay == "kept":
        assert int(np.sum(ended.state["replay"]["heads"])) == ledger.total("added")
    twice = ledger.total("learns") - ledger.total("granted")  # counted, and not noted as counted
    assert 0 <= twice <= (reaper.met["Mail.note"] if name == "gorila" else 0)
    made, counted = int(ended.result.final.counts[0]), totals["updates"]
    assert made - counted <= (ledger.own("lost", LEARNER) if name == "gorila" else deaths)


@pytest.mark.parametrize("name", EVOLVED)
def test_generations_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, ledger, reaper = dying(EVOLVED[name], monkeypatch, 7, env_steps=1200)
    assert sum(reaper.met.values()) > 10
    assert ended.totals["updates"] == ended.result.final.counts[0]
    assert ledger.total("added") == ended.totals["env_steps"] >= 1200
