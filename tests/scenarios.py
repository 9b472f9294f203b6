"""What processes do at once to the weights, tasks, locks and journal that they share, and what must
hold: scenarios for tests/interleavings.py. Every number says whose it is, so that a mixture shows.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from paradigms.loop.tasks import TRAIN, Task, Tasks
from paradigms.runtime.event import Event
from paradigms.runtime.journal import Journal, JournalWriter, begin
from paradigms.runtime.lock import Lock
from paradigms.runtime.memory import anonymous_file
from paradigms.weights.gossip import Vectors
from paradigms.weights.population import Population
from paradigms.weights.published import Weights
from paradigms.weights.reduced import Rows
from paradigms.weights.sharded import Shards
from tests.interleavings import Check, wait
from tests.jobs import job, laid, sac

Made = tuple[list[Callable[[], None]], Check]


class Numbers:
    """As much of an agent's vector as weights need, all of whose numbers are the same."""

    agent = SimpleNamespace(sums=(), slow={})

    def __init__(self, value: float = 0) -> None:
        self.floats, self.counts = torch.zeros(4), torch.zeros(2, dtype=torch.int64)
        self.fill(value)

    def fill(self, value: float) -> Any:
        self.floats.fill_(value)
        self.counts.fill_(int(value))
        return self

    def size(self, part: str) -> int:
        return len(self.floats)

    def are(self, value: float) -> bool:
        return bool((self.floats == value).all() and (self.counts == int(value)).all())


def published(readers: int = 1) -> Made:
    """A writer of versions and its readers, in the two slots that there must be at least."""
    source: Any = Numbers()
    weights = Weights(source, "all", spare=2)

    def write() -> None:
        for version in (1, 2, 3):
            weights.publish(source.fill(version), version)

    def read() -> None:
        target: Any = Numbers()
        known = weights.version
        got = weights.pull(target)
        assert target.are(got), "a version is whole"
        assert got >= known, "versions never go back"
        snapshot = weights.snapshot("all", 4)
        assert (snapshot.floats == snapshot.version).all() and snapshot.version >= got
        assert (snapshot.counts == snapshot.version).all()

    def check() -> None:
        assert weights.version == 3

    return [write, *[read] * readers], check


def small() -> Any:
    return laid(sac(job().spec, 0, hidden_sizes=(2, 2))).vector


VECTORS: Any = functools.cache(lambda: (small(), small()))


def shards() -> Made:
    """A parameter server that changes its shard, and a worker that reads it."""
    source, target = VECTORS()
    shared = Shards(source, 1)

    def serve() -> None:
        for version in (1, 2):
            shared.begin(0, rank=0)
            shared.floats[...] = torch.full((len(source.floats),), float(version))
            shared.counts[0] = version
            shared.finish(0)

    def read() -> None:
        wait(lambda: shared.version(0) > 0)
        while (got := shared.read(0, target, ["actor"])) is None:
            wait(lambda: shared.open(0) is None)
        version, counts = got
        assert (target.flat("actor") == version).all() and (counts == version).all()

    return [serve, read], lambda: None


def rows() -> Made:
    """Replicas that meet three times, and read what each has brought."""
    source: Any = Numbers()
    shared = Rows(source, 2)

    def meet(rank: int) -> None:
        for meeting in range(3):
            own = 10 * meeting + rank
            shared.put(meeting, rank, own, 1.0, torch.full((4,), float(own)))
            wait(lambda: shared.whole(meeting))  # noqa: B023
            brought = [10 * meeting, 10 * meeting + 1]
            assert shared.moves(meeting) == brought
            for other, number in enumerate(brought):
                row = shared.floats(meeting, other, 4).clone()
                assert (row == number).all(), "a row is whole, and of this meeting"

    return [functools.partial(meet, rank) for rank in range(2)], lambda: None


def population() -> Made:
    """Two members that end rounds together, and the main process, which looks at any time."""
    source: Any = Numbers()
    shared = Population(source, 2, 1)

    def live(rank: int) -> None:
        for number in range(3):
            own = Numbers(10 * number + rank + 1)
            point = np.array([own.floats[0]])
            shared.show(rank, number, own.floats, own.counts, point, float(rank))
            shared.end(rank, number)
            wait(lambda: shared.complete(number))  # noqa: B023
            if rank == 0 and number == 1:
                floats, counts, point = shared.copy(0, 1, number)
                for part in (floats, counts, torch.from_numpy(point)):
                    assert (part == 10 * number + 2).all(), "what is copied is the donor's"

    def look() -> None:
        snapshot = shared.snapshot("all", 4)
        assert (snapshot.floats == snapshot.version).all(), "a policy is whole"
        assert snapshot.version in (0, 2, 12, 22), "and that of the best member"

    return [look, *(functools.partial(live, rank) for rank in range(2))], lambda: None


class Waiting:
    """A link whose waits end when others have come so far."""

    def wait(self, what: str, ready: Callable[[], object], *, brief: bool = False) -> bool:
        wait(ready)
        return True


def averaged() -> Made:
    """Two workers that move their own vectors and average them, under robust locks."""
    link: Any = Waiting()
    source: Any = Numbers()
    vectors = Vectors(source, [Lock(), Lock()]).by(link)

    def work(rank: int) -> None:
        with vectors.held[rank]:
            vectors.floats[rank].add_(1 + rank)
        assert vectors.average(rank, 1 - rank)

    def check() -> None:
        total = vectors.floats.double().sum(0)
        assert (total == 3).all(), "an average takes nobody's step away"

    return [functools.partial(work, rank) for rank in range(2)], check


def tasks() -> Made:
    """The learner of dupdate, and a worker that does three tasks for it."""
    source: Any = Numbers()
    shared = Tasks(1, 2, source)

    def learn() -> None:
        for number in range(3):
            shared.assign(0, Task(TRAIN, learns=number, first=10 + number, added=20 + number))
            wait(shared.finished)
            base, count, known = shared.take(0)
            assert (base, count, *known) == (number, 30 + number, number, number)
            assert (shared.own(0).clone() == number).all(), "a result is whole"

    def work() -> None:
        for number in range(3):
            wait(lambda: shared.waits_for(0))
            task = shared.read(0)
            assert (task.kind, *task[1:4]) == (TRAIN, number, 10 + number, 20 + number)
            shared.own(0).copy_(torch.full((4,), float(number)))
            shared.report(0, base=number, count=30 + number, heads=np.full(2, number))
            shared.finish(0)

    return [learn, work], lambda: None


class Unnamed:
    """A file that is gone with its object."""

    def __init__(self) -> None:
        self.fd = anonymous_file(1)
        self.path = f"/proc/self/fd/{self.fd}"

    def __del__(self) -> None:
        os.close(self.fd)


def journalled() -> Made:
    """Two roles that write one journal."""
    file = Unnamed()
    begin(file.path, ["a", "b"])

    def write(role: int) -> None:
        writer = JournalWriter(file.path, role, role)
        for seq in range(2):
            event = Event(None, "learn", count=10 * role + seq)
            event.seq = seq
            writer.write(event)
            writer.flush()
        writer.end(2)
        writer.close()

    def check() -> None:
        journal = Journal.read(file.path)
        assert journal.complete(), "no record is lost or cut"
        for role, name in enumerate("ab"):
            assert [event.count for event in journal.events(name)] == [10 * role, 10 * role + 1]

    return [functools.partial(write, role) for role in range(2)], check
