"""A worker that collects and learns, on tensors that other workers change as well."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from agents.parts.optim import Local, Locked
from paradigms.loop.build import Components
from paradigms.loop.every import Every
from paradigms.runtime.link import Link, Role
from paradigms.weights.copied import Standing


class Learning(Role):
    """A worker that collects and learns: the sequential loop, with a share of the counters, on
    tensors that others change as well.

    stand(agent, shared, optim, make_agent) puts the agent on what is shared. ranks: whose
    transitions it learns from, None for everybody's. lock: of each optimiser step, None for none.
    """

    def __init__(
        self,
        components: Components,
        rank: int,
        shared: Any,
        ranks: tuple[int, ...] | None,
        lock: AbstractContextManager[bool] | None,
        stand: Callable[..., Standing],
    ) -> None:
        self.components, self.rank, self.shared = components, rank, shared
        self.ranks, self.lock, self.stand = ranks, lock, stand

    def run(self, link: Link) -> None:
        parts, rank = self.components, self.rank
        ledger, pace = parts.ledger, parts.pace
        agent = parts.agent()
        adam = Local(before_step=None if self.lock else link.give_way)
        standing = self.stand(agent, self.shared, adam, parts.agent)
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
