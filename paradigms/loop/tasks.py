"""The tasks that the learner of dupdate gives to its workers, and the rules that choose them."""

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
    """kind: COLLECT (a fragment), TRAIN, EVALUATE (an episode), or None (no task).

    Of TRAIN alone: learns, how many calls of `learn`; first, the number of the first one over the
    whole run, which determines what it draws; added, the env steps in the replay; heads: int64
    [streams], the replay's write positions up to which the worker may draw (filled in by
    `Tasks.assign`).
    """

    kind: int | None
    learns: int = 0
    first: int = 0
    added: int = 0
    heads: np.ndarray = np.zeros(0, np.int64)


class Tasks:
    """One task a worker at a time, its result, and the vectors that training starts from and comes
    to, in shared memory. The learner and the worker take turns at writing a worker's part:

        learner   assign ---.                          .--> take, then assign the next
        worker              '-> read ... report, finish'

    A worker may call `read`, `report` and `finish` once `waits_for` is true, until `finish`. The
    learner may call `take`, and `assign` again, once the worker is in `finished`. Between `assign`
    and `finish` the worker alone writes `base`, `own` and `counts`. No method blocks: both sides
    call Link.wait with these predicates, whose counters are written last.

    known: int64 [streams], the write positions of the replay that the learner has learned of by
    `take`. Each worker reports those of its own streams, so that what another process has added
    meanwhile decides nothing, and a re-executed journal draws the same batches.
    """

    def __init__(self, workers: int, streams: int, vector: Vector) -> None:
        """streams: those of the replay, the same number for each worker. vector: an agent's, for
        its sizes."""
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
        """Gives worker `rank` a task to draw up to `known`; with `kind` None it keeps waiting. The
        learner's, after `take` of the last one."""
        row = self._row.array[rank]
        self._heads.array[rank] = self.known
        row[KIND], row[LEARNS], row[FIRST] = task.kind or 0, task.learns, task.first
        row[ADDED] = task.added
        if task.kind is not None:
            row[ASSIGNED] += 1

    def waits_for(self, rank: int) -> bool:
        """Whether worker `rank` has a task that it has not finished."""
        row = self._row.array[rank]
        return bool(row[ASSIGNED] > row[DONE])

    def read(self, rank: int) -> Task:
        """The task last given to worker `rank`; `kind` None if there was none."""
        row, heads = self._row.array[rank], self._heads.array[rank].copy()
        kind = int(row[KIND]) or None
        return Task(kind, int(row[LEARNS]), int(row[FIRST]), int(row[ADDED]), heads)

    def report(self, rank: int, *, base: int, count: int, heads: np.ndarray) -> None:
        """The result of a task. The worker's, before `finish`.

        base: the policy version it started from, in updates; -1 for weights that are no version of
        the learner's. count: transitions added (COLLECT), updates made (TRAIN), 0 (EVALUATE).
        heads: int64 [streams], the write positions of the replay, of which the worker's own count.
        """
        row = self._row.array[rank]
        row[BASE], row[COUNT] = base, count
        self._seen.array[rank] = heads

    def finish(self, rank: int) -> None:
        """Marks the task as done, so that the learner may read everything. The worker's."""
        row = self._row.array[rank]
        row[TRAINED] += row[KIND] == TRAIN
        row[DONE] = row[ASSIGNED]

    def finished(self) -> list[int]:
        """The workers whose results wait to be taken, in the order of rank."""
        row = self._row.array
        return [int(r) for r in np.flatnonzero(row[:, DONE] > row[:, TAKEN])]

    def all_finished(self) -> bool:
        """Whether every worker that had a task has finished it, and at least one had."""
        row = self._row.array
        return bool((row[:, DONE] == row[:, ASSIGNED]).all() and self.finished())

    def all_idle(self) -> bool:
        """Whether no worker has a task and no result waits to be taken."""
        row = self._row.array
        return bool((row[:, TAKEN] == row[:, ASSIGNED]).all())

    def take(self, rank: int) -> tuple[int, int, np.ndarray]:
        """(base, count, known) of the result of worker `rank`, with `known` brought up to it. The
        learner's, once the worker is in `finished`."""
        row, num_envs = self._row.array[rank], self.streams // self.workers
        mine = slice(rank * num_envs, (rank + 1) * num_envs)
        self.known[mine] = np.maximum(self.known[mine], self._seen.array[rank, mine])
        row[TAKEN] = row[DONE]
        return int(row[BASE]), int(row[COUNT]), self.known

    def base(self, rank: int) -> torch.Tensor:
        """A view of the vector that the worker's training started from, float32."""
        return self._base.tensor[rank]

    def own(self, rank: int) -> torch.Tensor:
        """A view of the vector that the worker's training came to, float32."""
        return self._own.tensor[rank]

    def counts(self, rank: int) -> torch.Tensor:
        """A view of how many updates of each group the training made, int64 [groups]."""
        return self._counts.tensor[rank]

    def know(self, heads: np.ndarray) -> None:
        """Sets `known` when a run is resumed, before workers start."""
        self.known[:] = heads


class Chooser(Protocol):
    """Chooses tasks."""

    def __call__(self, rank: int) -> Task:
        """The next task of worker `rank`. Called by the learner alone; counts what it grants."""


class ByPace:
    """TRAIN while updates are due, else COLLECT, until the budget of env steps is spent; one task
    in COLLECTS_PER_EVALUATION collecting ones is EVALUATE where workers evaluate.

    Only what the learner itself has counted decides, so that a re-executed journal decides alike.
    In lockstep a round's updates are divided evenly among the workers (see Pace.grant).
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
    """COLLECT until the warm-up is over, then tasks drawn with fixed probabilities, as in the
    dUpdate of Stone and Sachdev 2019, "Analysis of Concurrent Reinforcement Learning Algorithms".

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
