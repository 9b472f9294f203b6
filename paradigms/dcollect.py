"""Workers collect, the learner updates: actor-learner, as in IMPALA and Ape-X.

worker i: env <-> Actor.collect -> [Channel] -> learner: Replay -> learn -> Weights.publish
          Agent_i <- Weights.pull <---------------------------------------------+
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from paradigms.base import Job, Progress, Result
from paradigms.experience.channel import Channel
from paradigms.loop.build import Components
from paradigms.loop.drive import Driver
from paradigms.loop.every import Every
from paradigms.loop.ledger import LEARNER
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.published import Weights


@dataclass(frozen=True)
class DCollect:
    """chunk: at most so many updates between two looks at the channel. depth: fragments of one
    worker that may be in flight.

    With replay=rollout or replay=fifo a batch is `replay.fragments` fragments, 1 by default,
    whoever collected them: the batches and the updates per env step are those of every other
    paradigm, and the price is a policy lag of up to workers - 1 calls of `learn`.
    """

    chunk: Annotated[int, Ge(1)] = 16
    depth: Annotated[int, Ge(1), Le(1024)] = 4

    name = "dcollect"
    workers = None
    needs = frozenset[str]()
    offers = frozenset({"evaluation.where=worker", "policy_lag"})

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `job.workers` actor processes, which are replaced if they die, and a learner.

        Yields a Progress at each of their reports. Raises Failed if the learner fails, or workers
        too often; Deadlock inline.
        """
        run = Driver(job, workers=job.workers)
        weights = Weights(
            run.vector, "all", version=run.ledger.total("updates"), keep=job.policy_lag
        )
        channel = Channel(run.components.replay.layout, job.workers, self.depth)
        crew = Crew(job.crew, job.order, journal=job.journal)
        crew.add("learner", CentralLearner, run.components, channel, weights, self.chunk)
        for rank in range(job.workers):
            args = (run.components, rank, channel, weights)
            crew.add(f"worker-{rank}", ActorWorker, *args, rank=rank, restartable=True)
        return (yield from run.follow(crew, weights, moved=(channel, weights), counted=(weights,)))


class ActorWorker(Role):
    """A worker: pull, collect a fragment, put it into the channel."""

    def __init__(
        self, components: Components, rank: int, channel: Channel, weights: Weights
    ) -> None:
        self.components, self.rank = components, rank
        self.channel, self.weights = channel, weights

    def run(self, link: Link) -> None:
        parts, rank, channel = self.components, self.rank, self.channel
        job, ledger, pace = parts.job, parts.ledger, parts.pace
        if link.life:
            self.recover()
        agent = parts.agent()
        actor, evaluation = parts.actor(agent, rank), parts.evaluation(agent, rank)
        lockstep = pace.max_ahead == 0  # there the learner ends the run, after a whole round
        while link.go(until=lambda: not lockstep and pace.spent(rank)):
            if not link.wait("pace", lambda: pace.may_collect(rank), rate_limit=True):
                break
            with link.event("pull") as event:
                lag = job.policy_lag
                event.read = self.weights.pull(agent.vector, "act", policy_lag=lag)
            with ledger.timed("collecting", rank):
                fragment = actor.collect(event.read)
            if not link.wait("space", lambda: channel.has_space(rank)):
                break
            channel.put(fragment)
            ledger.collected(rank, fragment.n_valid, actor.take_episodes())
            if evaluation is not None and evaluation.due(actor.steps):
                ledger.evaluated(rank, *evaluation.run())
        actor.env.close()

    def recover(self) -> None:
        """What the worker that this one replaces was collecting is lost. What it had sent and not
        counted is counted, so that the next fragment, which begins new episodes, follows it."""
        ledger, rank, channel = self.components.ledger, self.rank, self.channel
        ledger.count("lost", rank)
        if sent := int(channel.sent[rank]):
            last = channel.peek(rank, sent - 1)
            if last.number == ledger.own("fragments", rank):
                ledger.collected(rank, last.n_valid)


class CentralLearner(Role):
    """The learner: store what has arrived, learn while updates are due, publish."""

    def __init__(
        self, components: Components, channel: Channel, weights: Weights, chunk: int
    ) -> None:
        self.components, self.channel = components, channel
        self.weights, self.chunk = weights, chunk

    def run(self, link: Link) -> None:
        parts, ledger, pace = self.components, self.components.ledger, self.components.pace
        agent = parts.agent()
        self.weights.pull(agent.vector)  # a resumed run has learned already
        learner = parts.learner(agent)
        should_log = Every(seconds=1.0)
        take = self.take_round if pace.max_ahead == 0 else self.take_arrived
        while link.go(until=lambda: pace.spent() and not pace.debt()):
            if not take(link):
                break
            learner.reached(pace.progress())
            while grant := pace.claim(self.chunk):
                first, version = ledger.total("learns"), ledger.total("updates")
                link.busy(60)
                with link.event("learn", count=grant), ledger.timed("learning", LEARNER):
                    version += sum(learner.update(first + k) for k in range(grant))
                with link.event("publish", written=version):
                    self.weights.publish(agent.vector, version)
                ledger.learned(LEARNER, version - ledger.total("updates"), grant)
                if pace.max_ahead:
                    break
            if not pace.spent():
                ledger.count("rounds", LEARNER)
            if should_log():
                link.report(learner.metrics() | {"queue/depth": float(self.channel.waiting())})
        link.finish()

    def take_arrived(self, link: Link) -> bool:
        """Stores every fragment that is there; waits for one if no update is due."""
        if not self.components.pace.debt() and not link.wait("fragment", self.channel.filled):
            return False
        while (rank := link.pick("drain", self.channel.filled)) is not None:
            self.store(link, rank)
        return True

    def take_round(self, link: Link) -> bool:
        """Stores one fragment of each worker, in the order of rank."""
        for rank in range(self.channel.workers):
            if not link.wait("fragment", lambda: rank in self.channel.filled()):  # noqa: B023
                return False
            self.store(link, rank)
        return True

    def store(self, link: Link, rank: int) -> None:
        with link.event("drain", worker=rank) as event:
            fragment = self.channel.get(rank)
            event.count = self.components.replay.add(fragment)
            self.components.ledger.stored(rank, event.count, fragment.version)
            self.channel.free(rank)
