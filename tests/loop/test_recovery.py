"""A worker may die between any two lines: afterwards the counters agree with what it has left."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from paradigms.experience.rollout import Rollout
from paradigms.loop.build import Components
from paradigms.loop.drive import Driver
from tests.counting import Counter
from tests.jobs import ONCE, job, world

RANK, WORKERS = 1, 2
KEPT: dict[str, Any] = {"warmup": 0}
CONSUMED = {**ONCE, "make_replay": functools.partial(Rollout, capacity=4, fragments=2)}


def begun(**changes: Any) -> tuple[Components, Callable[[], Any]]:
    """A run of which worker 1 has made a few fragments and updates; and its next fragment."""
    agent = functools.partial(Counter, streams=2 * WORKERS, whole=False)
    parts = Driver(job(world("Counting"), agent, workers=WORKERS, **changes), workers=2).components
    actor = parts.actor(parts.agent(), RANK)

    def collect() -> Any:
        return actor.collect(0)

    for _ in range(3):
        fragment = collect()
        parts.ledger.collected(RANK, fragment.n_valid)
        parts.ledger.stored(RANK, parts.replay.add(fragment), 0)
    return parts, collect


def draw(parts: Components) -> None:
    parts.replay.sample(4, torch.Generator(), ranks=(RANK,))


def numbers(parts: Components) -> dict[str, int]:
    names = ("collected", "added", "fragments", "arrived", "granted", "learns")
    return {name: parts.ledger.own(name, RANK) for name in names}


@pytest.mark.parametrize("changes", [KEPT, CONSUMED], ids=["kept", "consumed"])
def test_a_fragment_that_was_counted_and_not_stored_was_never_collected(
    changes: dict[str, Any],
) -> None:
    parts, collect = begun(**changes)
    before = numbers(parts)
    parts.ledger.collected(RANK, collect().n_valid)
    parts.recover(RANK)
    assert numbers(parts) == before
    assert parts.ledger.total("lost") == 1
    again = parts.actor(parts.agent(), RANK).collect(0)
    assert parts.replay.add(again) == again.n_valid  # its number is no older one's


@pytest.mark.parametrize("changes", [KEPT, CONSUMED], ids=["kept", "consumed"])
def test_a_fragment_that_was_stored_and_not_counted_is_counted(changes: dict[str, Any]) -> None:
    parts, collect = begun(**changes)
    fragment = collect()
    parts.ledger.collected(RANK, fragment.n_valid)
    parts.replay.add(fragment)
    parts.recover(RANK)
    ledger = parts.ledger
    assert ledger.own("added", RANK) == ledger.own("collected", RANK)
    assert ledger.own("arrived", RANK) == ledger.own("fragments", RANK) == 4
    assert ledger.total("added") == ledger.total("collected")


def test_a_fragment_of_which_a_part_was_stored_counts_with_that_part() -> None:
    parts, collect = begun(**KEPT)
    before, fragment = numbers(parts), collect()
    parts.ledger.collected(RANK, fragment.n_valid)
    heads: Any = parts.replay.heads()
    fragment.transitions["valid"][:, 1] = False  # it died after the first of its two streams
    parts.replay.add(fragment)
    part = int((parts.replay.heads() - heads).sum())
    parts.recover(RANK)
    assert 0 < part < fragment.n_valid
    assert parts.ledger.own("added", RANK) == before["added"] + part
    assert parts.ledger.own("collected", RANK) == before["added"] + part


def test_updates_that_were_claimed_and_not_made_are_due_again() -> None:
    parts, _ = begun(**KEPT)
    owed = parts.pace.owed(RANK)
    assert parts.pace.claim(1, RANK) == 1
    parts.ledger.learned(RANK, 1)
    assert parts.pace.claim(1, RANK) == 1
    parts.recover(RANK)
    assert parts.pace.owed(RANK) == owed - 1


@pytest.mark.parametrize("consumed", [False, True])
def test_of_fragments_that_are_consumed_those_that_are_there_are_due(consumed: bool) -> None:
    parts, collect = begun(**CONSUMED)
    assert parts.pace.owed(RANK) == 1
    assert parts.pace.claim(1, RANK) == 1
    if consumed:
        draw(parts)
    assert parts.pace.left(RANK, 1) == (0 if consumed else 1)
    parts.recover(RANK)
    assert parts.pace.owed(RANK) == (0 if consumed else 1)
    fragment = collect()
    parts.ledger.collected(RANK, fragment.n_valid)
    parts.ledger.stored(RANK, parts.replay.add(fragment), 0)
    for _ in range(1 if consumed else 2):  # three of the four fragments, or one, and the new one
        assert parts.pace.claim(1, RANK) == 1
        draw(parts)
        parts.ledger.learned(RANK, 1)
    assert parts.pace.owed(RANK) == 0


def test_a_worker_that_had_begun_nothing_loses_nothing_but_is_counted() -> None:
    parts, _ = begun(**KEPT)
    before = numbers(parts)
    parts.recover(RANK)
    assert numbers(parts) == before
    assert parts.ledger.total("lost") == 1
