"""Law 11: a role that raises, dies or hangs in a real process is noticed, with its traceback; a
killed worker of dcollect, es or ars is replaced (of others: test_workers_are_replaced.py); nothing
is left behind, neither process nor shared memory.

Each paradigm with workers has one crash, one kill and one hang here; the other ways in which a
process can end are in tests/runtime/test_crew.py.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from agents.base import Acted, Batch, Learned, State
from agents.sac import SAC
from paradigms import allreduce, dcollect, dupdate, evolution, gorila, gossip, hogwild
from paradigms.base import Job, Progress
from paradigms.errors import Failed
from paradigms.runtime.crew import Crew
from tests.counting import Counter
from tests.jobs import EVOLVED, PARADIGMS, Idler, counters, job, run, world
from tests.runtime.leftovers import shared_memory

pytestmark = pytest.mark.slow

WORKERS, ENVS, ENDLESS = 2, 2, 10**9

FILES = pytest.mark.parametrize("name", ["dcollect", "dupdate", "hogwild", "allreduce", "gorila"])


@pytest.fixture(scope="module")
def fork_server() -> None:
    """It is started by the first crew, with Python's resource tracker, and stays."""
    run(PARADIGMS["hogwild"], job(agent=Idler, crew="process", env_steps=16))


@pytest.fixture(autouse=True)
def nothing_is_left_over(fork_server: None) -> Iterator[None]:
    def held() -> tuple[Any, ...]:
        gc.collect()  # an error caught holds the frames it went through
        return {*psutil.Process().children(recursive=True)}, len(os.listdir("/proc/self/fd"))

    before, shared_before = held(), shared_memory()
    yield
    assert held() == before
    assert shared_memory() <= shared_before


def faulty(kind: str, *, once: Path | None = None, **changes: Any) -> Job:
    """Two workers with two envs; one of rank 1's breaks at its 41st step. One that raises is
    rebuilt alone, unless it does so at its first step."""
    at = 1 if kind == "raise" else 41
    fault = {"kind": kind, "at": at, "once": None if once is None else str(once)}
    agent = functools.partial(Counter, streams=WORKERS * ENVS, whole=False)
    worlds = world("Fault", per_worker=[{}, fault])
    return job(
        worlds, agent, **{"crew": "process", "workers": WORKERS, "env_steps": 1000, **changes}
    )


@FILES
def test_a_worker_that_raises_is_named_with_its_traceback(name: str) -> None:
    with pytest.raises(Failed) as caught:
        run(PARADIGMS[name], faulty("raise", max_ahead=64, env_steps=ENDLESS))
    assert caught.value.name == "worker-1"
    assert "raised RuntimeError: Fault raised at its step 1" in caught.value.cause
    assert "envs/counting.py" in caught.value.trace and "in collect" in caught.value.trace
    assert "3 restarts are used up" in caught.value.cause


@pytest.mark.parametrize(
    ("name", "kind", "cause"),
    [
        ("dupdate", "kill", "was killed by SIGKILL"),
        ("hogwild", "kill", "was killed by SIGKILL"),
        ("allreduce", "kill", "was killed by SIGKILL"),
        ("gorila", "kill", "was killed by SIGKILL"),
        ("dcollect", "nan", "raised NotFinite: the env of worker 1 returned a NaN"),
    ],
)
def test_a_worker_that_dies_is_named_with_its_cause(name: str, kind: str, cause: str) -> None:
    with pytest.raises(Failed) as caught:
        run(PARADIGMS[name], faulty(kind, max_ahead=64, env_steps=ENDLESS))
    assert caught.value.name == "worker-1"
    assert cause in caught.value.cause


