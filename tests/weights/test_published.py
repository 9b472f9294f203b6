"""Weights between one writer and its readers: whole versions, newest first, as old as requested.
What arrives is exact: tests/laws/test_publish_and_merge_are_exact.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.parts.vector import Vector
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.runtime.memory import Shared
from paradigms.weights.bound import Bound
from paradigms.weights.published import Weights
from tests.jobs import job, run

PULLS = 300


class Plain:
    """As much of a Vector as weights need: `act` is the first half."""

    def __init__(self, size: int = 8) -> None:
        self.floats = torch.zeros(size)
        self.counts = torch.zeros(2, dtype=torch.int64)

    def size(self, part: str) -> int:
        return len(self.floats) // (2 if part == "act" else 1)

    def bind(self, floats: torch.Tensor, counts: torch.Tensor) -> None:
        self.floats, self.counts = floats, counts

    def fill(self, version: int) -> Any:
        """Every number says which version it belongs to."""
        self.floats.fill_(version)
        self.counts.fill_(version)
        return self

    def of(self, version: int) -> bool:
        return bool((self.floats == version).all() and (self.counts == version).all())


def weights(vector: Plain, part: str = "all", **options: int) -> Weights:
    return Weights(_vector(vector), part, **options)


def _vector(vector: Plain) -> Vector:
    stand_in: Any = vector
    return stand_in


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=20), st.integers(0, 9), st.integers(2, 4))
def test_a_reader_gets_the_newest_version_that_is_as_many_updates_old_as_requested(
    gaps: list[int], policy_lag: int, spare: int
) -> None:
    writer, reader = Plain(), Plain()
    channel = weights(writer.fill(0), keep=policy_lag, spare=spare)
    versions = [0]
    for gap in gaps:
        versions.append(versions[-1] + gap)
        channel.publish(_vector(writer.fill(versions[-1])), versions[-1])
        wanted = max([0, *(v for v in versions if v <= versions[-1] - policy_lag)])
        assert channel.version == versions[-1]
        assert channel.pull(_vector(reader), policy_lag=policy_lag) == wanted
        assert reader.of(wanted)
        assert channel.pull(_vector(reader)) == versions[-1]
        assert reader.of(versions[-1])
        snapshot = channel.snapshot("act", 4)
        assert (snapshot.part, snapshot.version, len(snapshot.floats)) == ("act", versions[-1], 4)
        assert (snapshot.floats == versions[-1]).all() and (snapshot.counts == versions[-1]).all()
    assert channel.torn == 0


@pytest.mark.parametrize(("late", "policy_lag"), [(1, 0), (2, 2), (3, 0), (3, 2), (7, 2)])
def test_a_version_that_was_overwritten_while_it_was_read_is_read_again(
    late: int, policy_lag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer publishes `late` versions between a reader's look at the serial and its copy."""
    writer, reader = Plain(), Plain()
    channel = weights(writer.fill(0), keep=policy_lag, spare=3)
    for version in range(1, 9):
        channel.publish(_vector(writer.fill(version)), version)
    look = channel._readable

    def interrupted(policy_lag: int) -> int:
        serial = look(policy_lag)
        monkeypatch.setattr(channel, "_readable", look)
        for version in range(9, 9 + late):
            channel.publish(_vector(writer.fill(version)), version)
        return serial

    monkeypatch.setattr(channel, "_readable", interrupted)
    got = channel.pull(_vector(reader), policy_lag=policy_lag)
    assert reader.of(got)
    assert channel.torn == (late >= 3)
    assert got == (8 - policy_lag if late < 3 else 8 + late - policy_lag)


class Writer(Role):
    """Publishes versions as fast as it can until the reader has had enough."""

    def __init__(self, channel: Weights, size: int, enough: Shared) -> None:
        self.channel, self.size, self.enough = channel, size, enough

    def run(self, link: Link) -> None:
        writer, version = Plain(self.size), 0
        while not self.enough.array[0] and link.go():
            version += 1
            self.channel.publish(_vector(writer.fill(version)), version)
        link.report({"published": version})


class Reader(Role):
    """Pulls many times, until it has been overtaken at least once if it ever is, and looks at
    every float and count of what it gets."""

    def __init__(self, channel: Weights, size: int, enough: Shared) -> None:
        self.channel, self.size, self.enough = channel, size, enough

    def run(self, link: Link) -> None:
        reader, whole, last, reads = Plain(self.size), 0, 0, 0
        while reads < PULLS or (self.channel.torn == 0 and reads < 20 * PULLS):
            reads += 1
            link.go()
            version = self.channel.pull(_vector(reader))
            whole += reader.of(version) and version >= last
            last = version
            snapshot = self.channel.snapshot("all", self.size)
            whole += bool(
                (snapshot.floats == snapshot.version).all()
                and (snapshot.counts == snapshot.version).all()
            )
        self.enough.array[0] = True
        link.report({"reads": reads, "whole": whole, "last": last})


@pytest.mark.slow
def test_a_version_is_never_torn_however_fast_the_writer_is() -> None:
    """Two slots only: the writer comes round to the one that is read with every second version."""
    size, enough = 100_000, Shared(1, bool)
    channel = weights(Plain(size), spare=2)
    crew = Crew()
    crew.add("writer", Writer, channel, size, enough)
    crew.add("reader", Reader, channel, size, enough)
    counts: dict[str, int] = {}
    with crew:
        for report in crew.run():
            counts |= report.data if report.kind == "metrics" else {}
    assert counts["whole"] == 2 * counts["reads"] >= 2 * PULLS
    assert 0 < counts["last"] <= counts["published"]


def test_bound_weights_are_one_vector_for_all() -> None:
    one, two = Plain().fill(3), Plain()
    bound = Bound(_vector(one))
    for vector in (one, two):
        bound.bind(_vector(vector))
    two.floats[5] = 8
    two.counts[0] = 4
    assert one.floats.tolist() == [3, 3, 3, 3, 3, 8, 3, 3]
    snapshot = bound.snapshot("act", 4)
    assert (snapshot.version, snapshot.floats.tolist(), snapshot.counts.tolist()) == (
        4,
        [3] * 4,
        [4, 3],
    )


def test_bound_weights_have_no_whole_version() -> None:
    with pytest.raises(RuntimeError, match="no whole version to pull; use bind, or paradigm="):
        Bound(_vector(Plain())).pull(_vector(Plain()))


def test_what_has_been_published_is_counted_in_bytes() -> None:
    channel = weights(Plain().fill(0))
    begun = channel.bytes_moved
    channel.publish(_vector(Plain()), 1)
    channel.pull(_vector(Plain()))
    assert channel.bytes_moved - begun == 4 * 8


@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()], ids=lambda paradigm: paradigm.name)
def test_reads_that_were_repeated_are_in_the_totals(
    paradigm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weights, "torn", property(lambda weights: 3))
    assert run(paradigm, job()).totals["torn"] == 3
