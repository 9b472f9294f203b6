"""The newest whole state of each of several processes, kept where it survives them."""

from __future__ import annotations

import os
import pickle
from multiprocessing import reduction
from typing import Any

import numpy as np

from paradigms.runtime.memory import Shared, anonymous_file

MOST_TRIES = 100  # to read what another process writes


class Kept:
    """Nested dicts of tensors, arrays and numbers, of any size, in anonymous shared memory; each
    rank has one writer, whoever likes reads:

        kept.put(rank, state)          # the writer
        state = kept.newest(rank)      # one that replaces it, or the process that drives the run

    A state is written beside the one before it, which is given up when it is whole: a writer that
    dies leaves the one or the other. Nothing here waits. Pickle it only as an argument of a process
    that is being started.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._places = [_Place() for _ in range(2 * ranks)]
        self._numbers = Shared((ranks, 8), np.int64)  # states written, and the newest's bytes

    @property
    def versions(self) -> np.ndarray:
        """How many states each rank has written, int64 [ranks], a copy."""
        return self._numbers.array[:, 0].copy()

    def put(self, rank: int, state: dict[str, Any]) -> None:
        """Keeps a state, of which nothing is shared with the caller's."""
        data = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
        row = self._numbers.array[rank]
        written, older = self._pair(rank)
        written.write(data)
        row[1 + (row[0] + 1) % 2] = len(data)
        row[0] += 1
        older.write(b"")

    def newest(self, rank: int) -> dict[str, Any] | None:
        """A copy of the rank's newest state; None if it has kept none. Raises OSError where its
        writer overtakes the reader again and again."""
        for _ in range(MOST_TRIES):
            row = self._numbers.array[rank].copy()
            if not row[0]:
                return None
            _, place = self._pair(rank)
            data = place.read(int(row[1 + row[0] % 2]))
            if self._numbers.array[rank, 0] == row[0]:
                state: dict[str, Any] = pickle.loads(data)
                return state
        raise OSError(f"the state of rank {rank} changes faster than it can be read")

    def _pair(self, rank: int) -> tuple[_Place, _Place]:
        """Where the next state goes, and where the newest is."""
        newest = int(self._numbers.array[rank, 0]) % 2
        return self._places[2 * rank + 1 - newest], self._places[2 * rank + newest]


class _Place:
    """Bytes in anonymous shared memory, as many as were written last."""

    def __init__(self) -> None:
        self._fd = anonymous_file(0)

    def write(self, data: bytes) -> None:
        os.ftruncate(self._fd, len(data))
        rest, at = memoryview(data), 0
        while rest:
            at += (done := os.pwrite(self._fd, rest, at))
            rest = rest[done:]

    def read(self, size: int) -> bytearray:
        """At most so many bytes from its beginning."""
        data, at = bytearray(size), 0
        while at < size and (part := os.preadv(self._fd, [memoryview(data)[at:]], at)):
            at += part
        return data

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._fd)

    def __setstate__(self, duplicate: Any) -> None:
        self._fd = duplicate.detach()

    def __del__(self) -> None:
        if (fd := self.__dict__.pop("_fd", None)) is not None:
            os.close(fd)
