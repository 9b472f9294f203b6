"""Sides of a comparison in turn, A B A B, so that a machine that slows down slows both."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import cells, store

Side = Callable[[], float]


def interleave(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Rates of every side, `rounds` of each, after one round of each that is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            rate = side()
            if number:
                rates[name].append(rate)
    return rates


def rate(work: Callable[[], float]) -> Side:
    """A side from work that returns how much it did: that per second."""

    def timed() -> float:
        start = time.perf_counter()
        done = work()
        return done / (time.perf_counter() - start)

    return timed


@contextmanager
def apart(make: Callable[[], Callable[[], float]]) -> Iterator[Side]:
    """A side in a process of its own, which `make` sets up there; it idles while others work."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(make, there))
    process.start()
    there.close()

    def side() -> float:
        here.send("work")
        return float(here.recv())

    try:
        here.recv()  # it is set up
        yield side
    finally:
        here.close()
        process.join()


def _serve(make: Callable[[], Callable[[], float]], pipe: Connection) -> None:
    side = rate(make())
    pipe.send("ready")
    try:
        while pipe.recv():
            pipe.send(side())
    except EOFError:
        return


def keep(
    results: Path, suite: str, *, question: str, unit: str, rates: Mapping[str, list[float]]
) -> str:
    """Adds the line of results/bench.jsonl that a table is printed from; returns one for people for
    each side.

    A side's ratio is the median over rounds of its rate to the first side's in the same round.
    """
    first = next(iter(rates.values()))
    sides = []
    for name, own in rates.items():
        ratios = [mine / theirs for mine, theirs in zip(own, first, strict=True)]
        sides.append(
            {
                "name": name,
                "rate": statistics.median(own),
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "rounds": len(own),
                "rates": store.rounded(own, 4),
            }
        )
    record = {"variant": suite, "seed": 0, "question": question, "unit": unit, "sides": sides}
    store.append("bench", {**record, **cells.origin()}, results)
    return "\n".join(
        f"{side['name']:32} {side['rate']:12,.1f} {unit}  x {side['ratio']:.2f}"
        f" ({side['ratio_low']:.2f}-{side['ratio_high']:.2f})"
        for side in sides
    )
