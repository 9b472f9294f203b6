"""How transitions and fragments are laid out."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box

from agents.base import ROW, Key, Spec
from paradigms.experience.layout import Layout


def spec(obs: Key, **extras: Key) -> Spec:
    keys = {**ROW, "obs": obs, "action": Key((2,)), **extras}
    return Spec(Box(-1, 1, (3,), np.float32), Box(-1, 1, (2,), np.float32), keys=keys)


def test_a_transition_has_every_key_of_the_spec_and_whether_it_is_valid() -> None:
    layout = Layout(
        spec(Key((3,)), logp=Key(), visits=Key((9,), "int64")), rollout_length=5, num_envs=4
    )
    assert {*layout.transition.names} == {*ROW, "obs", "action", "logp", "visits", "valid"}
    assert layout.transition["obs"].shape == (3,) and layout.transition["obs"].base == np.float32
    assert (
        layout.transition["visits"].shape == (9,) and layout.transition["visits"].base == np.int64
    )
    assert layout.transition["valid"] == layout.transition["terminated"] == np.bool_


def test_every_column_is_aligned_and_wide_ones_come_first() -> None:
    layout = Layout(
        spec(Key((5, 3), "uint8"), visits=Key((9,), "int64")), rollout_length=5, num_envs=4
    )
    for name in layout.transition.names:
        column, offset = layout.transition.fields[name][:2]
        assert offset % column.base.alignment == 0
    needed = sum(layout.transition[name].itemsize for name in layout.transition.names)
    assert needed <= layout.transition.itemsize < needed + 8


def test_a_fragment_is_one_record_of_all_slots() -> None:
    layout = Layout(spec(Key((3,)), memory=Key((6,), per="fragment")), rollout_length=5, num_envs=4)
    fragment = layout.empty(2)
    assert fragment.rank == 2
    assert fragment.transitions.shape == (5, 4)
    assert fragment.transitions["obs"].shape == fragment.final_obs.shape == (5, 4, 3)
    assert fragment.next_obs.shape == (4, 3)
    assert fragment.data["memory"].shape == (4, 6)
    assert "memory" not in layout.transition.names
    assert fragment.data.nbytes == layout.fragment.itemsize
    assert not fragment.data.tobytes().strip(b"\0")


def test_a_fragment_is_a_view_of_its_record() -> None:
    fragment = Layout(spec(Key((3,))), rollout_length=2, num_envs=1).empty(0)
    fragment.number, fragment.n_valid = 7, 2
    fragment.transitions["reward"][1, 0] = 3
    assert (fragment.data["number"], fragment.data["n_valid"]) == (7, 2)
    assert (fragment.number, fragment.n_valid) == (7, 2)
    assert fragment.data["transitions"]["reward"][1, 0] == 3


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 3)])
def test_observations_of_any_shape_have_a_type(shape: tuple[int, ...]) -> None:
    layout = Layout(spec(Key(shape, "uint8")), rollout_length=2, num_envs=1)
    assert layout.obs.itemsize == np.prod(shape)
    assert layout.empty(0).final_obs.shape == (2, 1, *shape)
