"""What do the parts cost beside the least that could do the job?

Publishing against a plain copy of as many bytes; the Channel's ring against multiprocessing.Queue,
each with a writer in another process. Sizes are those of SAC on LunarLanderContinuous.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.base import ROW, Spec
from agents.parts.vector import Vector
from agents.sac import SAC
from benchmarks import rounds
from envs.make import describe, make_env
from paradigms.experience.channel import Channel
from paradigms.experience.layout import Layout
from paradigms.runtime import machine
from paradigms.weights.published import Weights

TURN = 16


def bench_publish_against_a_copy(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.prepare()
    times = 20 if quick else 2_000
    agent = SAC(make_spec(), seed=0)
    vector = Vector(agent)
    weights = Weights(vector, "all")
    copy = np.empty(vector.size("all"), np.float32)
    source = vector.floats.numpy()

    sides = {
        "numpy.copyto": repeated(lambda: np.copyto(copy, source), times),
        "publish": repeated(lambda: weights.publish(vector, 1), times),
        "pull": repeated(lambda: weights.pull(vector), times),
    }
    rates = benchmark.pedantic(partial(rounds.interleave, sides, 1 if quick else 15), rounds=1)
    question = f"Whole agents ({source.nbytes / 1e6:.1f} MB) a second through shared memory."
    said = rounds.keep(results, "publish", question=question, unit="copies/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def bench_channel_against_a_queue(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.prepare()
    count = 50 if quick else 20_000
    layout = Layout(make_spec(), TURN, 1)
    sides = {
        "multiprocessing.Queue": partial(queue_rate, layout, count),
        "Channel": partial(channel_rate, layout, count),
    }
    rates = benchmark.pedantic(partial(rounds.interleave, sides, 1 if quick else 7), rounds=1)
    size = layout.fragment.itemsize
    question = f"Fragments of {TURN} rows ({size} bytes) a second from another process."
    said = rounds.keep(results, "channel", question=question, unit="fragments/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def make_spec() -> Spec:
    spec = describe(partial(make_env, "LunarLander-v3", kwargs={"continuous": True}))
    assert set(ROW) <= set(spec.keys)
    return spec


def repeated(work: Callable[[], object], times: int) -> rounds.Side:
    def all_of_them() -> float:
        for _ in range(times):
            work()
        return times

    return rounds.rate(all_of_them)


def channel_rate(layout: Layout, count: int) -> float:
    channel = Channel(layout, workers=1)
    kept = layout.empty(0)

    def read() -> None:
        while not channel.filled():
            os.sched_yield()
        kept.data[...] = channel.get(0).data
        channel.free(0)

    with writer(write_to_channel, channel, layout, count):
        read()  # the writer has started
        return rounds.rate(lambda: _times(read, count))()


def queue_rate(layout: Layout, count: int) -> float:
    queue = _context().Queue(maxsize=4)
    kept = layout.empty(0)

    def read() -> None:
        kept.data[...] = queue.get()

    with writer(write_to_queue, queue, layout, count):
        read()
        return rounds.rate(lambda: _times(read, count))()


def write_to_channel(channel: Channel, layout: Layout, count: int) -> None:
    fragment = layout.empty(0)
    for _ in range(count + 1):
        while not channel.has_space(0):
            os.sched_yield()
        channel.put(fragment)


def write_to_queue(queue: Any, layout: Layout, count: int) -> None:
    fragment = layout.empty(0)
    for _ in range(count + 1):
        queue.put(fragment.data)


@contextmanager
def writer(target: Callable[..., None], *arguments: object) -> Iterator[None]:
    process = _context().Process(target=target, args=arguments)
    process.start()
    try:
        yield
        process.join(60)
    finally:
        process.kill()
        process.join()


def _context() -> Any:
    return multiprocessing.get_context("spawn")


def _times(work: Callable[[], None], count: int) -> float:
    for _ in range(count):
        work()
    return float(count)
