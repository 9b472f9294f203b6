"""The learner hands out tasks; workers collect or train; the learner averages what comes back.

learner -- COLLECT --> worker i: pull `act`, Actor.collect -> shared Replay
        -- TRAIN ----> worker i: pull `all`, learn on batches that it draws (or that the learner has
                                 drawn and sent), return its vector -> parameter averaging
        -- EVALUATE -> worker i: pull `act`, one greedy episode
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from paradigms.base import Job, Progress, Result
from paradigms.experience.batches import DrawnBatches
from paradigms.loop.build import Components, make_agent, make_drawn_batches, whose
from paradigms.loop.drive import Driver
from paradigms.loop.episodes import EvaluationTask
from paradigms.loop.every import Every
from paradigms.loop.ledger import LEARNER
from paradigms.loop.tasks import COLLECT, TRAIN, Chooser, Task, Tasks, make_chooser
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.merge import Rule, finite, make_rule
from paradigms.weights.published import Weights

SHARES = {"train": 0.5, "evaluate": 0.1, "collect": 0.4}


@dataclass(frozen=True)
class DUpdate:
    """Parameter averaging: local SGD with a server, one worker's vector at a time.

    merge: `delta`, `damped`, `elastic` or `mean` (weights/merge.py); `damping` is damped's, `scale`
    is delta's and elastic's, None for the default by number of workers. task_updates: at most so
    many calls of `learn` a TRAIN task.

    sample_from: a TRAIN task learns from everybody's transitions (`all`), from the worker's `own`,
    or from batches that the `learner` draws from everybody's and sends. None is what suits the
    replay: `all`; `learner` where one process has to draw for several; `own` where transitions are
    consumed once.

    tasks: `by_pace` trains while updates are due and collects otherwise; `by_shares` draws tasks
    with the probabilities `shares` after the warm-up, which needs a replay that keeps its
    transitions.
    """

    merge: Literal["delta", "damped", "elastic", "mean"] = "delta"
    damping: Annotated[float, Ge(0), Lt(1)] = 0.8
    scale: Annotated[float, Gt(0), Le(2)] | None = None
    task_updates: Annotated[int, Ge(1), Le(10_000)] = 16
    sample_from: Literal["all", "own", "learner"] | None = None
    tasks: Literal["by_pace", "by_shares"] = "by_pace"
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))

    name = "dupdate"
    workers = None
    needs = frozenset[str]()
    offers = frozenset({"evaluation.where=worker", "policy_lag"})

    def __post_init__(self) -> None:
        if self.sample_from not in (None, "all", "own", "learner"):
            raise ValueError(
                f"paradigm.sample_from={self.sample_from} is unknown;"
                " choose own, all, learner or null"
            )
        make_rule(self.merge, damping=self.damping, scale=self.scale, workers=1)
        make_chooser(self.tasks, self.shares)

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts a learner and `job.workers` workers, which are replaced if they die. Yields a
        Progress at each of their reports.

        Raises Failed if the learner fails, or workers too often; Deadlock inline; ValueError for
        settings that the replay does not allow.
        """
        run = Driver(job, workers=job.workers)
        parts = run.components
        if self.tasks == "by_shares" and parts.replay.once:
            raise ValueError(
                f"replay={parts.replay.kind} consumes each transition once, and"
                " paradigm.tasks=by_shares trains at random: set paradigm.tasks=by_pace"
            )
        weights = Weights(
            run.vector, "all", version=run.ledger.total("updates"), keep=job.policy_lag
        )
        tasks = Tasks(job.workers, parts.replay.streams, run.vector)
        tasks.know(parts.replay.heads())  # a resumed run's
        rule = make_rule(self.merge, damping=self.damping, scale=self.scale, workers=job.workers)
        samples = make_drawn_batches(self.sample_from, job, parts.replay, self.task_updates)
        choose = make_chooser(self.tasks, self.shares)(
            parts.pace, self.task_updates, seed=job.seed, evaluate=job.evaluation.where == "worker"
        )
        crew = Crew(job.crew, job.order, journal=job.journal)
        crew.add("learner", Averager, parts, weights, tasks, rule, choose, samples)
        for rank in range(job.workers):
            ranks = None if samples else whose(self.sample_from, parts.replay, rank)
            args = (parts, rank, weights, tasks, rule.keeps_own, ranks, samples)
            crew.add(f"worker-{rank}", Worker, *args, rank=rank, restartable=True)
        moved = (weights, tasks) if samples is None else (weights, tasks, samples)
        return (yield from run.follow(crew, weights, moved=moved, counted=(weights,)))


