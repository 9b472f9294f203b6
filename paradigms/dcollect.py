"""Workers collect, the learner updates.

worker i: env <-> Actor.collect -> [Channel] -> learner: Replay -> learn -> Weights.publish
          Agent_i <- Weights.pull <---------------------------------------------+
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.experience.channel import Channel
from paradigms.experience.replay import Replay
from paradigms.loop.build import make_actor, make_agent, make_learner, note_collected
from paradigms.loop.drive import make_components
from paradigms.loop.episodes import Examiner
from paradigms.loop.pace import Pace
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.published import Weights


@dataclass(frozen=True)
class DCollect:
    """`chunk`: at most so many times the learner learns between two looks at the channel."""

    chunk: int = 16
    depth: int = 4

    name = "dcollect"
    workers = None
    needs = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        components = make_components(job, workers=job.workers)
        job, vector, replay, pace = (
            components.job,
            components.vector,
            components.replay,
            components.pace,
        )
        channel = Channel(replay.layout, job.workers, self.depth)
        made = pace.total("updates")
        served = Weights(vector, "evaluate", version=made, policy_lag=job.policy_lag)
        whole = Weights(vector, "all", version=made)  # what a checkpoint holds
        crew = Crew(job.crew, job.order, journal=job.journal)
        crew.add("learner", CentralLearner, job, replay, pace, channel, served, whole, self.chunk)
        for rank in range(job.workers):
            args = (job, rank, replay, pace, channel, served)
            crew.add(f"worker-{rank}", ActorWorker, *args, rank=rank, restartable=True)

        def snapshot(part: str) -> Snapshot:
            return (whole if part == "all" else served).snapshot(part, vector.size(part))

        def bytes_moved() -> int:
            return channel.bytes_moved + served.bytes_moved + whole.bytes_moved

        def dropped() -> int:
            return pace.total("collected") - pace.total("added")

        return (
            yield from components.follow(crew, snapshot, dropped=dropped, bytes_moved=bytes_moved)
        )


class ActorWorker(Role):
    """A worker: pull, collect a fragment, put it into the channel."""

    def __init__(
        self, job: Job, rank: int, replay: Replay, pace: Pace, channel: Channel, served: Weights
    ) -> None:
        self.job, self.rank = job, rank
        self.replay, self.pace, self.channel, self.served = replay, pace, channel, served

    def run(self, link: Link) -> None:
        rank, pace, channel = self.rank, self.pace, self.channel
        agent = make_agent(self.job)
        actor = make_actor(self.job, agent, self.replay, pace, rank)
        examiner = Examiner(self.job, agent, rank) if self.job.evaluate_in_worker else None
        told = 0.0
        lockstep = pace.max_ahead == 0  # there the learner ends it, after a whole round
        while link.go(until=lambda: not lockstep and pace.spent(rank)):
            if not link.wait("pace", lambda: pace.may_collect(rank), rate_limit=True):
                break
            with link.event("pull") as event:
                event.read = self.served.pull(agent.vector, "act")
            fragment = actor.collect(event.read)
            if not link.wait("room", lambda: channel.has_room(rank)):
                break
            channel.put(fragment)  # first: who is killed here collects it again, and it is dropped
            metrics = note_collected(actor, pace, rank, fragment.steps)
            if examiner is not None and examiner.due(actor.steps):
                metrics |= examiner.examine()
            if metrics and time.monotonic() - told > 0.5:
                told = time.monotonic()
                link.report(metrics)
        actor.env.close()


class CentralLearner(Role):
    """The learner: take what has arrived, learn what is owed, publish."""

    def __init__(
        self,
        job: Job,
        replay: Replay,
        pace: Pace,
        channel: Channel,
        served: Weights,
        whole: Weights,
        chunk: int,
    ) -> None:
        self.job, self.replay, self.pace, self.channel = job, replay, pace, channel
        self.served, self.whole, self.chunk = served, whole, chunk

    def run(self, link: Link) -> None:
        job, pace = self.job, self.pace
        agent = make_agent(job)
        self.whole.pull(agent.vector)  # what a resumed run had learned
        learner = make_learner(job, agent, self.replay)
        self.learner = learner
        told = 0.0
        while link.go(until=lambda: pace.spent() and not pace.debt()):
            take = self._round if job.max_ahead == 0 else self._arrived
            if not take(link):
                break
            agent.progress = pace.share()
            agent.optim.lr_factor = job.lr_schedule(agent.progress)
            while grant := pace.claim(self.chunk):
                first, version = pace.total("learns"), pace.total("updates")
                link.busy(60)
                with link.event("learn", count=grant):
                    version += sum(learner.update(first + k) for k in range(grant))
                with link.event("publish", written=version):
                    self.served.publish(agent.vector, version)
                self.whole.publish(agent.vector, version)
                pace.learned(-1, version - pace.total("updates"), grant)
                if job.max_ahead:
                    break
            if not pace.spent():
                pace.count("rounds", -1)
            if time.monotonic() - told > 1:
                told = time.monotonic()
                link.report(learner.metrics() | {"queue/depth": float(self.channel.waiting())})
        link.finish()

    def _arrived(self, link: Link) -> bool:
        """Takes all that is there; with nothing owed, waits for more."""
        if not self.pace.debt() and not link.wait("fragment", self.channel.filled):
            return False
        while (rank := link.pick("drain", self.channel.filled)) is not None:
            self._take(link, rank)
        return True

    def _round(self, link: Link) -> bool:
        """Takes one fragment from each worker, in the order of rank."""
        for rank in range(self.channel.workers):
            if not link.wait("fragment", lambda: rank in self.channel.filled()):  # noqa: B023
                return False
            self._take(link, rank)
        return True

    def _take(self, link: Link, rank: int) -> None:
        with link.event("drain", worker=rank) as event:
            fragment = self.channel.get(rank)
            self.learner.arrived(fragment, self.pace.total("updates"))
            event.count = self.replay.add(fragment)
            self.pace.arrived(rank, event.count)
            self.channel.free(rank)
