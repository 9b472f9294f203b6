"""Every worker collects and learns, on tensors bound to one shared vector, without a lock.

    worker i: Actor.collect -> Replay -> learn on tensors *bound* to one shared vector

    copy: rollout     worker i: copy <- vector; Actor.collect on the copy -> Replay
                      learn on the copy -> gradient -> Adam on the shared vector -> copy

Recht et al. 2011, Hogwild!, arXiv:1106.5730; with `copy` the actors of Mnih et al. 2016,
Asynchronous Methods for Deep Reinforcement Learning, arXiv:1602.01783. With `locked` each optimiser
step is made under a lock.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from paradigms.base import Job, Progress, Result
from paradigms.loop.build import whose
from paradigms.loop.drive import Driver
from paradigms.loop.learning import Learning
from paradigms.runtime.crew import Crew
from paradigms.runtime.lock import Lock
from paradigms.weights.bound import Bound
from paradigms.weights.copied import Copied, InPlace

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

    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    @property
    def name(self) -> str:
        """The word of these settings."""
        return "locked" if self.locked else "hogwild" if self.copy == "none" else "a3c"

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `job.workers` processes, which are replaced if they die. Yields a Progress at each
        of their reports. Raises Failed if workers fail too often, Deadlock inline."""
        if self.copy not in STANDINGS:
            raise ValueError(f"paradigm.copy={self.copy} is unknown; choose none or rollout")
        run = Driver(job, workers=job.workers)
        bound = Bound(run.vector)
        lock = Lock() if self.locked else None
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(job.workers):
            ranks = whose(self.sample_from, run.components.replay, rank)
            args = (run.components, rank, bound, ranks, lock, STANDINGS[self.copy])
            crew.add(f"worker-{rank}", Learning, *args, rank=rank, restartable=True)
        return (yield from run.follow(crew, bound))
