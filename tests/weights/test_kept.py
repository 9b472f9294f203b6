"""The newest state survives its writer, whole, wherever that dies."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.weights import kept
from paradigms.weights.kept import Kept


def state(number: int) -> dict[str, Any]:
    return {"number": number, "run": {"floats": torch.full((number + 1,), 2.5), "at": [np.ones(3)]}}


def test_the_newest_state_is_read_as_often_as_one_likes() -> None:
    made = Kept(2)
    assert made.newest(0) is None
    for number in range(4):
        made.put(1, mine := state(number))
        mine["run"]["floats"].zero_()
        for _ in range(2):
            read = made.newest(1)
            assert read is not None and read["number"] == number
            assert torch.equal(read["run"]["floats"], state(number)["run"]["floats"])
            assert np.array_equal(read["run"]["at"][0], np.ones(3))
    assert made.newest(0) is None
    assert made.versions.tolist() == [0, 4]


def test_what_is_replaced_takes_no_memory() -> None:
    made = Kept(1)
    for number in range(3):
        made.put(0, state(number))
    sizes = sorted(os.fstat(place._fd).st_size for place in made._places)
    assert sizes[0] == 0 < sizes[1]


def test_a_writer_that_dies_in_the_middle_leaves_the_state_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Kept(1)
    made.put(0, state(1))
    monkeypatch.setattr(os, "pwrite", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.put(0, state(2))
    monkeypatch.undo()
    left = made.newest(0)
    assert left is not None and left["number"] == 1
    made.put(0, state(3))
    after = made.newest(0)
    assert after is not None and after["number"] == 3


def test_a_state_that_is_overtaken_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = Kept(1), kept._Place.read
    made.put(0, state(1))
    left = [state(2), state(3)]

    def overtaken(self: Any, size: int) -> bytearray:
        if left:
            made.put(0, left.pop(0))
        return read(self, size)

    monkeypatch.setattr(kept._Place, "read", overtaken)
    newest = made.newest(0)
    assert newest is not None and newest["number"] == 3
