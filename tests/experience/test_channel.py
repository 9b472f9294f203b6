"""The channel: every fragment that is put is got once, in order, whole."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import ROW, Key, Spec
from envs.make import describe
from paradigms.experience.channel import Channel
from paradigms.experience.layout import Fragment, Layout
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from tests.jobs import world

WORKERS, DEPTH = 3, 2
SPEC: Spec = describe(world("Counting"))
LAYOUT = Layout(SPEC, rollout_length=4, num_envs=2)


def fragment(rank: int, number: int, layout: Layout = LAYOUT) -> Fragment:
    """A fragment all of whose bytes follow from its number."""
    made = layout.empty(rank)
    made.data[...] = np.zeros((), layout.fragment)
    made.transitions["obs"], made.transitions["reward"] = number, -number
    made.next_obs[...], made.final_obs[...] = number + 1, number + 2
    made.number, made.n_valid = number, rank
    return made


def same(one: Fragment, other: Fragment) -> bool:
    return one.rank == other.rank and one.data.tobytes() == other.data.tobytes()


WHAT = st.sampled_from(["put", "put", "get", "get and free"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(WHAT, st.integers(0, WORKERS - 1)), max_size=60))
def test_each_workers_fragments_come_out_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    channel = Channel(LAYOUT, WORKERS, DEPTH)
    waiting: list[deque[int]] = [deque() for _ in range(WORKERS)]
    used = LAYOUT.empty(0)  # an actor fills the same one again
    for number, (what, rank) in enumerate(steps):
        queue = waiting[rank]
        if what == "put":
            used.rank, used.data[...] = rank, fragment(rank, number).data
            if len(queue) == DEPTH:
                with pytest.raises(BufferError, match=f"no space in the channel of worker {rank}"):
                    channel.put(used)
            else:
                channel.put(used)
                queue.append(number)
        elif not queue:
            with pytest.raises(BufferError, match=f"nothing waits in the channel of worker {rank}"):
                channel.get(rank)
        else:
            assert same(channel.get(rank), fragment(rank, queue[0]))
            if what == "get and free":
                channel.free(rank)
                queue.popleft()
        lengths = [len(queue) for queue in waiting]
        assert channel.waiting() == sum(lengths)
        assert [channel.has_space(rank) for rank in range(WORKERS)] == [n < DEPTH for n in lengths]
        fullest_first = sorted(range(WORKERS), key=lambda rank: -lengths[rank])
        assert channel.filled() == [rank for rank in fullest_first if lengths[rank]]


def test_a_fragment_that_was_got_keeps_its_slot_until_it_is_freed() -> None:
    channel = Channel(LAYOUT, 1, depth=2)
    channel.put(fragment(0, 1))
    got = channel.get(0)
    channel.put(fragment(0, 2))
    assert not channel.has_space(0)
    assert same(got, fragment(0, 1))
    channel.free(0)
    channel.put(fragment(0, 3))
    assert same(channel.get(0), fragment(0, 2))
    channel.free(0)
    assert same(channel.get(0), fragment(0, 3))


def test_extras_of_a_step_and_of_a_fragment_are_carried() -> None:
    spec = SPEC.with_extras({"logp": Key(), "memory": Key((3,), per="fragment")})
    layout = Layout(spec, rollout_length=4, num_envs=2)
    channel = Channel(layout, 1)
    sent = fragment(0, 5, layout)
    sent.transitions["logp"] = np.arange(8).reshape(4, 2)
    sent.data["memory"] = np.arange(6).reshape(2, 3)
    channel.put(sent)
    assert same(channel.get(0), sent)
    assert set(ROW) < set(layout.transition.names)


class Sender(Role):
    """Puts n fragments, as fast as there is space."""

    def __init__(self, channel: Channel, rank: int, n: int) -> None:
        self.channel, self.rank, self.n = channel, rank, n

    def run(self, link: Link) -> None:
        for number in range(self.n):
            if not link.wait("space", lambda: self.channel.has_space(self.rank)):
                return
            self.channel.put(fragment(self.rank, number))


class Receiver(Role):
    """Gets them all and compares each with what it must be."""

    def __init__(self, channel: Channel, n: int) -> None:
        self.channel, self.n = channel, n

    def run(self, link: Link) -> None:
        numbers = [0] * WORKERS
        while min(numbers) < self.n and link.wait("fragment", self.channel.filled):
            for rank in self.channel.filled():
                assert same(self.channel.get(rank), fragment(rank, numbers[rank]))
                self.channel.free(rank)
                numbers[rank] += 1
        link.report({"numbers": numbers, "bytes": self.channel.bytes_moved})


def test_nothing_is_lost_or_torn_between_processes() -> None:
    n = 100
    channel = Channel(LAYOUT, WORKERS, DEPTH)
    crew = Crew()
    crew.add("receiver", Receiver, channel, n)
    for rank in range(WORKERS):
        crew.add(f"sender-{rank}", Sender, channel, rank, n, rank=rank)
    with crew:
        (reported,) = [report.data for report in crew.run() if report.kind == "metrics"]
    assert reported["numbers"] == [n] * WORKERS
    assert reported["bytes"] == n * WORKERS * LAYOUT.fragment.itemsize
    assert channel.waiting() == 0
