"""A worker that collects and learns, on tensors that other workers change as well."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from agents.parts.optim import Local, Locked
from paradigms.errors import Stopped
from paradigms.loop.build import Components
from paradigms.loop.every import Every
from paradigms.runtime.link import Link, Role
from paradigms.runtime.lock import Lock
from paradigms.weights.copied import Standing


class Learning(Role):
    """A worker that collects and learns: the sequential loop, with a share of the counters, on
    tensors that others change as well.

    stand(agent, shared, optim, make_agent, link) puts the agent on what is shared. ranks: whose
    transitions it learns from, None for everybody's. lock: of each optimiser step, None for none.

    One that replaces another goes on from what is shared: the tensors are what the dead one's last
    step made of them, whole or not, and its counters are put right by Components.recover.
    """

    def __init__(
        self,
        components: Components,
        rank: int,
        shared: Any,
        ranks: tuple[int, ...] | None,
        lock: Lock | None,
        stand: Callable[..., Standing],
    ) -> None:
        self.components, self.rank, self.shared = components, rank, shared
        self.ranks, self.lock, self.stand = ranks, lock, stand

    def run(self, link: Link) -> None:
        parts, rank = self.components, self.rank
        ledger, pace = parts.ledger, parts.pace
        if link.life:
            parts.recover(rank)
        agent = parts.agent()
        adam = Local(before_step=None if self.lock else link.give_way)
        self.standing = standing = self.stand(agent, self.shared, adam, parts.agent, link)
        agent.optim = standing.optim
        if self.lock is not None:
            agent.optim = Locked(agent.optim, self.lock.by(link), before_step=link.give_way)
        actor = parts.actor(agent, rank)
        self.learner = parts.learner(agent, rank=rank, ranks=self.ranks)
        should_log = Every(seconds=1.0)
        with contextlib.suppress(Stopped):
            self.learn(link, fresh=False)  # what a resumed run, or who is replaced, has left to do
            while link.go(until=lambda: pace.spent(rank)):
                standing.fetch()
                with ledger.timed("collecting", rank):
                    fragment = actor.collect(version=ledger.total("updates"))
                ledger.collected(rank, fragment.n_valid, actor.take_episodes())
                ledger.stored(rank, parts.replay.add(fragment), fragment.version)
                self.learn(link, fresh=True)
                if should_log():
                    link.report(self.learner.metrics())
        actor.env.close()

    def learn(self, link: Link, *, fresh: bool) -> None:
        """The updates that are due to this worker. fresh: the copy is that with which the last
        fragment was collected."""
        ledger, pace, rank = self.components.ledger, self.components.pace, self.rank
        self.learner.reached(pace.progress())
        with ledger.timed("learning", rank):
            while not link.stopping and pace.claim(1, rank):
                link.busy(60)
                if not fresh:
                    self.standing.fetch()
                made = self.learner.update(ledger.own("learns", rank))
                self.standing.give()
                ledger.learned(rank, made)
                fresh = False
