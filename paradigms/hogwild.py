"""Every worker collects and learns, on tensors bound to one shared vector, without a lock.

    worker i: Actor.collect -> Replay -> learn on tensors *bound* to one shared vector

Niu et al. 2011, Hogwild!, arXiv:1106.5730. With `locked` each optimiser step is made under a lock.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from agents.parts.optim import Local, Locked
from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.experience.replay import Replay
from paradigms.loop.build import make_actor, make_agent, make_learner, note_collected, whose
from paradigms.loop.drive import make_components
from paradigms.loop.pace import Pace
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.runtime.start import context
from paradigms.weights.bound import Bound


@dataclass(frozen=True)
class Hogwild:
    """Parameters, moments, step counts and targets are shared before any process starts; gradients
    are private. `rows`: learn from everybody's rows (`all`) or each worker from its `own`; None
    is `all` where the replay says so."""

    locked: bool = False
    sample_from: str | None = None

    name = "hogwild"
    workers = None
    needs = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        components = make_components(job, workers=job.workers)
        job, vector = components.job, components.vector
        bound = Bound(vector)
        crew = Crew(job.crew, job.order, journal=job.journal)
        lock = context().Lock() if self.locked else None
        for rank in range(job.workers):
            ranks = whose(self.sample_from, components.replay, rank)
            args = (job, rank, components.replay, components.pace, bound, ranks, lock)
            crew.add(f"worker-{rank}", HogwildWorker, *args, rank=rank)

        def snapshot(part: str) -> Snapshot:
            return bound.snapshot(part, vector.size(part))

        return (yield from components.follow(crew, snapshot))


class HogwildWorker(Role):
    """A worker: the sequential loop, on shared tensors and a share of the counters."""

    def __init__(
        self,
        job: Job,
        rank: int,
        replay: Replay,
        pace: Pace,
        bound: Bound,
        ranks: tuple[int, ...] | None,
        lock: AbstractContextManager[bool] | None,
    ) -> None:
        self.job, self.rank, self.replay, self.pace = job, rank, replay, pace
        self.bound, self.ranks, self.lock = bound, ranks, lock

    def run(self, link: Link) -> None:
        job, rank, pace = self.job, self.rank, self.pace
        agent = make_agent(job)
        self.bound.bind(agent.vector)
        if self.lock is None:
            agent.optim = Local(turn=link.give_way)
        else:
            agent.optim = Locked(Local(), self.lock, turn=link.give_way)
        actor = make_actor(job, agent, self.replay, pace, rank)
        learner = make_learner(job, agent, self.replay, rank, ranks=self.ranks)
        told = 0.0
        while link.go(until=lambda: pace.spent(rank)):
            fragment = actor.collect(version=pace.total("updates"))
            learner.arrived(fragment, pace.total("updates"))
            metrics = note_collected(actor, pace, rank, fragment.steps)
            pace.arrived(rank, self.replay.add(fragment))

            agent.progress = pace.share()
            agent.optim.lr_factor = job.lr_schedule(agent.progress)
            while pace.claim(1, rank) and not link.stopping:
                link.busy(60)
                pace.learned(rank, learner.update(pace.own("learns", rank)))

            if time.monotonic() - told > 1:
                told = time.monotonic()
                link.report(metrics | learner.metrics())
        actor.env.close()
