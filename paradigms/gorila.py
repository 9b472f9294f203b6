"""Parameter servers: workers collect and compute gradients, servers hold the vector and step.

    worker i: Actor.collect -> Replay (its own) -> learn -> gradient -> [Mail] -> server 0 .. k-1:
              copy <- a part of the vector from each server                 Adam on its shard
                ^                                                                    |
                +----------------------------- Shards <------------------------------+

Nair et al. 2015, Massively Parallel Methods for Deep Reinforcement Learning (Gorila),
arXiv:1507.04296, in its bundled form: actor, replay and learner of one worker belong together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le

from agents.base import Group
from agents.parts.optim import Local
from paradigms.base import Job, Progress, Result
from paradigms.errors import Stopped
from paradigms.loop.build import Components, make_agent
from paradigms.loop.drive import Driver
from paradigms.loop.every import Every
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.merge import exact, split
from paradigms.weights.remote import Remote
from paradigms.weights.sharded import (
    ADD,
    APPLIED,
    APPLY,
    COUNTED,
    FOLLOW,
    NOTHING,
    Mail,
    Message,
    Shards,
    cut,
    names_of,
)

MESSAGES_THAT_WAIT = 8


@dataclass(frozen=True)
class Gorila:
    """shards: servers, each of which holds a part of every group. sync_period: `learn`s of a worker
    between two pulls of its copy, which stays as it is in between.

    max_staleness: a server discards a gradient if its group has made more updates than that since
    the worker pulled it; None: never. outlier_deviations: a worker discards its own gradient if the
    norm exceeds the running mean of such norms by so many standard deviations; None: never. Both
    are counted in `lost`, the former by server 0.

    Deviations from the paper: the servers' optimiser is Adam, as in every paradigm, and not
    AdaGrad; the norm of the gradient is judged, not the loss, because an agent has several.
    """

    shards: Annotated[int, Ge(1)] = 1
    sync_period: Annotated[int, Ge(1), Le(10_000)] = 1
    max_staleness: Annotated[int, Ge(0)] | None = None
    outlier_deviations: Annotated[float, Gt(0)] | None = None

    name = "gorila"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    def worker(self) -> type[Worker]:
        return Worker

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts `shards` servers and `job.workers` workers, which are replaced if they die. Yields
        a Progress at each of their reports. Raises Failed if they fail too often, Deadlock inline.
        """
        run = Driver(job, workers=job.workers)
        shards = Shards(run.vector, self.shards)
        mail = Mail(run.vector, job.workers, self.shards, MESSAGES_THAT_WAIT)
        crew = Crew(job.crew, job.order, journal=job.journal)
        for shard in range(self.shards):
            args = (run.components, shard, shards, mail, self.max_staleness)
            crew.add(f"server-{shard}", Server, *args, restartable=True)
        for rank in range(job.workers):
            worker = (run.components, rank, shards, mail, self.sync_period, self.outlier_deviations)
            crew.add(f"worker-{rank}", self.worker(), *worker, rank=rank, restartable=True)
        return (yield from run.follow(crew, shards, moved=(mail,), counted=(shards,)))


class Worker(Role):
    """The sequential loop, whose optimiser steps are made elsewhere, by way of a `remote`."""

    remote: type[Remote] = Remote

    def __init__(
        self,
        components: Components,
        rank: int,
        shards: Shards,
        mail: Mail,
        sync_period: int,
        outlier_deviations: float | None,
    ) -> None:
        self.components, self.rank, self.shards, self.mail = components, rank, shards, mail
        self.sync_period, self.outlier_deviations = sync_period, outlier_deviations

    def run(self, link: Link) -> None:
        parts, rank, ledger = self.components, self.rank, self.components.ledger
        if link.life:  # it goes on when the servers have done, and counted, what the dead one sent
            if not link.wait("servers", lambda: self.mail.all_done(rank)):
                return
            parts.recover(rank)
        agent = parts.agent()
        self.remotely = remote = agent.optim = self.remote(
            agent,
            self.shards,
            self.mail,
            rank,
            link,
            sync_period=self.sync_period,
            outlier_deviations=self.outlier_deviations,
            lost=lambda: ledger.count("lost", rank),
        )
        actor = parts.actor(agent, rank)
        self.learner = parts.learner(agent, rank=rank, ranks=(rank,))
        self.learns, should_log = ledger.own("learns", rank), Every(seconds=1.0)
        with contextlib.suppress(Stopped):
            self.learn(link)  # what a resumed run, or who is replaced, has left to do
            while link.go(until=lambda: parts.pace.spent(rank)):
                remote.pull_if_due()
                with link.event("collect") as event, ledger.timed("collecting", rank):
                    fragment = actor.collect(version=remote.version)
                    event.count = fragment.n_valid
                ledger.collected(rank, fragment.n_valid, actor.take_episodes())
                ledger.stored(rank, parts.replay.add(fragment), fragment.version)
                self.learn(link)
                if should_log():
                    link.report(self.learner.metrics())
        self.mail.end(rank)
        actor.env.close()

    def learn(self, link: Link) -> None:
        """The updates that are due to this worker."""
        parts, rank, ledger = self.components, self.rank, self.components.ledger
        # by what this worker has done itself: a re-executed journal then computes the same
        done = ledger.own("collected", rank) * ledger.workers / parts.job.budget.env_steps
        self.learner.reached(min(1.0, done))
        with ledger.timed("learning", rank):
            while link.may("learn", lambda: parts.pace.owed(rank) > 0):
                with link.event("learn", worker=rank, count=1):
                    ledger.count("granted", rank)
                link.busy(60)
                self.remotely.pull_if_due()
                self.learner.update(self.learns)
                self.remotely.finish()
                self.learns += 1


