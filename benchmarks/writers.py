"""Two processes that write to one shared vector at the same time: what gets lost, what is torn?

    python -m benchmarks.writers

Each copies a first vector, fills it with a number of its own, and adds 1 to a second one, over and
over. *Torn*: the share of copies that hold more than one number. *Lost*: the share of additions
that the second vector lacks in the end. With a lock both are 0; the price of the lock is the ratio
of the rates, sides in turn (A B A B).
"""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.rows import markdown, number
from paradigms.runtime import machine
from paradigms.runtime.memory import Shared
from paradigms.runtime.start import context

SIZES = (100, 10_000, 1_000_000)  # floats
SECONDS = 1.5  # of one measurement
ROUNDS = 3


class Writer:
    """One process: writes until the time is over, and notes (writes, torn copies) in its row.
    vectors: float32 [2, floats]."""

    def __init__(self, vectors: Shared, notes: Shared, rank: int, lock: Any) -> None:
        self.vectors, self.notes, self.rank, self.lock = vectors, notes, rank, lock

    def __call__(self, begin: float) -> None:
        machine.prepare()
        (filled, added), written, torn = self.vectors.tensor, 0, 0
        guard = self.lock or contextlib.nullcontext()
        while time.time() < begin:
            pass
        while time.time() < begin + SECONDS:
            with guard:
                copy = filled.clone()
                filled.fill_(float(2 * written + self.rank))
                added.add_(1.0)
            torn += bool(copy.min() != copy.max())
            written += 1
        self.notes.array[self.rank] = written, torn


def measure(size: int, *, locked: bool) -> tuple[float, float, float]:
    """(lost, torn, writes a second) of two processes."""
    vectors, notes = Shared((2, size), np.float32), Shared((2, 2), np.int64)
    lock = context().Lock() if locked else None
    begin = time.time() + 4.0  # both have begun by then
    writers = [Writer(vectors, notes, rank, lock) for rank in range(2)]
    processes = [context().Process(target=writer, args=(begin,)) for writer in writers]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    written, torn = (int(column) for column in notes.array.sum(axis=0))
    lost = 1 - float(vectors.tensor[1].double().mean()) / written
    return lost, torn / written, written / SECONDS


def main() -> None:
    lines = []
    for size in SIZES:
        rounds = [[measure(size, locked=side) for side in (False, True)] for _ in range(ROUNDS)]
        free, held = ([r[side] for r in rounds] for side in range(2))
        for name, side in (("none", free), ("lock", held)):
            lost, torn, rate = (statistics.median(column) for column in zip(*side, strict=True))
            ratio = statistics.median(
                mine[2] / base[2] for mine, base in zip(side, free, strict=True)
            )
            shares = [f"{100 * share:.2f} %" for share in (lost, torn)]
            lines.append([f"{size:,}", name, *shares, number(rate, 0), number(ratio, 2)])
    print(markdown(["floats", "lock", "lost", "torn", "writes/s", "ratio"], lines))


if __name__ == "__main__":
    main()
