"""The board on which a learner hands out tasks, and the rules by which it chooses them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from agents.parts.draws import reseed
from agents.parts.vector import Vector
from paradigms.loop.pace import Pace
from paradigms.runtime.memory import Shared

COLLECT, TRAIN, EVALUATE = 1, 2, 3
EXAMS = 100
ASSIGNED, DONE, TAKEN, KIND, LEARNS, FIRST, ADDED, BASE, COUNT = range(9)


class Task(NamedTuple):
    """`kind` is COLLECT, TRAIN, EVALUATE or None (nothing to do). TRAIN: learn `learns` times,
    numbered from `first`, on what the replay held at `heads` [streams] when `added` env steps were
    in it."""

    kind: int | None
    learns: int = 0
    first: int = 0
    added: int = 0
    heads: np.ndarray = np.zeros(0, np.int64)


class Tasks:
    """A row a worker in shared memory: what it shall do, how far it is, and its vectors. `known`
    [streams] is what the replay held when the learner last took a result.

    The learner writes `assign` and `take`, the worker `report` and `finish`; each waits for the
    other's serial number, so a row has one writer at any time.
    """

    def __init__(self, workers: int, streams: int, vector: Vector) -> None:
        self.workers, self.streams = workers, streams
        self._row = Shared((workers, 16), np.int64)
        self._heads = Shared((workers, streams), np.int64)
        self._seen = Shared((workers, streams), np.int64)
        self.known = np.zeros(streams, np.int64)
        self._base = Shared((workers, len(vector.floats)), np.float32)
        self._own = Shared((workers, len(vector.floats)), np.float32)
        self._counts = Shared((workers, len(vector.counts)), np.int64)

    def assign(self, rank: int, task: Task) -> None:
        row = self._row.array[rank]
        self._heads.array[rank] = self.known
        row[KIND], row[LEARNS], row[FIRST] = task.kind or 0, task.learns, task.first
        row[ADDED] = task.added
        if task.kind is not None:
            row[ASSIGNED] += 1

    def waits_for(self, rank: int) -> bool:
        """Whether the worker has something to do."""
        row = self._row.array[rank]
        return bool(row[ASSIGNED] > row[DONE])

    def read(self, rank: int) -> Task:
        row, heads = self._row.array[rank], self._heads.array[rank].copy()
        kind = int(row[KIND]) or None
        return Task(kind, int(row[LEARNS]), int(row[FIRST]), int(row[ADDED]), heads)

    def report(self, rank: int, *, base: int, count: int, heads: np.ndarray) -> None:
        """The worker: the version it started from, rows or updates made, what the replay holds."""
        row = self._row.array[rank]
        row[BASE], row[COUNT] = base, count
        self._seen.array[rank] = heads

    def finish(self, rank: int) -> None:
        row = self._row.array[rank]
        row[DONE] = row[ASSIGNED]

    def finished(self) -> list[int]:
        """The workers whose result waits to be taken."""
        row = self._row.array
        return [int(r) for r in np.flatnonzero(row[:, DONE] > row[:, TAKEN])]

    def all_finished(self) -> bool:
        """Whether everybody who had a task has done it, and somebody had one."""
        row = self._row.array
        return bool((row[:, DONE] == row[:, ASSIGNED]).all() and self.finished())

    def all_idle(self) -> bool:
        """Whether nobody has a task and no result waits."""
        row = self._row.array
        return bool((row[:, TAKEN] == row[:, ASSIGNED]).all())

    def take(self, rank: int) -> tuple[int, int, np.ndarray]:
        """The learner: base version, count, heads of what the worker reported."""
        row, num_envs = self._row.array[rank], self.streams // self.workers
        mine = slice(rank * num_envs, (rank + 1) * num_envs)
        self.known[mine] = np.maximum(self.known[mine], self._seen.array[rank, mine])
        row[TAKEN] = row[DONE]
        return int(row[BASE]), int(row[COUNT]), self.known

    def base(self, rank: int) -> torch.Tensor:
        """The vector that the worker's training started from."""
        return self._base.tensor[rank]

    def own(self, rank: int) -> torch.Tensor:
        """The vector that the worker's training came to."""
        return self._own.tensor[rank]

    def counts(self, rank: int) -> torch.Tensor:
        """How many updates of each group the worker's training made, [groups]."""
        return self._counts.tensor[rank]

    def know(self, heads: np.ndarray) -> None:
        """What a resumed run's replay holds."""
        self.known[:] = heads


class ByPace:
    """TRAIN while something is owed, else COLLECT, until the budget of env steps is spent; one task
    in `EXAMS` collecting ones is EVALUATE where workers evaluate.

    Only what the learner itself has counted decides, so that a replayed journal decides alike. In
    lockstep a round's updates are shared out evenly (see Pace.grant).
    """

    def __init__(self, pace: Pace, most: int, *, seed: int, evaluate: bool) -> None:
        self.pace, self.most, self.seed, self.evaluate = pace, most, seed, evaluate
        self.collected = 0

    def __call__(self, rank: int) -> Task:
        first = self.pace.total("granted")
        if grant := self.pace.grant(self.most, rank):
            return Task(TRAIN, grant, first, self.pace.total("added"))
        if self.pace.spent():
            return Task(None)
        self.collected += 1
        return Task(EVALUATE if self.evaluate and self.collected % EXAMS == 0 else COLLECT)


class ByShares:
    """The source documents' shares after the warm-up: train 0.5, collect 0.1, evaluate 0.4."""

    shares = ((TRAIN, 0.5), (COLLECT, 0.1), (EVALUATE, 0.4))

    def __init__(self, pace: Pace, most: int, *, seed: int, evaluate: bool) -> None:
        self.pace, self.most, self.seed, self.evaluate = pace, most, seed, evaluate
        self.drawn = 0

    def __call__(self, rank: int) -> Task:
        pace = self.pace
        if pace.spent():
            return Task(None)
        if pace.total("added") < max(1, pace.warmup):
            return Task(COLLECT)
        generator = reseed(torch.Generator(), self.seed, "task", self.drawn)
        self.drawn += 1
        at = float(torch.rand((), generator=generator))
        kind = next(kind for kind, share in _cumulated(self.shares) if at < share)
        if kind == EVALUATE and not self.evaluate:
            kind = COLLECT
        if kind != TRAIN:
            return Task(kind)
        first = pace.total("granted")
        pace.count("granted", -1, self.most)
        return Task(TRAIN, self.most, first, pace.total("added"))


def _cumulated(shares: tuple[tuple[int, float], ...]) -> list[tuple[int, float]]:
    total, out = 0.0, []
    for kind, share in shares:
        total += share
        out.append((kind, total))
    out[-1] = (out[-1][0], 1.0)
    return out
