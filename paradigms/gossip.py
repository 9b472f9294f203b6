"""Every worker collects and learns on a vector of its own; two at a time are averaged, at random.

    worker i: Actor.collect -> Replay -> learn on vector i -> every so often: i and j <- (i + j) / 2

Asynchronous decentralised parallel SGD, AD-PSGD: Lian et al. 2018, arXiv:1710.06952. Nobody is in
the middle.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from paradigms.base import Job, Progress, Result
from paradigms.loop.build import whose
from paradigms.loop.drive import Driver
from paradigms.loop.learning import Learning
from paradigms.loop.ledger import Ledger
from paradigms.runtime.crew import Crew
from paradigms.runtime.lock import Lock
from paradigms.weights.gossip import Gossip, Vectors


@dataclass(frozen=True)
class Gossiping:
    """every: calls of `learn` after which a worker averages with another one. sample_from: learn
    from everybody's transitions (`all`) or each worker from its `own`; None is `all` where the
    replay allows it.

    Parameters, moments, targets and statistics are averaged alike. What is evaluated and saved is
    the mean of all vectors. Deviation from the paper: it averages after every gradient.
    """

    every: Annotated[int, Ge(1), Le(10_000)] = 4
    sample_from: Literal["all", "own"] | None = None

    name = "gossip"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `job.workers` processes, which are replaced if they die. Yields a Progress at each
        of their reports. Raises Failed if workers fail too often, Deadlock inline, ValueError on a
        CUDA device."""
        run = Driver(job, workers=job.workers)
        vectors = Vectors(run.vector, [Lock() for _ in range(job.workers)])
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(job.workers):
            ranks = whose(self.sample_from, run.components.replay, rank)
            met = functools.partial(count, run.ledger, rank)
            stand = functools.partial(Gossip, rank=rank, every=self.every, seed=job.seed, met=met)
            args = (run.components, rank, vectors, ranks, vectors.locks[rank], stand)
            crew.add(f"worker-{rank}", Learning, *args, rank=rank, restartable=True)
        return (yield from run.follow(crew, vectors, moved=(vectors,)))


def count(ledger: Ledger, rank: int, averaged: bool) -> None:
    ledger.count("merges" if averaged else "lost", rank)
