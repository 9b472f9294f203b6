"""How rows and fragments are laid out."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box

from agents.base import ROW, Key, Spec
from paradigms.experience.layout import Rows


def spec(obs: Key, **extras: Key) -> Spec:
    keys = {**ROW, "obs": obs, "action": Key((2,)), **extras}
    return Spec(Box(-1, 1, (3,), np.float32), Box(-1, 1, (2,), np.float32), keys=keys)


def test_a_row_has_every_key_of_the_spec_and_whether_it_is_valid() -> None:
    rows = Rows(spec(Key((3,)), logp=Key(), visits=Key((9,), "int64")), turn=5, envs=4)
    assert {*rows.row.names} == {*ROW, "obs", "action", "logp", "visits", "valid"}
    assert rows.row["obs"].shape == (3,) and rows.row["obs"].base == np.float32
    assert rows.row["visits"].shape == (9,) and rows.row["visits"].base == np.int64
    assert rows.row["valid"] == rows.row["terminated"] == np.bool_


def test_every_column_is_aligned_and_wide_ones_come_first() -> None:
    rows = Rows(spec(Key((5, 3), "uint8"), visits=Key((9,), "int64")), turn=5, envs=4)
    for name in rows.row.names:
        column, offset = rows.row.fields[name][:2]
        assert offset % column.base.alignment == 0
    needed = sum(rows.row[name].itemsize for name in rows.row.names)
    assert needed <= rows.row.itemsize < needed + 8


def test_a_fragment_is_one_record_of_a_turn_of_all_slots() -> None:
    rows = Rows(spec(Key((3,)), memory=Key((6,), per="fragment")), turn=5, envs=4)
    fragment = rows.empty(2)
    assert fragment.rank == 2
    assert fragment.rows.shape == (5, 4)
    assert fragment.rows["obs"].shape == fragment.final_obs.shape == (5, 4, 3)
    assert fragment.next_obs.shape == (4, 3)
    assert fragment.data["memory"].shape == (4, 6)
    assert "memory" not in rows.row.names
    assert fragment.data.nbytes == rows.fragment.itemsize
    assert not fragment.data.tobytes().strip(b"\0")


def test_a_fragment_is_a_view_of_its_record() -> None:
    fragment = Rows(spec(Key((3,))), turn=2, envs=1).empty(0)
    fragment.number, fragment.steps = 7, 2
    fragment.rows["reward"][1, 0] = 3
    assert (fragment.data["number"], fragment.data["steps"]) == (7, 2)
    assert (fragment.number, fragment.steps) == (7, 2)
    assert fragment.data["rows"]["reward"][1, 0] == 3


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 3)])
def test_observations_of_any_shape_have_a_type(shape: tuple[int, ...]) -> None:
    rows = Rows(spec(Key(shape, "uint8")), turn=2, envs=1)
    assert rows.obs.itemsize == np.prod(shape)
    assert rows.empty(0).final_obs.shape == (2, 1, *shape)