class Worker(Role):
    """Does the task that the learner has given to it; one that replaces another does the task that
    it died at from the beginning."""

    def __init__(
        self,
        components: Components,
        rank: int,
        weights: Weights,
        tasks: Tasks,
        keeps_own: bool,
        ranks: tuple[int, ...] | None,
        samples: DrawnBatches | None,
    ) -> None:
        self.components, self.rank = components, rank
        self.weights, self.tasks, self.keeps_own, self.ranks = weights, tasks, keeps_own, ranks
        self.sent = None if samples is None else samples.received(rank)

    def run(self, link: Link) -> None:
        parts, rank, tasks = self.components, self.rank, self.tasks
        if link.life and tasks.waits_for(rank):
            self.recover(tasks.read(rank))
        self.agent = agent = parts.agent()
        self.actor = parts.actor(agent, rank)
        self.learner = parts.learner(agent, source=self.sent, ranks=self.ranks)
        self.learner.skipped = partial(parts.ledger.skipped, rank)
        self.learner.mended = True  # by the averager, which refuses what is not finite
        self.evaluation: EvaluationTask | None = None
        self.trained = False
        should_log = Every(seconds=1.0)
        while link.go() and link.wait("task", lambda: tasks.waits_for(rank)):
            task = tasks.read(rank)
            if task.kind == COLLECT:
                self.collect(link)
            elif task.kind == TRAIN:
                self.train(link, task)
            else:
                self.evaluate(link)
            tasks.finish(rank)
            if should_log():
                link.report(self.learner.metrics())
        self.actor.env.close()

    def recover(self, task: Task) -> None:
        """Counts a task that a worker died at as lost; what it collected, if that is stored, is the
        task's result."""
        parts, rank = self.components, self.rank
        there = parts.uncounted(rank) if task.kind == COLLECT else 0
        parts.ledger.count("lost", rank)
        parts.ledger.withdraw(rank, there)
        if there:
            version = parts.ledger.total("updates")
            self.tasks.report(rank, base=version, count=there, heads=parts.replay.heads())
            self.tasks.finish(rank)

    def collect(self, link: Link) -> None:
        """One fragment with the newest policy, into this worker's part of the replay."""
        parts, rank = self.components, self.rank
        with link.event("pull") as event:
            lag = parts.job.policy_lag
            event.read = self.weights.pull(self.agent.vector, "act", policy_lag=lag)
        with parts.ledger.timed("collecting", rank):
            fragment = self.actor.collect(event.read)
        parts.ledger.collected(rank, fragment.n_valid, self.actor.take_episodes())
        added = parts.replay.add(fragment)
        self.tasks.report(rank, base=event.read, count=added, heads=parts.replay.heads())

    def train(self, link: Link, task: Task) -> None:
        """The task's updates, from the newest weights (elastic: from the worker's own)."""
        parts, vector, rank = self.components, self.agent.vector, self.rank
        if self.keeps_own and self.trained:
            vector.load("all", self.tasks.own(rank))
            base = -1  # not the learner's weights: the worker's own
        else:
            with link.event("pull") as event:
                base = event.read = self.weights.pull(vector)
        self.trained = True
        if self.sent:
            self.sent.rewind()
        self.tasks.base(rank).copy_(vector.floats)
        counts = vector.counts.clone()
        self.learner.reached(min(1.0, task.added / parts.job.budget.env_steps))
        learns = parts.pace.left(rank, task.learns)
        with parts.ledger.timed("learning", rank):
            made = sum(self.learner.update(task.first + k, heads=task.heads) for k in range(learns))
        self.tasks.own(rank).copy_(vector.floats)
        self.tasks.counts(rank).copy_(vector.counts - counts)
        self.tasks.report(rank, base=base, count=made, heads=task.heads)

    def evaluate(self, link: Link) -> None:
        """One greedy episode in an env of its own."""
        parts = self.components
        with link.event("pull") as event:
            event.read = self.weights.pull(self.agent.vector, "act")
        self.tasks.report(self.rank, base=event.read, count=0, heads=parts.replay.heads())
        self.evaluation = self.evaluation or parts.evaluation(self.agent, self.rank)
        assert self.evaluation is not None, "EVALUATE is given out with evaluation.where=worker"
        parts.ledger.evaluated(self.rank, *self.evaluation.run())


class Averager(Role):
    """The learner: takes finished tasks, averages what was trained, publishes, hands out tasks."""

    def __init__(
        self,
        components: Components,
        weights: Weights,
        tasks: Tasks,
        rule: Rule,
        choose: Chooser,
        samples: DrawnBatches | None,
    ) -> None:
        self.components, self.weights, self.tasks = components, weights, tasks
        self.rule, self.choose, self.samples = rule, choose, samples

    def run(self, link: Link) -> None:
        job, pace = self.components.job, self.components.pace
        self.agent = make_agent(replace(job, device="cpu"))  # it never learns
        self.weights.pull(self.agent.vector)  # a resumed run has learned already
        workers = range(self.tasks.workers)
        for rank in workers:
            self.assign(rank)
        while link.go(until=lambda: pace.spent() and self.tasks.all_idle()):
            if pace.max_ahead == 0:  # a round: everybody's task, in the order of rank
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
        """Counts what a worker has done; averages and publishes if it has trained."""
        task, ledger = self.tasks.read(rank), self.components.ledger
        if task.kind is None:
            return
        with link.event("drain", worker=rank) as event:
            base, event.count, _ = self.tasks.take(rank)
        if task.kind == COLLECT:
            ledger.stored(rank, event.count, base)
        elif task.kind == TRAIN:
            made = self.average(link, rank, base, event.count)
            version = ledger.total("updates") + made
            with link.event("publish", written=version):
                self.weights.publish(self.agent.vector, version)
            ledger.learned(LEARNER, made, task.learns)

    def average(self, link: Link, rank: int, base: int, made: int) -> int:
        """Merges what the worker came to from version `base` in `made` updates; returns those that
        count: none if its vector is not finite, and then it begins anew from the learner's."""
        vector, own, ledger = self.agent.vector, self.tasks.own(rank), self.components.ledger
        counts = self.tasks.counts(rank)
        with link.event("merge", worker=rank, base=base, count=made):
            ledger.count("merges", LEARNER)
            if not finite(own):
                own.copy_(vector.floats)
                ledger.count("lost", LEARNER)
                return 0
            alone = base == ledger.total("updates")
            self.rule(vector, self.tasks.base(rank), own, made=int(counts[0]), alone=alone)
            vector.counts += counts
            if self.samples:
                self.samples.apply_priorities(rank)
        return made

    def assign(self, rank: int) -> None:
        """Gives the worker its next task; none if the budget is spent and no update is due."""
        task = self.choose(rank)
        if self.samples and task.kind == TRAIN:
            self.samples.send(rank, task.first, task.learns, heads=self.tasks.known)
        self.tasks.assign(rank, task)
