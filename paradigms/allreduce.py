"""Every worker collects and has a whole replica; at each optimiser step gradients are averaged.

    worker i: Actor.collect -> Replay (shared)                          a round: all collect,
              its share of the batch -> learn -> gradient --> row i     then all learn
              Adam <- the mean of all rows, in the order of rank <--+

Synchronous data parallelism: Chen et al. 2016, Revisiting Distributed Synchronous SGD,
arXiv:1604.00981, without backup workers; with whole fragments the A2C of openai/baselines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from paradigms.base import Job, Progress, Result
from paradigms.errors import Stopped
from paradigms.experience.shares import make_share
from paradigms.loop.build import Components, whose
from paradigms.loop.drive import Driver
from paradigms.loop.every import Every
from paradigms.loop.ledger import LEARNER
from paradigms.runtime.crew import Crew
from paradigms.runtime.gathering import Called, Gathering
from paradigms.runtime.link import Link, Role
from paradigms.runtime.memory import Shared
from paradigms.weights.published import Weights
from paradigms.weights.reduced import Rows, Together

LEARNS_A_PUBLICATION = 16


@dataclass(frozen=True)
class AllReduce:
    """batch: `split` divides each batch among the workers, so that an update learns from as many
    transitions as sequential's; `each` gives every worker a whole batch, so that it learns from as
    many batches as there are workers. Either way a step of all workers is one update.

    Replicas have the same bits, and a run depends on its seed alone, in processes as inline. Rounds
    are always in lockstep, whatever `max_ahead` is: the policy lag is 0, but for a replay that is
    consumed once, whose round is `workers` updates: there it is workers - 1 calls of `learn`. When
    a worker has been replaced, all go back to the weights published last, and on from there.
    """

    batch: Literal["split", "each"] = "split"

    name = "allreduce"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `job.workers` processes, which are replaced if they die. Yields a Progress at each
        of their reports. Raises Failed if workers fail too often, Deadlock inline, ValueError for a
        batch that cannot be divided."""
        if self.batch == "split" and job.batch_size is not None and job.batch_size < job.workers:
            raise ValueError(
                f"replay.batch_size={job.batch_size} cannot be divided among workers={job.workers}:"
                " make it larger, or set paradigm.batch=each"
            )
        run = Driver(job, workers=job.workers)
        weights = Weights(run.vector, "all", version=run.ledger.total("updates"))
        rows, rounds = Rows(run.vector, job.workers), Rounds(job.workers)
        gathering = Gathering(job.workers)
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(job.workers):
            args = (run.components, rank, weights, rows, rounds, gathering, self.batch)
            crew.add(f"worker-{rank}", Replica, *args, rank=rank, restartable=True)
        return (yield from run.follow(crew, weights, moved=(rows, weights)))


class Rounds:
    """Who has stored the fragment of which round, and what worker 0 then decides for all, in shared
    memory: rounds count from 1, and 0 is what a resumed run begins with. Every cell has one writer,
    and nothing blocks. Worker 0 reads what all have stored before it decides, and all read that
    before they learn, so that nobody is ever a round ahead."""

    def __init__(self, workers: int) -> None:
        self._stored = Shared((workers, 8), np.int64)  # rounds, transitions, version
        self._decided = Shared(8, np.int64)  # rounds + 1, learns, whether it is the last
        self._progress = Shared(1, np.float64)
        self._published = Shared(2, np.int64)  # version, learns

    def begin(self) -> None:
        """Forgets all rounds, so that the next is number 0. While nobody else does anything."""
        self._stored.array[:, 0] = self._decided.array[0] = 0

    def publishes(self, version: int, learns: int) -> None:
        """What worker 0 is about to publish, and the learns behind it."""
        self._published.array[:] = version, learns

    def published(self) -> tuple[int, int]:
        version, learns = self._published.array
        return int(version), int(learns)

    def store(self, rank: int, transitions: int, version: int) -> None:
        """A worker's fragment of its next round is in the replay."""
        row = self._stored.array[rank]
        row[1:3] = transitions, version
        row[0] += 1

    def stored(self, rank: int, number: int) -> bool:
        """Whether a worker's fragment of round `number` is there."""
        return bool(self._stored.array[rank, 0] >= number)

    def fragment(self, rank: int) -> tuple[int, int]:
        """(transitions, policy version) of the fragment that a worker stored last."""
        transitions, version = self._stored.array[rank, 1:3]
        return int(transitions), int(version)

    def decide(self, number: int, learns: int, progress: float, *, last: bool) -> None:
        """What follows round `number`."""
        self._decided.array[1:3], self._progress.array[0] = (learns, last), progress
        self._decided.array[0] = number + 1

    def decided(self, number: int) -> bool:
        return bool(self._decided.array[0] > number)

    def decision(self) -> tuple[int, float, bool]:
        """(learns, the share of the budget that is done, whether it was the last round)."""
        _, learns, last = self._decided.array[:3]
        return int(learns), float(self._progress.array[0]), bool(last)


