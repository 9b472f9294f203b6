"""A worker's share of every batch, where several workers learn from one batch together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from agents.base import Batch
from paradigms.experience.replay import Replay, Source
from paradigms.experience.rollout import Rollout


class Share(Source, Protocol):
    """A Source that gives one worker its shares, in turn. parts: how many `learn`s of all workers
    together each sample of a worker is for. count: transitions in the share given last."""

    parts: int
    count: int

    def begin(self) -> None:
        """Drops the shares of a sample that are left."""


class DrawnShare:
    """Transitions that the worker draws itself: of `size`, the whole (None) or its part."""

    parts = 1

    def __init__(self, replay: Replay, rank: int, workers: int | None) -> None:
        self.replay, self.rank, self.workers, self.count = replay, rank, workers, 0

    def begin(self) -> None:
        """There are none."""

    @property
    def streams(self) -> int:
        return self.replay.streams

    def heads(self) -> np.ndarray:
        return self.replay.heads()

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        if self.workers is not None:
            first, end = (size * (self.rank + n) // self.workers for n in (0, 1))
            size = end - first
        self.count = size
        return self.replay.sample(size, generator, heads=heads, ranks=ranks)

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        self.replay.update(index, priority)


class FragmentShare:
    """Columns (env slots) of the worker's own fragments, which are consumed once.

    A sample of each worker is enough for `parts` batches of the size of one sample. Its columns are
    given out in their order, so that each of these batches has, over all workers, the columns of
    one sample: column j of worker i is number j * parts + i of all, and part k is those from k * c
    on, where a sample has c. A worker's share of a batch may be without columns, [T, 0, ...]; then
    no transition is valid, and `learn` makes no update.
    """

    def __init__(self, replay: Rollout, rank: int, parts: int) -> None:
        self.replay, self.rank, self.parts, self.count = replay, rank, parts, 0
        self._left: deque[Batch] = deque()

    def begin(self) -> None:
        self._left.clear()

    @property
    def streams(self) -> int:
        return self.replay.streams

    def heads(self) -> np.ndarray:
        return self.replay.heads()

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """The next share; nothing is drawn."""
        waiting = (self.replay.heads() - self.replay.taken)[[self.rank]]
        if not self._left and self.replay.samples(waiting):
            whole = self.replay.sample(size, generator, ranks=(self.rank,))
            self._left.extend(self._cut(whole))
        share = self._left.popleft() if self._left else self.replay.nothing()
        self.count = int(share.valid.sum())
        return share

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        """Does nothing, because these transitions are not drawn again."""

    def _cut(self, whole: Batch) -> list[Batch]:
        columns = whole.reward.shape[1]
        numbers = np.arange(columns) * self.parts + self.rank % self.parts
        ends = np.searchsorted(numbers, np.arange(self.parts + 1) * columns)
        states = self.replay.layout.states  # [N, ...], other columns are [T, N, ...]
        return [
            Batch({k: v[first:end] if k in states else v[:, first:end] for k, v in whole.items()})
            for first, end in itertools.pairwise(ends)
        ]


def make_share(batch: str, replay: Replay, rank: int, workers: int) -> Share:
    """The shares of worker `rank`: with `split` of a batch as one process alone learns from, with
    `each` a whole batch for every worker. Raises ValueError for another word."""
    if batch not in ("split", "each"):
        raise ValueError(f"paradigm.batch={batch} is unknown; choose split or each")
    if isinstance(replay, Rollout):
        together = replay.fragments is None  # a sample of all is a fragment of each
        return FragmentShare(replay, rank, workers if batch == "split" and not together else 1)
    return DrawnShare(replay, rank, workers if batch == "split" else None)