class Server(Role):
    """Does what workers send, in the order in which it comes, to one shard. Server 0 counts."""

    def __init__(
        self,
        components: Components,
        shard: int,
        shards: Shards,
        mail: Mail,
        max_staleness: int | None,
    ) -> None:
        self.components, self.shard, self.shards, self.mail = components, shard, shards, mail
        self.max_staleness = max_staleness
        agent = make_agent(replace(components.job, device="cpu"))  # for its sizes: it never learns
        vector, self.names, self.sums = agent.vector, names_of(agent), agent.sums
        place = {name: cut(vector, name, shard, shards.shards) for name in self.names}
        self.place = place
        self.parts = {name: shards.floats[here] for name, here in place.items()}
        self.within = {  # where the part lies in a message for the whole
            name: slice(here.start - vector.span(name).start, here.stop - vector.span(name).start)
            for name, here in place.items()
        }
        self.groups: list[Group] = []
        for number, (name, whole) in enumerate(agent.groups.items()):
            group = Group([], lr=whole.lr, betas=whole.betas, eps=whole.eps)  # clipped already
            group.flat = self.parts[name]
            group.m, group.v = (
                shards.floats[cut(vector, f"{name}.{m}", shard, shards.shards)] for m in "mv"
            )
            group.grad = torch.zeros_like(group.flat)
            group.step = shards.steps[shard, number]
            if shard == 0:  # the step count that snapshots have
                group.step = shards.floats[vector.span(f"{name}.step")][0]
            group.count = shards.counts[shard, number : number + 1]
            self.groups.append(group)
        self.optim = Local()

    def run(self, link: Link) -> None:
        mail, shard = self.mail, self.shard
        if link.life:
            self.recover()
        while link.go(until=lambda: mail.over(shard)):
            if not link.wait("mail", lambda: mail.waiting(shard) or mail.over(shard), brief=True):
                break
            while (rank := link.pick("apply", lambda: mail.waiting(shard))) is not None:
                with link.event("apply", worker=rank) as event:
                    message = mail.peek(shard, rank)
                    stale = self.is_stale(message)
                    event.count = int(not stale)
                if not stale and message.kind != NOTHING:
                    with link.event("publish", worker=shard) as event:
                        self.shards.begin(shard, rank)
                        self.do(message)
                        mail.note(shard, rank, APPLIED)
                        self.shards.finish(shard)
                        event.written = self.shards.version(shard)
                self.count(rank, message, stale)
                mail.note(shard, rank, COUNTED)
                mail.done(shard, rank)

    def recover(self) -> None:
        """The step that a server died at is done, as far as it came, and counted as lost; what it
        had done is not done again."""
        mail, shard = self.mail, self.shard
        if (open_ := self.shards.open(shard)) is not None:
            mail.note(shard, open_, APPLIED)
            self.shards.finish(shard)
        for rank in mail.waiting(shard):
            counted = mail.noted(shard, rank, COUNTED)
            if not counted and mail.noted(shard, rank, APPLIED):
                self.count(rank, mail.peek(shard, rank), stale=rank == open_)
                counted = True
            if counted:
                mail.done(shard, rank)

    def is_stale(self, message: Message) -> bool:
        """Whether the gradient was computed too many updates of its group ago."""
        if message.kind != APPLY or self.max_staleness is None:
            return False
        made = int(self.groups[message.name].count[0])
        return made - message.versions[self.shard] > self.max_staleness

    def do(self, message: Message) -> None:
        """What the message says, to this shard's part of it."""
        name = self.names[message.name]
        part, within = self.parts[name], self.within[name]
        if message.kind == APPLY:
            group = self.groups[message.name]
            group.grad.copy_(message.floats[within])
            self.optim.lr_factor = message.number
            if len(group.flat):
                self.optim.apply(group)
            else:
                group.step += 1
                group.count += 1
        elif message.kind == FOLLOW:
            self.optim.follow(part, self.parts[self.names[message.source]], message.number)
        elif message.kind == ADD:
            self.add(part, message.floats)
        else:
            given = message.floats[within]
            part.copy_(torch.where(given.isnan(), part, given))

    def add(self, part: torch.Tensor, floats: torch.Tensor) -> None:
        """A sum grows by what a worker has added to it; it becomes the worker's where it is what
        the worker began with."""
        own, before = floats.chunk(2)
        own, before, part = (pair[: len(own)] for pair in (own, before, part))
        if torch.equal(part, before):
            part.copy_(own)
        elif len(part):
            part.copy_(split(exact(part) + exact(own) - exact(before)))

    def count(self, rank: int, message: Message, stale: bool) -> None:
        """Server 0 counts what has been done: learns with their first message, so that a run that
        is saved in the middle makes neither more nor fewer; updates; gradients that were too old.
        """
        if self.shard == 0:
            update = message.kind == APPLY and not stale and message.name == 0
            self.components.ledger.served(
                rank, learns=int(message.first), lost=int(stale), updates=int(update)
            )
