"""The learner hands out tasks; workers collect or train; the learner merges what comes back.

learner -- COLLECT --> worker i: pull `act`, Actor.collect -> shared Replay
        -- TRAIN ----> worker i: pull `all`, learn on batches that it draws (or that the learner has
                                 drawn and sent), return its vector -> merge
        -- EVALUATE -> worker i: pull `act`, one greedy episode
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.experience.batches import Samples
from paradigms.experience.replay import Replay
from paradigms.loop.build import (
    make_actor,
    make_agent,
    make_learner,
    make_samples,
    note_collected,
    whose,
)
from paradigms.loop.drive import make_components
from paradigms.loop.episodes import Examiner
from paradigms.loop.pace import Pace
from paradigms.loop.tasks import COLLECT, TRAIN, ByPace, ByShares, Task, Tasks
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.merge import Rule, finite, make_rule
from paradigms.weights.published import Weights


@dataclass(frozen=True)
class DUpdate:
    """merge: `delta`, `damped`, `elastic` or `mean` (see parts/merge.py); `damping` is damped's,
    `scale` delta's and elastic's, None for the default by number of workers. `task_updates`: at
    most so many learns a TRAIN task. sample_from: train on everybody's transitions (`all`), on
    one's `own`, or on batches that the learner draws from everybody's (`learner`); None is what
    suits the replay:
    `all`, `learner` where one process draws for several, `own` where each row is handed out once.
    rule: `pace` trains while something is owed, `source` draws tasks by fixed shares, which needs a
    replay that keeps its rows."""

    merge: str = "delta"
    damping: float = 0.8
    scale: float | None = None
    task_updates: int = 16
    sample_from: str | None = None
    rule: str = "pace"

    name = "dupdate"
    workers = None
    needs = frozenset[str]()

    def __post_init__(self) -> None:
        if self.sample_from not in (None, "all", "own", "learner"):
            raise ValueError(
                f"paradigm.sample_from={self.sample_from} is unknown;"
                " choose own, all, learner or null"
            )
        make_rule(self.merge, damping=self.damping, scale=self.scale, workers=1)
        if self.rule not in ("pace", "source"):
            raise ValueError(f"paradigm.rule={self.rule} is unknown; choose pace or source")

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        components = make_components(job, workers=job.workers)
        job, vector, replay, pace = (
            components.job,
            components.vector,
            components.replay,
            components.pace,
        )
        weights = Weights(vector, "all", version=pace.total("updates"), policy_lag=job.policy_lag)
        tasks = Tasks(job.workers, replay.streams, vector)
        tasks.know(replay.heads())  # of a resumed run
        rule = make_rule(self.merge, damping=self.damping, scale=self.scale, workers=job.workers)
        samples = make_samples(self.sample_from, job, replay, self.task_updates)
        if self.rule == "source" and replay.once:
            raise ValueError(
                f"replay={replay.kind} hands out each row once, and paradigm.rule=source trains at"
                " random: set paradigm.rule=pace"
            )
        by = (ByPace if self.rule == "pace" else ByShares)(
            pace, self.task_updates, seed=job.seed, evaluate=job.evaluate_in_worker
        )
        crew = Crew(job.crew, job.order, journal=job.journal)
        crew.add("learner", Averager, job, pace, weights, tasks, rule, by, samples)
        for rank in range(job.workers):
            ranks = None if samples else whose(self.sample_from, replay, rank)
            args = (job, rank, replay, pace, weights, tasks, rule.keeps_own, ranks, samples)
            crew.add(f"worker-{rank}", Worker, *args, rank=rank)

        def snapshot(part: str) -> Snapshot:
            return weights.snapshot(part, vector.size(part))

        def bytes_moved() -> int:
            sent = samples.bytes_moved if samples else 0
            return weights.bytes_moved + 2 * pace.total("merges") * weights.nbytes + sent

        return (yield from components.follow(crew, snapshot, bytes_moved=bytes_moved))


class Worker(Role):
    """Does the task that the learner has put on the board for it."""

    def __init__(
        self,
        job: Job,
        rank: int,
        replay: Replay,
        pace: Pace,
        weights: Weights,
        tasks: Tasks,
        keeps_own: bool,
        ranks: tuple[int, ...] | None,
        samples: Samples | None,
    ) -> None:
        self.job, self.rank, self.replay, self.pace = job, rank, replay, pace
        self.weights, self.tasks, self.keeps_own, self.ranks = weights, tasks, keeps_own, ranks
        self.sent = None if samples is None else samples.of(rank)

    def run(self, link: Link) -> None:
        job, rank, tasks = self.job, self.rank, self.tasks
        self.agent = agent = make_agent(job)
        self.actor = make_actor(job, agent, self.replay, self.pace, rank)
        self.learner = make_learner(job, agent, self.sent or self.replay, ranks=self.ranks)
        self.trained = False
        self.examiner: Examiner | None = None
        told, metrics = 0.0, dict[str, float]()
        while link.go() and link.wait("task", lambda: tasks.waits_for(rank)):
            task = tasks.read(rank)
            if task.kind == COLLECT:
                metrics |= self.collect(link)
            elif task.kind == TRAIN:
                self.train(link, task)
            else:
                metrics |= self.evaluate(link)
            tasks.finish(rank)
            if time.monotonic() - told > 1:
                told = time.monotonic()
                link.report(metrics | self.learner.metrics())
                metrics = {}
        link.report(metrics)
        self.actor.env.close()

    def collect(self, link: Link) -> dict[str, float]:
        """One fragment with the newest policy, into this worker's part of the replay."""
        with link.event("pull") as event:
            event.read = self.weights.pull(self.agent.vector, "act")
        fragment = self.actor.collect(event.read)
        self.learner.arrived(fragment, self.pace.total("updates"))
        added = self.replay.add(fragment)
        metrics = note_collected(self.actor, self.pace, self.rank, fragment.steps)
        self.tasks.report(self.rank, base=event.read, count=added, heads=self.replay.heads())
        return metrics

    def train(self, link: Link, task: Task) -> None:
        """The task's learns from the newest weights (elastic: from the worker's own)."""
        vector, rank = self.agent.vector, self.rank
        if self.keeps_own and self.trained:
            vector.load("all", self.tasks.own(rank))
            base = -1  # not the learner's: its own
        else:
            with link.event("pull") as event:
                base = event.read = self.weights.pull(vector)
        self.trained = True
        if self.sent:
            self.sent.rewind()
        self.tasks.base(rank).copy_(vector.floats)
        counts = vector.counts.clone()
        self.agent.progress = min(1.0, task.added / self.job.env_steps)
        self.agent.optim.lr_factor = self.job.lr_schedule(self.agent.progress)
        made = sum(
            self.learner.update(task.first + k, heads=task.heads) for k in range(task.learns)
        )
        self.tasks.own(rank).copy_(vector.floats)
        self.tasks.counts(rank).copy_(vector.counts - counts)
        self.tasks.report(rank, base=base, count=made, heads=task.heads)

    def evaluate(self, link: Link) -> dict[str, float]:
        """The source documents' EVALUATE task: one greedy episode in an env of its own."""
        with link.event("pull") as event:
            event.read = self.weights.pull(self.agent.vector, "act")
        self.tasks.report(self.rank, base=event.read, count=0, heads=self.replay.heads())
        self.examiner = self.examiner or Examiner(self.job, self.agent, self.rank)
        return self.examiner.examine()


