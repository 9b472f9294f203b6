"""Every worker collects and learns, on tensors bound to one shared vector, without a lock.

    worker i: Actor.collect -> Replay -> learn on tensors *bound* to one shared vector

    copy: rollout     worker i: copy <- vector; Actor.collect on the copy -> Replay
                      learn on the copy -> gradient -> Adam on the shared vector -> copy

Recht et al. 2011, Hogwild!, arXiv:1106.5730; with `copy` the actors of Mnih et al. 2016,
Asynchronous Methods for Deep Reinforcement Learning, arXiv:1602.01783. With `locked` each optimiser
step is made under a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from agents.parts.optim import Local, Locked
from paradigms.base import Job, Progress, Result
from paradigms.loop.build import Components, whose
from paradigms.loop.drive import Driver
from paradigms.loop.every import Every
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.runtime.start import context
from paradigms.weights.bound import Bound
from paradigms.weights.copied import Copied, InPlace, Standing

STANDINGS = {"none": InPlace, "rollout": Copied}


@dataclass(frozen=True)
class Hogwild:
    """Parameters, moments, step counts and targets are shared before any process starts; gradients
    are private. sample_from: learn from everybody's transitions (`all`) or each worker from its
    `own`; None is `all` where the replay allows it.

    copy: with `rollout` each worker acts and differentiates on a copy of its own, fetched before
    every fragment and before every `learn` but the first after it, which so learns where the
    fragment was collected; its gradients move the shared vector."""

    locked: bool = False
    sample_from: Literal["all", "own"] | None = None
    copy: Literal["none", "rollout"] = "none"

    name = "hogwild"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `job.workers` processes. Yields a Progress at each of their reports. Raises Failed
        with the first worker that fails, Deadlock inline."""
        if self.copy not in STANDINGS:
            raise ValueError(f"paradigm.copy={self.copy} is unknown; choose none or rollout")
        run = Driver(job, workers=job.workers)
        bound = Bound(run.vector)
        lock = context().Lock() if self.locked else None
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(job.workers):
            ranks = whose(self.sample_from, run.components.replay, rank)
            args = (run.components, rank, bound, ranks, lock, STANDINGS[self.copy])
            crew.add(f"worker-{rank}", HogwildWorker, *args, rank=rank)
        return (yield from run.follow(crew, bound))


class HogwildWorker(Role):
    """A worker: the sequential loop, on shared tensors (or copies of them) and a share of the
    counters."""

    def __init__(
        self,
        components: Components,
        rank: int,
        bound: Bound,
        ranks: tuple[int, ...] | None,
        lock: AbstractContextManager[bool] | None,
        stand: Callable[..., Standing],
    ) -> None:
        self.components, self.rank, self.bound = components, rank, bound
        self.ranks, self.lock, self.stand = ranks, lock, stand

    def run(self, link: Link) -> None:
        parts, rank = self.components, self.rank
        ledger, pace = parts.ledger, parts.pace
        agent = parts.agent()
        adam = Local(before_step=None if self.lock else link.give_way)
        standing = self.stand(agent, self.bound, adam, parts.agent)
        agent.optim = standing.optim
        if self.lock is not None:
            agent.optim = Locked(agent.optim, self.lock, before_step=link.give_way)
        actor = parts.actor(agent, rank)
        learner = parts.learner(agent, rank=rank, ranks=self.ranks)
        should_log = Every(seconds=1.0)
        while link.go(until=lambda: pace.spent(rank)):
            standing.fetch()
            with ledger.timed("collecting", rank):
                fragment = actor.collect(version=ledger.total("updates"))
            ledger.collected(rank, fragment.n_valid, actor.take_episodes())
            ledger.stored(rank, parts.replay.add(fragment), fragment.version)

            learner.reached(pace.progress())
            fresh = True  # the copy is that with which the fragment was collected
            with ledger.timed("learning", rank):
                while pace.claim(1, rank) and not link.stopping:
                    link.busy(60)
                    if not fresh:
                        standing.fetch()
                    made = learner.update(ledger.own("learns", rank))
                    standing.give()
                    ledger.learned(rank, made)
                    fresh = False
            if should_log():
                link.report(learner.metrics())
        actor.env.close()
