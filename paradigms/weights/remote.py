"""An optim whose steps are made by the servers of a sharded vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from agents.base import Agent, Group
from agents.parts.optim import clip, usable
from paradigms.errors import Stopped
from paradigms.runtime.link import Link
from paradigms.weights.sharded import (
    ADD,
    APPLY,
    FOLLOW,
    NOTHING,
    SET,
    Mail,
    Message,
    Shards,
    names_of,
)

LEAST_NORMS = 32  # before one is judged
SLOWEST = 0.01  # the weight of the newest norm in the running mean


class Remote:
    """An Optim for an agent that computes on a copy of a sharded vector.

        remote.pull_if_due()          # before a fragment, and before every `learn`
        agent.learn(batch)
        remote.finish()               # after every `learn`

    `apply` clips by the whole group's norm and sends the gradient, `follow` sends the move of a
    target; the servers make both in the order in which they come. In the first `learn` after a pull
    the agent also waits for each of its steps and fetches the group, for the lines that follow; in
    others nothing moves here until the next pull. A pull waits until the servers have done all that
    this worker has sent. Waiting raises Stopped if the crew is asked to stop.

    version: the updates behind the copy. sync_period: `learn`s between pulls. outlier_deviations:
    see Outliers. lost: called for each gradient that is discarded here.
    """

    def __init__(
        self,
        agent: Agent,
        shards: Shards,
        mail: Mail,
        rank: int,
        link: Link,
        *,
        sync_period: int = 1,
        outlier_deviations: float | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.agent, self.shards, self.mail, self.rank, self.link = agent, shards, mail, rank, link
        self.sync_period, self.lost = sync_period, lost
        self.lr_factor = 1.0
        self.version = 0
        self.since = sync_period  # learns since the last pull
        self.first = True  # nothing has been sent in this learn
        self.names = names_of(agent)
        self.numbers = {agent.vector.span(name).start: n for n, name in enumerate(self.names)}
        self.versions = np.zeros((len(agent.groups), shards.shards), np.int64)
        self.outliers = [Outliers(outlier_deviations) for _ in agent.groups]
        size = min(agent.vector.span(f"{name}.m").start for name in agent.groups)
        self.own = agent.vector.floats[:size]  # moments, which come last, are the servers'
        self.known = self.own.clone()  # what the servers have given

    def apply(self, group: Group) -> None:
        """May wait for the servers, see the class."""
        number = self.numbers[group.flat.storage_offset()]
        if not usable(group) or self.outliers[number](group.grad):
            return self.lost()
        if group.clip is not None:
            clip(group.grad, group.clip)
        self._send(APPLY, number, group.grad, number=self.lr_factor)
        if self.since == 0:
            self._fetch([self.names[number]])

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        """Waits only for space in the mail."""
        moved, leading = (self.numbers[part.storage_offset()] for part in (target, source))
        self._send(FOLLOW, moved, target[:0], source=leading, number=tau)

    def pull_if_due(self) -> None:
        """Fetches everything after `sync_period` learns."""
        if self.since < self.sync_period:
            return
        counts = self._fetch(self.names)
        if any((one != counts[0]).any() for one in counts):
            self.shards.count_torn()
        self.since = 0

    def finish(self) -> None:
        """Sends what `learn` has changed beside its steps: what it has set, and what it has added
        to sums."""
        changed = self.own != self.known
        if bool(changed.any()):
            for number, name in enumerate(self.names):
                span = self.agent.vector.span(name)
                if not bool(changed[span].any()):
                    continue
                own, known = self.own[span], self.known[span]
                if name in self.agent.sums:
                    self._send(ADD, number, torch.cat((own, known)))
                else:
                    self._send(SET, number, torch.where(changed[span], own, torch.nan))
            self.known.copy_(self.own)
        if self.first:
            self._send(NOTHING, 0, self.own[:0])
        self.since, self.first = self.since + 1, True

    def _send(
        self, kind: int, name: int, floats: Tensor, *, source: int = 0, number: float = 0.0
    ) -> None:
        self._wait("space", lambda: self.mail.has_space(self.rank))
        versions = self.versions[name] if kind == APPLY else np.zeros_like(self.versions[0])
        message = Message(kind, name, source, number, self.first, floats, versions.tolist())
        self.mail.send(self.rank, message)
        self.first = False

    def _fetch(self, names: Sequence[str]) -> list[np.ndarray]:
        """Takes these over as they are on the servers once they have done what was sent; returns
        each shard's counts of updates, int64 [groups]."""
        self._wait("servers", lambda: self.mail.all_done(self.rank))
        vector = self.agent.vector
        counts = []
        for shard in range(self.shards.shards):
            with self.link.event("pull", worker=shard) as event:
                while (got := self.shards.read(shard, vector, names)) is None:
                    self._wait("step", lambda: self.shards.open(shard) is None)  # noqa: B023
                event.read = got[0]
            counts.append(got[1])
        for number, name in enumerate(self.agent.groups):
            if name in names:
                self.versions[number] = [one[number] for one in counts]
                vector.counts[number] = int(counts[0][number])
        for name in names:
            self.known[vector.span(name)] = vector.flat(name)
        self.version = int(counts[0][0])
        return counts

    def _wait(self, what: str, ready: Callable[[], object]) -> None:
        if not self.link.wait(what, ready, brief=True):
            raise Stopped


class Outliers:
    """Judges the norms of one group's gradients: an outlier exceeds the running mean by more than
    `deviations` running standard deviations. An outlier counts in them as the largest norm that is
    none, so that a lasting change is followed. None: nothing is judged, or computed."""

    def __init__(self, deviations: float | None) -> None:
        self.deviations, self.seen, self.mean, self.square = deviations, 0, 0.0, 0.0

    def __call__(self, grad: Tensor) -> bool:
        if self.deviations is None:
            return False
        norm = float(torch.linalg.vector_norm(grad))
        deviation = max(0.0, self.square - self.mean**2) ** 0.5
        limit = self.mean + self.deviations * deviation
        outlier = self.seen >= LEAST_NORMS and not norm <= limit
        self.seen += 1
        rate = max(1 / self.seen, SLOWEST)
        counted = limit if outlier else norm
        self.mean += rate * (counted - self.mean)
        self.square += rate * (counted**2 - self.square)
        return outlier
