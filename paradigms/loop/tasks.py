"""The tasks that a learner gives to its workers, and the rules by which it chooses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch

from agents.parts.draws import reseed
from agents.parts.vector import Vector
from paradigms.loop.ledger import LEARNER
from paradigms.loop.pace import Pace
from paradigms.runtime.memory import Shared

COLLECT, TRAIN, EVALUATE = 1, 2, 3
COLLECTS_PER_EVALUATION = 100  # collecting tasks
ASSIGNED, DONE, TAKEN, KIND, LEARNS, FIRST, ADDED, BASE, COUNT, TRAINED = range(10)


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

    @property
    def bytes_moved(self) -> int:
        """Bytes of the vectors that trained workers have returned."""
        return int(self._row.array[:, TRAINED].sum()) * 4 * int(self._own.shape[1])

    def assign(self, rank: int, task: Task) -> None:
        """The learner: gives worker `rank` a task; `kind` None gives it nothing to do."""
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
        """The task last given to a worker."""
        row, heads = self._row.array[rank], self._heads.array[rank].copy()
        kind = int(row[KIND]) or None
        return Task(kind, int(row[LEARNS]), int(row[FIRST]), int(row[ADDED]), heads)

    def report(self, rank: int, *, base: int, count: int, heads: np.ndarray) -> None:
        """The worker: the version it started from, rows or updates made, what the replay holds."""
        row = self._row.array[rank]
        row[BASE], row[COUNT] = base, count
        self._seen.array[rank] = heads

    def finish(self, rank: int) -> None:
        """The worker: the task is done, and everything of `report` may be read."""
        row = self._row.array[rank]
        row[TRAINED] += row[KIND] == TRAIN
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


class Chooser(Protocol):
    """Chooses the next task of worker `rank`; only the learner calls it."""

    def __call__(self, rank: int) -> Task: ...


class ByPace:
    """TRAIN while updates are due, else COLLECT, until the budget of env steps is spent; one task
    in COLLECTS_PER_EVALUATION collecting ones is EVALUATE where workers evaluate.

    Only what the learner itself has counted decides, so that a re-executed journal decides alike.
    In lockstep a round's updates are shared out evenly (see Pace.grant).
    """

    def __init__(self, pace: Pace, most: int, *, seed: int, evaluate: bool) -> None:
        self.pace, self.most, self.evaluate = pace, most, evaluate
        self.collected = 0

    def __call__(self, rank: int) -> Task:
        ledger = self.pace.ledger
        first = ledger.total("granted")
        if grant := self.pace.grant(self.most, rank):
            return Task(TRAIN, grant, first, ledger.total("added"))
        if self.pace.spent():
            return Task(None)
        self.collected += 1
        return Task(
            EVALUATE if self.evaluate and self.collected % COLLECTS_PER_EVALUATION == 0 else COLLECT
        )


class ByShares:
    """Tasks drawn with fixed probabilities after the warm-up, COLLECT before: as the dUpdate of
    Stone and Sachdev 2019, "Analysis of Concurrent Reinforcement Learning Algorithms".

    shares: the probabilities of `train`, `evaluate` and `collect`. Where workers do not evaluate,
    EVALUATE becomes COLLECT.
    """

    def __init__(
        self, shares: Mapping[str, float], pace: Pace, most: int, *, seed: int, evaluate: bool
    ) -> None:
        self.pace, self.most, self.seed, self.evaluate = pace, most, seed, evaluate
        self.train, self.evaluating = shares["train"], shares["train"] + shares["evaluate"]
        self.drawn = 0

    def __call__(self, rank: int) -> Task:
        pace, ledger = self.pace, self.pace.ledger
        if pace.spent():
            return Task(None)
        if ledger.total("added") < max(1, pace.warmup):
            return Task(COLLECT)
        generator = reseed(torch.Generator(), self.seed, "task", self.drawn)
        self.drawn += 1
        at = float(torch.rand((), generator=generator))
        if at >= self.train:
            evaluate = self.evaluate and at < self.evaluating
            return Task(EVALUATE if evaluate else COLLECT)
        first = ledger.total("granted")
        ledger.count("granted", LEARNER, self.most)
        return Task(TRAIN, self.most, first, ledger.total("added"))


def make_chooser(tasks: str, shares: Mapping[str, float]) -> Callable[..., Chooser]:
    """The class of the chooser named `by_pace` or `by_shares`. Raises ValueError for another name,
    and for shares that are not three probabilities that add up to 1."""
    if {*shares} != {"train", "evaluate", "collect"} or (
        min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6
    ):
        raise ValueError(
            f"paradigm.shares={dict(shares)} must be the probabilities of train, evaluate and"
            " collect, which add up to 1"
        )
    if tasks == "by_pace":
        return ByPace
    if tasks == "by_shares":
        return partial(ByShares, shares)
    raise ValueError(f"paradigm.tasks={tasks} is unknown; choose by_pace or by_shares")