@pytest.mark.parametrize("max_ahead", [0, 64])
def test_dcollect_replaces_a_worker_and_goes_on(
    max_ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Counter` checks every batch on the way: the open episode of the dead ends where it stood."""
    paces = counters(monkeypatch)
    notes: list[tuple[str, str]] = []

    def look(progress: Progress) -> None:
        notes.extend(progress.notes)
        if paces[0].ledger.own("collected", 1) > 200:  # the first life had 82 steps at most
            progress.stop()

    broken = faulty("kill", once=tmp_path / "once", max_ahead=max_ahead, env_steps=ENDLESS)
    ended = run(PARADIGMS["dcollect"], broken, look)
    assert ended.totals["restarts"] == ended.totals["lost"] == 1
    ((words, _),) = notes
    assert words.startswith("worker-1 ")
    assert words.endswith("and is replaced")
    assert ended.totals["updates"] > 0
    for number, stream in enumerate(ended.stored()):
        ends = stream["terminated"] | stream["truncated"]
        assert ends[:-1][stream["is_first"][1:]].all()
        lives = len({*stream["obs"][:, 2]})
        assert lives == (1 if number < ENVS else 2)


def test_a_learner_that_fails_takes_the_run_with_it() -> None:
    with pytest.raises(Failed) as caught:
        run(PARADIGMS["dcollect"], faulty("none", make_agent=Idler, batch_size=-1))
    assert caught.value.name == "learner"
    assert "in sample" in caught.value.trace


@pytest.mark.parametrize(
    "module",
    [dcollect, dupdate, hogwild, allreduce, gossip, gorila],
    ids=["dcollect", "dupdate", "hogwild", "allreduce", "gossip", "gorila"],
)
def test_a_worker_that_hangs_is_named_with_where_it_stands(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(Crew, heartbeat=2.0, restarts=0, seconds_to_stop=0.5)
    monkeypatch.setattr(module, "Crew", impatient)
    with pytest.raises(Failed) as caught:
        run(
            PARADIGMS[module.__name__.split(".")[-1]],
            faulty("hang", max_ahead=64, env_steps=ENDLESS),
        )
    assert caught.value.name == "worker-1"
    assert "has not reached link.go() for 2 s" in caught.value.cause
    assert "envs/counting.py" in caught.value.trace


class Slow(Idler):
    """A fragment of its updates takes longer than the heartbeat below."""

    def learn(self, batch: Batch) -> Learned:
        time.sleep(0.15)
        return super().learn(batch)


@pytest.mark.parametrize("module", [dcollect, hogwild], ids=["dcollect", "hogwild"])
def test_a_fragment_of_many_slow_updates_is_no_hang(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Crew", functools.partial(Crew, heartbeat=1.5))
    slow = job(agent=Slow, crew="process", env_steps=48, max_ahead=0)
    totals = run(PARADIGMS[module.__name__.split(".")[-1]], slow).totals
    assert totals["updates"] == totals["env_steps"] - 32 > 16


@FILES
def test_a_run_that_is_left_in_the_middle_leaves_nothing(name: str) -> None:
    steps = PARADIGMS[name].run(faulty("none"))
    for progress in steps:
        if progress.updates:
            break
    steps.close()


@FILES
def test_a_run_that_is_stopped_ends_with_its_result(name: str) -> None:
    ended = run(
        PARADIGMS[name],
        faulty("none", env_steps=ENDLESS),
        lambda progress: progress.updates > 50 and progress.stop(),
    )
    assert ended.totals["updates"] > 50
    assert ended.floats.isfinite().all()


def test_sequential_lets_the_error_through() -> None:
    with pytest.raises(RuntimeError, match=r"Fault raised at its step 1$"):
        broken = world("Fault", kwargs={"kind": "raise", "at": 1})
        run(PARADIGMS["sequential"], job(broken, Idler))


# Paradigms without gradients: a worker is replaced, and the bits are the same (law 21)


@pytest.mark.parametrize(
    ("kind", "cause", "trace"),
    [
        ("raise", "raised RuntimeError: Fault raised at its step 1", "in play"),
        ("kill", "was killed by SIGKILL", ""),
    ],
)
def test_an_evolving_worker_that_fails_too_often_is_named(
    kind: str, cause: str, trace: str
) -> None:
    with pytest.raises(Failed) as caught:
        run(EVOLVED["es"], faulty(kind, env_steps=ENDLESS))
    assert caught.value.name == "worker-1"
    assert cause in caught.value.cause and "3 restarts are used up" in caught.value.cause
    assert trace in caught.value.trace


def test_an_evolving_worker_that_hangs_is_named_with_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    impatient = functools.partial(Crew, heartbeat=2.0, restarts=0, seconds_to_stop=0.5)
    monkeypatch.setattr(evolution, "Crew", impatient)
    with pytest.raises(Failed) as caught:
        run(EVOLVED["es"], faulty("hang", env_steps=ENDLESS))
    assert caught.value.name == "worker-1"
    assert "has not reached link.go() for 2 s" in caught.value.cause
    assert "envs/counting.py" in caught.value.trace


class Mortal(SAC):
    """Kills its process at some of its calls of `act`, once each over all processes."""

    def __init__(self, *args: Any, once: str, **options: Any) -> None:
        super().__init__(*args, hidden_sizes=(16, 16), **options)
        self.once, self.calls = Path(once), 0

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        self.calls += 1
        if self.calls in (25, 61, 110):  # a few of a generation's 60 or 120
            with contextlib.suppress(FileExistsError):
                (self.once / str(self.calls)).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return super().act(obs, state, explore)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", EVOLVED)
def test_a_run_whose_evolving_workers_were_replaced_ends_with_the_same_bits(
    name: str, workers: int, tmp_path: Path
) -> None:
    mortal = functools.partial(Mortal, once=str(tmp_path))
    dying = run(EVOLVED[name], job(agent=mortal, crew="process", workers=workers, env_steps=720))
    assert dying.totals["restarts"] == dying.totals["lost"] == 3
    unhurt = run(EVOLVED[name], job(agent=mortal, env_steps=720))
    assert torch.equal(dying.floats, unhurt.floats)
    assert dying.totals["updates"] == unhurt.totals["updates"] == 6
    assert dying.totals["env_steps"] == unhurt.totals["env_steps"] == 720


def test_an_evolution_that_is_left_or_stopped_leaves_nothing() -> None:
    steps = EVOLVED["ars"].run(faulty("none", env_steps=ENDLESS))
    for progress in steps:
        if progress.updates:
            break
    steps.close()
    ended = run(
        EVOLVED["ars"],
        faulty("none", env_steps=ENDLESS),
        lambda progress: progress.updates > 3 and progress.stop(),
    )
    assert ended.totals["updates"] > 3
