"""Law 11: a worker that learns and is killed is replaced, in real processes; training goes on from
what is shared, at most what the worker was doing is lost and counted, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.base import Batch, Learned, Spec
from paradigms.base import Job, Progress
from paradigms.experience.rollout import Rollout
from paradigms.loop.pace import Pace
from tests.counting import Counter
from tests.jobs import ONCE, PARADIGMS, Ended, Idler, counters, job, run, world

pytestmark = pytest.mark.slow

WORKERS, ENVS, ENDLESS = 2, 2, 10**9
BOUND = ["hogwild", "locked", "a3c", "gossip"]  # whose workers count all that they do themselves
REPLACED = [*BOUND, "dupdate", "allreduce", "gorila"]


def several(**changes: Any) -> Job:
    agent = functools.partial(Counter, streams=WORKERS * ENVS, whole=False)
    given = {"crew": "process", "workers": WORKERS, "max_ahead": 64, "env_steps": ENDLESS}
    return job(changes.pop("worlds", world("Counting")), agent, **{**given, **changes})


def agrees(pace: Pace) -> None:
    """Asserts that what was collected was stored, and what was granted was learned."""
    ledger = pace.ledger
    assert ledger.total("collected") == ledger.total("added")
    assert ledger.total("granted") == ledger.total("learns")


def due(ended: Ended) -> None:
    """Asserts that the updates that env steps made due were made. (Of those of the warm-up some are
    not, if one worker is done before the other has begun.)"""
    updates, most = ended.totals["updates"], ended.totals["env_steps"] - 32
    assert most - 16 <= updates <= most


class Killer:
    """Kills workers in turn, each when it has worked for a while, and stops the run in the end,
    when all of them go on."""

    def __init__(self, paces: list[Pace], kills: int) -> None:
        self.paces, self.left, self.kills = paces, kills, kills
        self.draws, self.pid, self.rank = random.Random(kills), 0, 0
        self.mark: int | None = None

    def __call__(self, progress: Progress) -> None:
        ledger = self.paces[0].ledger
        pids = {child.name: child.pid for child in multiprocessing.active_children()}
        pid = pids.get(f"worker-{self.rank}")
        if pid is None or pid == self.pid:  # the dead one
            return
        fragments = ledger.own("fragments", self.rank)
        if self.mark is None:
            self.mark = fragments + self.draws.randrange(1, 12)
        if fragments < self.mark:
            return
        self.mark = None
        if not self.left:
            return progress.stop()
        os.kill(pid, signal.SIGKILL)
        self.pid, self.left = pid, self.left - 1
        if self.left:
            self.rank = (self.rank + 1) % WORKERS


@pytest.mark.parametrize("name", REPLACED)
def test_workers_that_are_killed_are_replaced_and_training_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Counter` checks every batch on the way."""
    paces, notes = counters(monkeypatch), list[tuple[str, str]]()
    killer = Killer(paces, 3)

    def look(progress: Progress) -> None:
        notes.extend(progress.notes)
        killer(progress)

    ended = run(PARADIGMS[name], several(), look)
    assert [words for words, _ in notes] == [
        f"worker-{rank} was killed by SIGKILL, and is replaced" for rank in (0, 1, 0)
    ]
    assert ended.totals["restarts"] == ended.totals["lost"] == 3
    assert ended.totals["duplicated"] == 0
    if name in BOUND:  # elsewhere the last tasks were on their way
        agrees(paces[0])


def test_parameter_servers_that_are_killed_are_replaced_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paces, killed = counters(monkeypatch), dict[str, tuple[int | None, int]]()

    def look(progress: Progress) -> None:
        servers = {child.name: child.pid for child in multiprocessing.active_children()}
        for number, name in enumerate(("server-0", "server-1")):
            pid = servers.get(name)
            if name not in killed and pid is not None and progress.updates > 200 * (number + 1):
                killed[name] = pid, progress.updates
                os.kill(pid, signal.SIGKILL)
        if len(killed) == 2 and progress.updates > 200 + max(n for _, n in killed.values()):
            progress.stop()

    ended = run(PARADIGMS["gorila"], several(), look)
    assert ended.totals["restarts"] == 2
    assert ended.totals["lost"] <= 1  # the step that server 0 was at
    assert ended.floats.isfinite().all()
    assert paces[0].ledger.total("collected") == paces[0].ledger.total("added")


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize("kind", ["kill", "raise", "exit", "nan"])
def test_a_run_whose_worker_failed_reaches_its_budget(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "kill" and name in ("locked", "a3c", "gossip"):
        pytest.skip("the ways to end are the crew's")
    paces = counters(monkeypatch)
    fault = {"kind": kind, "at": 41, "once": str(tmp_path / "once")}
    worlds = world("Fault", per_worker=[{}, fault])
    ended = run(PARADIGMS[name], several(worlds=worlds, max_ahead=0, env_steps=400))
    assert ended.totals["restarts"] == ended.totals["lost"] == int(kind != "raise")
    assert ended.totals["env_errors"] == int(kind == "raise"), "it was rebuilt alone"
    assert ended.totals["env_steps"] >= 400 - WORKERS * ENVS
    due(ended)
    agrees(paces[0])


class Mortal(Idler):
    """Kills its process at its tenth step of the optimiser, once over all processes, where a
    paradigm with a lock holds it; or at its tenth `learn`, after the batch was drawn."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu", *, once: str, at: str) -> None:
        super().__init__(spec, seed, device)
        self.die = die = functools.partial(_die, Path(once), [10])
        self.at = at
        if at == "step":
            for group in self.groups.values():
                group.clip = _Deadly(1e9).which(die)

    def learn(self, batch: Batch) -> Learned:
        if self.at == "learn":
            self.die()
        return super().learn(batch)


class _Deadly(float):
    """A number to divide by which is dangerous."""

    def which(self, does: Callable[[], None]) -> _Deadly:
        self.does = does
        return self

    def __truediv__(self, other: Any) -> Any:
        self.does()
        return float(self) / other


def _die(once: Path, left: list[int]) -> None:
    left[0] -= 1
    if left[0] == 0:
        with contextlib.suppress(FileExistsError):
            once.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", REPLACED)
def test_a_worker_that_is_killed_within_an_optimiser_step_stops_nobody(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paces = counters(monkeypatch)
    mortal = functools.partial(Mortal, once=str(tmp_path / "once"), at="step")
    dying = job(agent=mortal, crew="process", workers=WORKERS, env_steps=320)
    ended = run(PARADIGMS[name], dying)
    assert ended.totals["restarts"] == ended.totals["lost"] == 1
    assert ended.totals["env_steps"] >= 320
    due(ended)
    assert ended.floats.isfinite().all()
    agrees(paces[0])


@pytest.mark.parametrize("name", REPLACED)
def test_fragments_that_a_killed_worker_had_taken_are_gone_and_no_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paces = counters(monkeypatch)
    mortal = functools.partial(Mortal, once=str(tmp_path / "once"), at="learn")
    once: dict[str, Any] = {
        **ONCE,
        "make_replay": functools.partial(Rollout, capacity=2, fragments=2),
    }
    dying = job(agent=mortal, crew="process", workers=WORKERS, env_steps=640, **once)
    ended = run(PARADIGMS[name], dying)
    assert ended.totals["restarts"] == ended.totals["lost"] == 1
    assert ended.totals["env_steps"] >= 640
    arrived = paces[0].ledger.column("arrived")
    gone = WORKERS if name == "allreduce" else 1  # there nobody has made an update alone
    assert ended.totals["updates"] == arrived[0] // 2 + arrived[1] // 2 - gone
    agrees(paces[0])
