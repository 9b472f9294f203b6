"""One vector a worker in shared memory, of which two at a time are averaged: Lian et al. 2018,
Asynchronous Decentralized Parallel Stochastic Gradient Descent, arXiv:1710.06952."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from agents.base import Agent, Optim
from agents.parts.draws import key
from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.link import Link
from paradigms.runtime.lock import Held, Lock
from paradigms.runtime.memory import Shared
from paradigms.weights.merge import exact, finite, split, sums


class Vectors:
    """`floats` [workers, n] and `counts` [workers, groups] in shared memory; all begin alike.

    locks: one a worker. Whoever moves a vector by an optimiser step, or averages it, holds its
    lock, so that neither loses the other's work. merges, lost: int64 [workers], averages made by
    each worker, and those left out because a vector was not finite.
    """

    def __init__(self, vector: Vector, locks: Sequence[Lock]) -> None:
        if vector.floats.device.type != "cpu":
            raise ValueError("paradigm=gossip averages in shared memory: set device=cpu")
        workers, size = len(locks), len(vector.floats)
        self.locks, self.held = locks, list[Held]()
        self._floats = Shared((workers, size), np.float32)
        self._counts = Shared((workers, len(vector.counts)), np.int64)
        self._begun = vector.counts.clone()
        self._moved = Shared(workers, np.int64)
        self.floats, self.counts = self._floats.tensor, self._counts.tensor
        self.floats.copy_(vector.floats)
        self.counts.copy_(vector.counts)
        self.sums = sums(vector)

    @property
    def bytes_moved(self) -> int:
        """Bytes that all averages have written."""
        return int(self._moved.array.sum()) * 2 * 4 * self.floats.shape[1]

    def by(self, link: Link) -> Vectors:
        """The same vectors, as the role of this link averages them."""
        own = copy.copy(self)
        own.held = [lock.by(link) for lock in self.locks]
        return own

    def average(self, rank: int, other: int) -> bool:
        """Both vectors become the mean of the two. False, and nothing is done, if one of them is
        not finite. For worker `rank` alone. May wait; raises Stopped as Held does."""
        first, second = sorted((rank, other))
        with self.held[first], self.held[second]:
            one, two = self.floats[first], self.floats[second]
            if not (finite(one) and finite(two)):
                return False
            means = [exact(one[span]).add(exact(two[span])).div(2) for span in self.sums]
            one.lerp_(two, 0.5)
            for span, mean in zip(self.sums, means, strict=True):
                one[span] = split(mean)
            two.copy_(one)
        self._moved.array[rank] += 1
        return True

    def snapshot(self, part: str, size: int) -> Snapshot:
        """The mean of all vectors that are finite, at this moment, and the updates of all."""
        rows = self.floats[:, :size]
        whole = rows[rows.isfinite().all(1)]
        rows = whole if len(whole) else rows
        mean = rows.double().mean(0).float()
        for span in self.sums:
            if span.stop <= size:
                mean[span] = split(torch.stack([exact(row[span]) for row in rows]).mean(0))
        counts = self._begun + (self.counts - self._begun).sum(0)
        return Snapshot(part, mean, counts, int(counts[0]))


class Gossip:
    """A worker on its own one of `vectors`, which it averages with another one, drawn at random,
    after every `every` calls of `learn`; see `Standing`.

    met: called with whether an average was made.
    """

    def __init__(
        self,
        agent: Agent,
        vectors: Vectors,
        optim: Optim,
        make_agent: Callable[[], Agent],
        link: Link,
        *,
        rank: int,
        every: int,
        seed: int,
        met: Callable[[bool], None],
    ) -> None:
        agent.vector.bind(vectors.floats[rank], vectors.counts[rank])
        self.vectors, self.optim, self.rank, self.every = vectors.by(link), optim, rank, every
        self.seed, self.met, self.learns = seed, met, 0

    def fetch(self) -> None:
        """Nothing is to be done."""

    def give(self) -> None:
        """Averages where it is time."""
        self.learns += 1
        others = len(self.vectors.locks) - 1
        if others and self.learns % self.every == 0:
            step = 1 + key(self.seed, "gossip", self.rank, self.learns) % others
            self.met(self.vectors.average(self.rank, (self.rank + step) % (others + 1)))
