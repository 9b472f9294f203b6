"""A small run of each paradigm with its processes watched, and what must hold at its end."""

from __future__ import annotations

import functools
import multiprocessing
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.breaking.probes import EXIT_CODE, Marks, WatchedAgents, WatchedEnvs
from benchmarks.breaking.world import check, identities
from conf.build import assemble
from conf.compose import compose
from conf.nodes import modules
from paradigms.base import Job, Progress, Result
from paradigms.experience.layout import layout_of
from paradigms.loop import drive
from paradigms.loop.ledger import Ledger
from paradigms.runtime import restarts, start
from paradigms.runtime.crew import Crew
from paradigms.session.checkpoint import Checkpoints

WORKERS, ROLLOUT = 2, 16
LONGEST = 16 * 2 * 11  # env steps of a generation: pairs, their halves, steps of an episode
COMMON = (
    "env=gym",
    "env.id=benchmarks.breaking.world:chaos/Counting-v0",
    f"workers={WORKERS}",
    "num_envs=1",
    f"rollout_length={ROLLOUT}",
    "budget.env_steps=1000000000",
    "agent.hidden_sizes=[32,32]",
)
KEEPS = ("warmup=64", "replay.batch_size=32", "replay.capacity=20000")
SAC = ("agent=sac", *KEEPS)
DQN = ("agent=dqn", "env.kwargs={choices:3}", *KEEPS)
APEX = ("agent=apex_dqn", "agent.n_step=1", "env.kwargs={choices:3}", *KEEPS)
SETTINGS: dict[str, Sequence[str]] = {  # of each paradigm with workers, an agent that fits
    "dcollect": SAC,
    "impala": (),
    "apex": APEX,
    "dupdate": SAC,
    "hogwild": SAC,
    "locked": SAC,
    "a3c": ("agent=actor_critic", "num_envs=2"),
    "async_dqn": DQN,
    "allreduce": ("agent=ppo", "num_envs=2", "agent.epochs=2", "agent.minibatches=2"),
    "gossip": SAC,
    "gorila": (*DQN, "paradigm.shards=2"),
    "es": ("agent=sac",),
    "ars": ("agent=sac",),
}
ON_PURPOSE = (  # what a run says of processes that faults.py has befallen
    "was killed by SIGKILL",
    "raised on purpose",
    f"exited with code {EXIT_CODE}",
    "has not reached link.go()",
)
CENTRAL = frozenset({"dcollect", "impala", "apex"})  # whose learner alone learns
EVOLVED = frozenset({"es", "ars"})  # they store and learn from no transitions
RACING = frozenset({"hogwild", "a3c", "async_dqn"})  # two at once may take a count back by one
ALONE = frozenset({"hogwild", "locked", "a3c", "async_dqn", "gossip"})  # workers count all they do