class Averager(Role):
    """The learner: takes finished tasks, merges what was trained, publishes, hands out the next."""

    def __init__(
        self,
        job: Job,
        pace: Pace,
        weights: Weights,
        tasks: Tasks,
        rule: Rule,
        by: ByPace | ByShares,
        samples: Samples | None,
    ) -> None:
        self.job, self.pace, self.weights, self.tasks = job, pace, weights, tasks
        self.rule, self.by, self.samples = rule, by, samples

    def run(self, link: Link) -> None:
        self.agent = make_agent(replace(self.job, device="cpu"))  # it never learns
        self.weights.pull(self.agent.vector)  # what a resumed run had learned
        workers = range(self.tasks.workers)
        for rank in workers:
            self.assign(rank)
        while link.go(until=lambda: self.pace.spent() and self.tasks.all_idle()):
            if self.job.max_ahead == 0:  # a round: everybody's task, in the order of rank
                if not link.wait("round", self.tasks.all_finished):
                    break
                for rank in workers:
                    self.take(link, rank)
                for rank in workers:
                    self.assign(rank)
            else:
                if not link.wait("result", self.tasks.finished):
                    break
                while (ready := link.pick("drain", self.tasks.finished)) is not None:
                    self.take(link, ready)
                    self.assign(ready)
        link.finish()

    def take(self, link: Link, rank: int) -> None:
        """Counts what a worker has done; merges and publishes if it has trained."""
        task, pace, vector = self.tasks.read(rank), self.pace, self.agent.vector
        if task.kind is None:
            return
        with link.event("drain", worker=rank) as event:
            base, event.count, _ = self.tasks.take(rank)
        if task.kind == COLLECT:
            pace.arrived(rank, event.count)
        elif task.kind == TRAIN:
            version, made, own = pace.total("updates"), event.count, self.tasks.own(rank)
            with link.event("merge", worker=rank, base=base, count=made):
                if finite(own):
                    self.rule(vector, self.tasks.base(rank), own, alone=base == version)
                    vector.counts += self.tasks.counts(rank)
                    if self.samples:
                        self.samples.hear(rank)
                else:  # its updates count for nothing, and it begins anew from the learner's
                    made = 0
                    own.copy_(vector.floats)
                    pace.count("lost", -1)
                pace.count("merges", -1)
            with link.event("publish", written=version + made):
                self.weights.publish(vector, version + made)
            pace.learned(-1, made, task.learns)

    def assign(self, rank: int) -> None:
        """Puts the next task on the board, or none when the budget is spent and nothing is owed."""
        task = self.by(rank)
        if self.samples and task.kind == TRAIN:
            self.samples.send(rank, task.first, task.learns, heads=self.tasks.known)
        self.tasks.assign(rank, task)