class Replica(Role):
    """A worker: collect, learn together with all others, and again. Worker 0 also counts, decides
    and publishes."""

    def __init__(
        self,
        components: Components,
        rank: int,
        weights: Weights,
        rows: Rows,
        rounds: Rounds,
        gathering: Gathering,
        batch: str,
    ) -> None:
        self.components, self.rank, self.weights = components, rank, weights
        self.rows, self.rounds, self.gathering, self.batch = rows, rounds, gathering, batch

    def run(self, link: Link) -> None:
        parts, rank, ledger = self.components, self.rank, self.components.ledger
        if link.life:
            ledger.count("lost", rank)
            self.gathering.call()
        self.agent = agent = parts.agent()
        self.share = share = make_share(self.batch, parts.replay, rank, ledger.workers)
        with contextlib.suppress(Stopped):
            self.epoch = self.gathering.gather(link, rank, self.repair)
            self.together = agent.optim = Together(
                agent,
                self.rows,
                rank,
                weight=lambda: share.count,
                wait=lambda ready: self.wait(link, "gradients", ready),
            )
            ranks = whose(None, parts.replay, rank)
            self.learner = parts.learner(agent, rank=rank, source=share, ranks=ranks)
            self.actor, self.should_log = parts.actor(agent, rank), Every(seconds=1.0)
            try:
                while not self.go_on(link):
                    self.epoch = self.gathering.gather(link, rank, self.repair)
            finally:
                self.actor.env.close()

    def go_on(self, link: Link) -> bool:
        """Rounds from the weights published last. False if a worker was replaced meanwhile."""
        parts, rank, ledger = self.components, self.rank, self.components.ledger
        self.weights.pull(self.agent.vector)  # a resumed run has learned already
        self.learns, number = ledger.own("learns", LEARNER), 0
        self.together.begin()
        self.share.begin()
        try:
            self.learn(link, number)  # what a resumed run owes
            while link.go(until=lambda: self.last):
                with ledger.timed("collecting", rank):
                    fragment = self.actor.collect(version=self.version)
                ledger.collected(rank, fragment.n_valid, self.actor.take_episodes())
                self.rounds.store(rank, parts.replay.add(fragment), fragment.version)
                number += 1
                self.learn(link, number)
                if rank == 0 and self.should_log():
                    link.report(self.learner.metrics())
            if rank == 0:
                self.gathering.end()
            self.wait(link, "end", self.gathering.ended)
        except Called:
            return False
        return True

    @property
    def version(self) -> int:
        """The updates behind this replica. (The ledger's may be counted a moment later.)"""
        return int(self.agent.vector.counts[0])

    def learn(self, link: Link, number: int) -> None:
        """The learns that are due after round `number`, together with all. Raises Stopped when the
        crew is asked to stop, Called when a worker has been replaced."""
        if self.rank == 0:
            self.decide(link, number)
        self.wait(link, "decision", lambda: self.rounds.decided(number))
        learns, progress, self.last = self.rounds.decision()
        self.learner.reached(progress)
        for left in reversed(range(learns)):
            link.busy(60)
            with self.components.ledger.timed("learning", self.rank):
                self.learner.update(self.learns)
                self.together.finish()
            self.learns += 1
            if self.rank == 0 and (left == 0 or self.learns % LEARNS_A_PUBLICATION == 0):
                self.publish(link)

    def decide(self, link: Link, number: int) -> None:
        """Worker 0 counts the fragments of round `number`, once all are there, and says how many
        learns are due."""
        ledger, pace = self.components.ledger, self.components.pace
        for rank in range(ledger.workers if number else 0):
            self.wait(link, "fragment", lambda: self.rounds.stored(rank, number))  # noqa: B023
            with link.event("drain", worker=rank) as event:
                event.count, version = self.rounds.fragment(rank)
                ledger.stored(rank, event.count, version)
        learns = pace.claim_together(self.share.parts)
        self.rounds.decide(number, learns, pace.progress(), last=pace.spent())

    def publish(self, link: Link) -> None:
        """Worker 0 shows everybody's weights and counts the updates."""
        self.rounds.publishes(self.version, self.learns)
        with link.event("publish", written=self.version):
            self.weights.publish(self.agent.vector, self.version)
        self.count(self.version, self.learns)

    def count(self, updates: int, learns: int) -> None:
        ledger = self.components.ledger
        made = updates - ledger.total("updates")
        ledger.learned(LEARNER, made, learns - ledger.own("learns", LEARNER))

    def repair(self) -> None:
        """Worker 0 makes the counters agree with the weights and the replay, after a worker died.
        Nobody else does anything."""
        parts, ledger = self.components, self.components.ledger
        version, learns = self.rounds.published()
        if version == self.weights.version:  # else whoever published it died before
            self.count(version, learns)
        ledger.column("granted")[LEARNER] = ledger.own("learns", LEARNER)
        for rank in range(ledger.workers):
            ledger.stored(rank, parts.uncounted(rank), ledger.total("updates"))
            ledger.withdraw(rank)
        self.rows.begin()
        self.rounds.begin()

    def wait(self, link: Link, what: str, ready: Callable[[], object]) -> bool:
        self.gathering.wait(link, self.epoch, what, ready)
        return True