class WatchedRun:
    """One run: `for progress in run: ...`, then `run.audit(...)`. heartbeat: its crew's.

    folder: where checkpoints go, by `save`.
    """

    def __init__(self, name: str, *, seed: int, folder: Path, heartbeat: float = 60.0) -> None:
        setup = compose([f"paradigm={name}", *COMMON, *SETTINGS[name], f"seed={seed}"])
        start.warm(*modules(setup.values), "benchmarks.breaking.probes")
        job, self.paradigm = assemble(setup.values, started=time.time())
        self.name, self.heartbeat, self.marks = name, heartbeat, Marks(job.workers)
        self.job = replace(
            job,
            make_agent=WatchedAgents(job.make_agent, self.marks),
            make_env=WatchedEnvs(job.make_env, self.marks),
        )
        self.saved = Checkpoints(folder, keep=2)
        self.ledgers = list[Ledger]()
        self.noticed = 0.0  # when the run last said that a process has failed
        self.seen = 0, 0  # updates, and the version of the newest weights
        self.result: Result | None = None
        self.progress: Progress | None = None

    @property
    def ledger(self) -> Ledger:
        """Of the run that is going on."""
        return self.ledgers[-1]

    @property
    def piece(self) -> int:
        """Env steps that one fault may cost: a fragment, or a worker's episodes."""
        return LONGEST if self.name in EVOLVED else ROLLOUT * self.job.num_envs

    def __iter__(self) -> Iterator[Progress]:
        return self.go(self.job)

    def go(self, job: Job) -> Generator[Progress]:
        """The progress of a job. Any number of replacements is allowed, and none of them waits: a
        process of a watched run fails within ten seconds of its start, and is no loop of failures.
        """
        module = sys.modules[type(self.paradigm).__module__]
        patient = functools.partial(Crew, restarts=10**6, heartbeat=self.heartbeat)
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(module, "Crew", patient))
            stack.enter_context(mock.patch.object(drive, "Ledger", self._noted))
            stack.enter_context(mock.patch.object(restarts, "SECONDS_OF_YOUTH", 0.0))
            run = stack.enter_context(closing(self.paradigm.run(job)))
            while True:
                try:
                    self.progress = progress = next(run)
                except StopIteration as end:
                    self.result = end.value
                    return
                self._look(progress)
                for words, trace in progress.notes:
                    self.noticed = time.monotonic()
                    assert any(cause in words for cause in ON_PURPOSE), f"{words}\n{trace}"
                yield progress

    def save(self) -> None:
        """Writes a checkpoint, as a session does."""
        assert self.progress is not None
        self.saved.save(
            {"run": self.progress.save(), "env_steps": self.progress.env_steps},
            self.progress.env_steps,
        )

    def audit(self, failed: int) -> dict[str, Any]:
        """Asserts what docs/reliability.md promises of a run that is over, in which so many
        processes have failed, and returns its totals."""
        assert self.result is not None and self.progress is not None
        totals, ledger = self.result.totals, self.ledger
        assert totals["restarts"] == failed, totals
        left_out = totals["skipped"] if self.name == "gorila" else 0  # gradients that were not sent
        assert totals["lost"] <= failed + left_out, totals
        assert self.result.final.floats.isfinite().all()
        collected, added = ledger.total("collected"), ledger.total("added")
        under_way = self.job.workers * self.piece * (8 if self.name in CENTRAL else 1)
        most = failed * self.piece + under_way
        assert 0 <= collected - added <= most, totals
        assert -failed <= self.marks.steps() - collected <= most, (self.marks.steps(), totals)
        if self.name in ALONE:
            assert collected == added, totals
            assert ledger.total("granted") == ledger.total("learns")
        state = self.progress.save()["replay"]
        if "transitions" in state:
            self._audit_stored(state, added)
        assert not multiprocessing.active_children()
        return totals

    def whole(self) -> dict[str, Any]:
        """The last checkpoint. Raises AssertionError if it is not of the run's end."""
        assert self.progress is not None
        state = self.saved.newest()
        assert state["env_steps"] == self.progress.env_steps
        return state

    def resume(self, state: dict[str, Any]) -> None:
        """Asserts that a run goes on from a checkpoint of the run's end."""
        assert self.progress is not None
        updates, self.seen = self.progress.updates, (0, 0)
        with closing(self.go(replace(self.job, resume=state["run"]))) as run:
            for progress in run:
                if progress.updates > updates and progress.env_steps > state["env_steps"]:
                    break
        assert not multiprocessing.active_children()

    def _audit_stored(self, state: dict[str, Any], added: int) -> None:
        """Of a replay that keeps transitions: as many as were counted, each whole and once."""
        behind = int(np.sum(state["heads"])) - added  # what the learner has not heard of yet
        assert 0 <= behind <= self.job.workers * self.piece * (self.name == "dupdate"), behind
        extras = self.job.make_agent(self.job.spec, seed=0, device="cpu").extras
        spec = self.job.spec.with_extras(extras)
        layout = layout_of(self.job.make_replay, spec, self.job.rollout_length, self.job.num_envs)
        seen = []
        for packed in state["transitions"]:
            stream = np.asarray(packed).view(layout.transition)[:-1, 0]  # the last is no transition
            names = ("obs", "action", "reward", "terminated", "truncated")
            check(**{name: stream[name] for name in names}, next_obs=None)
            assert (np.diff(stream["version"]) >= 0).all(), "an older policy after a newer one"
            seen.append(identities(stream["obs"]))
        every = np.concatenate(seen)
        assert len(np.unique(every, axis=0)) == len(every), "a transition is stored twice"

    def _look(self, progress: Progress) -> None:
        """Asserts that neither updates nor weights are taken back."""
        version = 0 if self.name in RACING else progress.snapshot("act").version
        updates, before = self.seen
        assert progress.updates >= updates, f"{updates} updates became {progress.updates}"
        assert version >= before, f"version {before} of the weights became {version}"
        self.seen = progress.updates, version

    def _noted(self, *args: Any, **options: Any) -> Ledger:
        self.ledgers.append(Ledger(*args, **options))
        return self.ledgers[-1]


def processes() -> dict[str, int]:
    """The pid of each role."""
    found = multiprocessing.active_children()
    return {child.name: child.pid for child in found if child.pid is not None}
