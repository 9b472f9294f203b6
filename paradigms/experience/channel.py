"""How fragments cross a process border: for each worker a ring of slots with one writer and one
reader, without locks."""

from __future__ import annotations

import numpy as np

from paradigms.errors import Empty, Full
from paradigms.experience.layout import Fragment, Layout
from paradigms.runtime.memory import Shared


class Channel:
    """At most `depth` fragments in flight for each worker. No method blocks. x86 keeps stores in
    order, so that a slot is complete before the reader sees the count that shows it.

        if channel.has_space(rank): channel.put(fragment)     # the worker `rank`
        for rank in channel.filled():                         # the one reader
            replay.add(channel.get(rank))
            channel.free(rank)
    """

    def __init__(self, layout: Layout, workers: int, depth: int = 4) -> None:
        self.workers, self.depth, self._dtype = workers, depth, layout.fragment
        self._slots = Shared((workers, depth, layout.fragment.itemsize), np.uint8)
        self._put = Shared((workers, 8), np.int64)  # a cache line a worker
        self._got = Shared((workers, 8), np.int64)

    @property
    def bytes_moved(self) -> int:
        """Bytes of all fragments that workers have put."""
        return int(self._put.array[:, 0].sum()) * int(self._dtype.itemsize)

    @property
    def sent(self) -> np.ndarray:
        """How many fragments each worker has ever put, int64 [workers]."""
        counts: np.ndarray = self._put.array[:, 0].copy()
        return counts

    @property
    def taken(self) -> np.ndarray:
        """How many fragments of each worker have been freed, int64 [workers]."""
        counts: np.ndarray = self._got.array[:, 0].copy()
        return counts

    def go_on(self, sent: np.ndarray) -> None:
        """Continues the counts of another channel, int64 [workers], with no fragment waiting."""
        self._put.array[:, 0] = self._got.array[:, 0] = sent

    def has_space(self, rank: int) -> bool:
        """Whether worker `rank` may put a fragment."""
        return bool(self._put.array[rank, 0] - self._got.array[rank, 0] < self.depth)

    def put(self, fragment: Fragment) -> None:
        """Copies a fragment into the next slot of its worker, who alone calls it. Raises Full if
        there is no space."""
        if not self.has_space(fragment.rank):
            raise Full(f"no space in the channel of worker {fragment.rank}: wait for has_space")
        sent = int(self._put.array[fragment.rank, 0])
        self._slot(fragment.rank, sent)[...] = fragment.data
        self._put.array[fragment.rank, 0] = sent + 1

    def filled(self) -> list[int]:
        """The workers that have fragments waiting, those with the most first."""
        waiting = self._put.array[:, 0] - self._got.array[:, 0]
        return [int(r) for r in np.argsort(-waiting, kind="stable") if waiting[r]]

    def waiting(self) -> int:
        """How many fragments of all workers wait."""
        return int((self._put.array[:, 0] - self._got.array[:, 0]).sum())

    def get(self, rank: int) -> Fragment:
        """A view of the oldest waiting fragment of a worker, valid until `free`. The reader's.
        Raises Empty if none waits."""
        got = int(self._got.array[rank, 0])
        if got == self._put.array[rank, 0]:
            raise Empty(f"nothing waits in the channel of worker {rank}")
        return self.peek(rank, got)

    def peek(self, rank: int, number: int) -> Fragment:
        """A view of the fragment that a worker put after `number` others, while its slot has it."""
        return Fragment(rank, self._slot(rank, number))

    def free(self, rank: int, count: int = 1) -> None:
        """Frees the slots of the oldest waiting fragments. The reader's."""
        self._got.array[rank, 0] += count

    def _slot(self, rank: int, count: int) -> np.ndarray:
        slot: np.ndarray = self._slots.array[rank, count % self.depth]
        return slot.view(self._dtype).reshape(())
