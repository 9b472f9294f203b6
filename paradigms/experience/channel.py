"""How fragments cross a process border: a ring of slots a worker, one writer, one reader, no
lock."""

from __future__ import annotations

import numpy as np

from paradigms.errors import Empty, Full
from paradigms.experience.layout import Fragment, Layout
from paradigms.runtime.memory import Shared


class Channel:
    """`depth` fragments in flight for each worker. x86 keeps stores in order, so that a slot is
    whole before the count that shows it moves.

        if channel.has_space(rank): channel.put(fragment)             # the worker `rank`
        for rank in channel.filled(): replay.add(channel.get(rank)); channel.free(rank)   # the
        reader

    A fragment got is a view of its slot, good until `free`.
    """

    def __init__(self, layout: Layout, workers: int, depth: int = 4) -> None:
        self.workers, self.depth, self._dtype = workers, depth, layout.fragment
        self._slots = Shared((workers, depth, layout.fragment.itemsize), np.uint8)
        self._put = Shared((workers, 8), np.int64)  # a cache line a worker
        self._got = Shared((workers, 8), np.int64)

    @property
    def bytes_moved(self) -> int:
        """What all workers have put into it."""
        return int(self._put.array[:, 0].sum()) * int(self._dtype.itemsize)

    @property
    def sent(self) -> np.ndarray:
        """How many fragments each worker has ever put, [workers]."""
        counts: np.ndarray = self._put.array[:, 0].copy()
        return counts

    @property
    def taken(self) -> np.ndarray:
        """How many fragments of each worker have been got and freed, [workers]."""
        counts: np.ndarray = self._got.array[:, 0].copy()
        return counts

    def go_on(self, sent: np.ndarray) -> None:
        """Counts on from what another channel has passed on, [workers]; nothing waits."""
        self._put.array[:, 0] = self._got.array[:, 0] = sent

    def has_space(self, rank: int) -> bool:
        return bool(self._put.array[rank, 0] - self._got.array[rank, 0] < self.depth)

    def put(self, fragment: Fragment) -> None:
        """Copies a fragment into the next slot. Raises Full if there is none."""
        if not self.has_space(fragment.rank):
            raise Full(f"no room in the channel of worker {fragment.rank}: wait for has_space")
        sent = int(self._put.array[fragment.rank, 0])
        self._slot(fragment.rank, sent)[...] = fragment.data
        self._put.array[fragment.rank, 0] = sent + 1

    def filled(self) -> list[int]:
        """The workers with a fragment waiting, the fullest first."""
        waiting = self._put.array[:, 0] - self._got.array[:, 0]
        return [int(r) for r in np.argsort(-waiting, kind="stable") if waiting[r]]

    def waiting(self) -> int:
        """How many fragments wait to be read."""
        return int((self._put.array[:, 0] - self._got.array[:, 0]).sum())

    def get(self, rank: int) -> Fragment:
        """The oldest waiting fragment of a worker. Raises Empty if there is none."""
        got = int(self._got.array[rank, 0])
        if got == self._put.array[rank, 0]:
            raise Empty(f"nothing waits in the channel of worker {rank}")
        return self.peek(rank, got)

    def peek(self, rank: int, number: int) -> Fragment:
        """The fragment that a worker put after `number` others, as long as its slot has it."""
        return Fragment(rank, self._slot(rank, number))

    def free(self, rank: int) -> None:
        """Gives the slot of the fragment last got back to its worker."""
        self._got.array[rank, 0] += 1

    def _slot(self, rank: int, count: int) -> np.ndarray:
        slot: np.ndarray = self._slots.array[rank, count % self.depth]
        return slot.view(self._dtype).reshape(())
