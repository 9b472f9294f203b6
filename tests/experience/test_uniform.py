"""The replay against a list that remembers everything and is read by a slow, obvious loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from agents.base import ROW, Key, Spec
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.uniform import Uniform
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from tests.experience.model import (
    ENVS,
    GOES_ON,
    LENGTH,
    TERMINATED,
    TRUNCATED,
    Model,
    agree,
    make,
)

ENDS = st.lists(st.sampled_from([GOES_ON] * 6 + [TERMINATED, TRUNCATED]), min_size=6, max_size=6)
WHAT = st.sampled_from(["add"] * 6 + ["add twice", "replace", "save and load"])
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 1), ENDS), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 4), st.booleans(), st.sampled_from([4, 20, 30, 1000]))
def test_every_batch_is_what_a_list_of_all_steps_says(
    steps: list[tuple[str, int, list[int]]], n_step: int, next_step: bool, capacity: int
) -> None:
    replay, model = make(2, capacity=capacity, n_step=n_step), Model(2)
    generator = torch.Generator().manual_seed(0)
    fragments = [replay.layout.empty(rank) for rank in (0, 1)]  # used again and again, as actors do
    for what, rank, ends in steps:
        if what == "save and load":
            saved = replay.save()
            replay = make(2, capacity=capacity, n_step=n_step)
            replay.load(saved)
        if what == "replace":
            model.replace_actor(rank)
        model.fill(fragments[rank], ends, next_step=next_step)
        assert replay.add(fragments[rank]) == fragments[rank].n_valid
        if what == "add twice":
            duplicated = replay.duplicated
            assert replay.add(fragments[rank]) == 0
            assert replay.duplicated == duplicated + fragments[rank].n_valid

        heads = replay.heads()
        assert_array_equal(heads, model.heads())
        assert len(replay) == np.minimum(heads, replay.window).sum()
        if len(replay):
            batch = replay.sample(40, generator)
            agree(replay, model, batch, heads)
            assert (batch.weight == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(ENDS, min_size=2, max_size=8), st.integers(1, 8), st.integers(1, 3))
def test_transitions_above_the_write_positions_are_not_seen(
    fragments: list[list[int]], known: int, n_step: int
) -> None:
    replay, model = make(n_step=n_step), Model(1)
    fragment = replay.layout.empty(0)
    heads = replay.heads()
    for number, ends in enumerate(fragments):
        model.fill(fragment, ends, next_step=False)
        replay.add(fragment)
        if number < known:
            heads = replay.heads()
    batch = replay.sample(60, torch.Generator().manual_seed(0), heads=heads)
    agree(replay, model, batch, heads)


def filled(fragments: int, *, capacity: int = 1000, n_step: int = 1) -> tuple[Uniform, Model]:
    """One writer whose episodes never end."""
    replay, model = make(capacity=capacity, n_step=n_step), Model(1)
    for _ in range(fragments):
        model.play(replay)
    return replay, model


@pytest.mark.parametrize("capacity", [10, 24, 1000])
def test_a_checkpoint_may_be_loaded_into_a_smaller_or_larger_replay(capacity: int) -> None:
    replay, model = filled(9, capacity=24)
    other = make(capacity=capacity)
    other.load(replay.save())
    for fragments in range(20):
        assert_array_equal(other.heads(), model.heads())
        assert len(other) == min(len(replay) + 6 * fragments, 2 * other.window)
        batch = other.sample(40, torch.Generator().manual_seed(fragments))
        agree(other, model, batch, other.heads())
        assert len(other.save()["transitions"][0]) == len(other) // 2 + 1
        model.play(other)


def test_a_checkpoint_of_other_streams_is_refused_with_a_reason() -> None:
    with pytest.raises(ValueError, match="has 2 streams, this run 4: resume with the same workers"):
        make(2).load(make(1).save())


def test_a_fragment_is_copied() -> None:
    replay, model = make(), Model(1)
    fragment = replay.layout.empty(0)
    model.fill(fragment, [GOES_ON] * 5 + [TERMINATED], next_step=True)
    replay.add(fragment)
    fragment.data[...] = np.zeros((), fragment.data.dtype)
    agree(replay, model, replay.sample(40, torch.Generator().manual_seed(0)), replay.heads())


def test_a_batch_is_a_copy() -> None:
    replay, model = filled(4, capacity=12)
    before = replay.sample(16, torch.Generator().manual_seed(0))
    kept = {name: column.clone() for name, column in before.items()}
    fragment = replay.layout.empty(0)
    for _ in range(9):
        model.fill(fragment, [TRUNCATED] * LENGTH * ENVS, next_step=False)
        replay.add(fragment)
    for name, column in before.items():
        assert torch.equal(column, kept[name])


def test_a_batch_whose_transitions_are_overwritten_meanwhile_is_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay, model = filled(20, capacity=12)
    heads, gather = replay.heads(), replay.ring.gather

    def overtaken(*drawn: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        monkeypatch.setattr(replay.ring, "gather", gather)
        for _ in range(6):  # 18 transitions a stream: the first half of the window is overwritten
            model.play(replay)
        return gather(*drawn, **options)

    monkeypatch.setattr(replay.ring, "gather", overtaken)
    batch = replay.sample(4, torch.Generator().manual_seed(0))
    assert replay.torn > 0
    assert {*(batch.index // replay.streams).tolist()} <= {57, 58, 59}
    agree(replay, model, batch, heads)


def overtaken(replay: Uniform, model: Model, fragments: int) -> np.ndarray:
    """Old write positions: one writer has come round since."""
    heads = replay.heads()
    for _ in range(fragments):
        model.play(replay)
    return heads


def test_overwritten_transitions_are_not_drawn_at_old_write_positions() -> None:
    replay, model = filled(20, capacity=12)
    heads = overtaken(replay, model, 6)
    batch = replay.sample(8, torch.Generator().manual_seed(0), heads=heads)
    assert replay.torn == 0
    assert {*(batch.index // replay.streams).tolist()} <= {57, 58, 59}
    agree(replay, model, batch, heads)


@pytest.mark.parametrize("kind", [Uniform, Prioritized])
def test_a_stream_that_has_been_overwritten_whole_is_left_out(kind: type[Uniform]) -> None:
    replay, model = make(2, kind, capacity=24), Model(2)
    for rank in [0] * 9 + [1] * 9:
        model.play(replay, rank)
    heads = overtaken(replay, model, 30)
    batch = replay.sample(8, torch.Generator().manual_seed(0), heads=heads)
    assert replay.torn == 0
    assert {*(batch.index % replay.streams).tolist()} <= {2, 3}
    agree(replay, model, batch, heads)
    agree(replay, model, replay.sample(8, torch.Generator().manual_seed(0)), replay.heads())


@pytest.mark.parametrize("kind", [Uniform, Prioritized])
@pytest.mark.parametrize("fragments", [6, 30])
@pytest.mark.parametrize("where", ["before a copy", "in a copy"])
def test_transitions_overwritten_while_they_are_saved_are_left_out(
    where: str, fragments: int, kind: type[Uniform], monkeypatch: pytest.MonkeyPatch
) -> None:
    replay, model = make(1, kind, capacity=12), Model(1)
    for _ in range(20):
        model.play(replay)
    replay.sample(1, torch.Generator().manual_seed(0))
    held, name = (replay, "heads") if where == "before a copy" else (replay.ring, "at")
    left = 6 if where == "before a copy" else 3 if fragments == 6 else 0
    real = getattr(held, name)

    def late(*arguments: np.ndarray) -> np.ndarray:
        monkeypatch.setattr(held, name, real)
        answer: np.ndarray = real(*arguments)
        overtaken(replay, model, fragments)
        return answer

    monkeypatch.setattr(held, name, late)
    other = make(1, kind, capacity=12)
    other.load(replay.save())
    assert len(other) == left + 6
    batch = other.sample(40, torch.Generator().manual_seed(0))
    agree(other, model, batch, other.heads())


class Twice(Role):
    """Stores every fragment twice."""

    def __init__(self, replay: Uniform, rank: int) -> None:
        self.replay, self.rank = replay, rank

    def run(self, link: Link) -> None:
        model = Model(2)
        for _ in range(4):
            fragment = self.replay.layout.empty(self.rank)
            model.fill(fragment, [GOES_ON] * LENGTH * ENVS, next_step=False)
            self.replay.add(fragment)
            self.replay.add(fragment)


def test_additions_of_other_processes_are_seen_here() -> None:
    replay = make(2)
    crew = Crew()
    for rank in (0, 1):
        crew.add(f"twice-{rank}", Twice, replay, rank)
    with crew:
        assert {report.kind for report in crew.run()} <= {"tick", "finished"}
    assert replay.heads().tolist() == [4 * LENGTH] * 2 * ENVS
    assert replay.duplicated == 2 * 4 * LENGTH * ENVS


def test_image_and_scalar_columns_keep_their_shapes() -> None:
    spec = Spec(
        Box(0, 255, (4, 4, 3), np.uint8),
        Box(-1, 1, (2,), np.float32),
        keys={**ROW, "obs": Key((4, 4, 3), "uint8"), "action": Key((2,)), "logp": Key()},
    )
    replay = Uniform(spec, capacity=20, writers=1, num_envs=1, rollout_length=2)
    fragment = replay.layout.empty(0)
    fragment.transitions["valid"] = True
    fragment.transitions["obs"] = np.arange(2, dtype=np.uint8)[:, None, None, None, None]
    fragment.next_obs[...] = 2
    replay.add(fragment)
    batch = replay.sample(8, torch.Generator().manual_seed(0))
    assert batch.obs.shape == batch.next_obs.shape == (8, 4, 4, 3)
    assert batch.obs.dtype == batch.next_obs.dtype == torch.uint8
    assert torch.equal(batch.next_obs, batch.obs + 1)
    assert batch.action.shape == (8, 2)
    assert batch.logp.shape == batch.reward.shape == batch.weight.shape == (8,)
