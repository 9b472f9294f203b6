"""Fragments that are consumed once: whole, in order, side by side, with their true successors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from agents.base import Key, Spec
from envs.make import describe
from paradigms.experience.layout import Fragment
from paradigms.experience.rollout import Fifo, Rollout
from tests.jobs import world

LENGTH, ENVS, GAMMA = 3, 2, 0.5
GENERATOR = torch.Generator()


def spec() -> Spec:
    extras = {"logp": Key(), "memory": Key((2,), per="fragment")}
    return describe(world("Counting")).with_extras(extras)


def make(kind: type[Rollout] = Rollout, *, writers: int = 2, **options: Any) -> Any:
    """A Fifo, or a Rollout, by default with batches of a fragment of every writer."""
    if kind is Rollout:
        options = {"fragments": None, **options}
    return kind(
        spec(), writers=writers, num_envs=ENVS, rollout_length=LENGTH, gamma=GAMMA, **options
    )


def fragment(replay: Rollout, rank: int, number: int) -> Fragment:
    """Rewards are the rank, versions the number of the fragment, observations the step."""
    made = replay.layout.empty(rank)
    made.transitions["valid"], made.transitions["reward"], made.transitions["version"] = (
        True,
        rank,
        number,
    )
    made.transitions["obs"][..., 0] = np.arange(LENGTH)[:, None] + 10 * np.arange(ENVS)
    made.next_obs[:, 0] = LENGTH + 10 * np.arange(ENVS)
    made.final_obs[..., 0] = -1 - np.arange(LENGTH)[:, None]
    made.data["memory"][:, 0] = [100 * rank, 100 * rank + 1]
    made.number, made.n_valid = number, LENGTH * ENVS
    return made


def add(replay: Rollout, *arrivals: tuple[int, int]) -> None:
    for rank, number in arrivals:
        assert replay.add(fragment(replay, rank, number)) == LENGTH * ENVS


def consumed(replay: Rollout, **options: Any) -> list[tuple[int, int]]:
    """(rank, number) of the fragments of the next batch, from left to right."""
    batch = replay.sample(0, GENERATOR, **options)
    pairs = zip(batch.reward[0].tolist(), batch.version[0].tolist(), strict=True)
    return [(int(rank), number) for rank, number in pairs][::ENVS]


def test_the_next_fragment_of_every_rank_stands_side_by_side() -> None:
    replay = make(writers=3, capacity=2)
    add(replay, (2, 0), (0, 0), (2, 1), (1, 0), (0, 1), (1, 1))
    assert consumed(replay) == [(0, 0), (1, 0), (2, 0)]
    assert consumed(replay) == [(0, 1), (1, 1), (2, 1)]
    assert len(replay) == 0
    with pytest.raises(BufferError, match="whole batch"):
        consumed(replay)


def test_a_worker_that_learns_by_itself_consumes_its_own_fragments() -> None:
    replay = make(capacity=2)
    add(replay, (0, 0), (1, 0), (1, 1))
    assert consumed(replay, ranks=(1,)) == [(1, 0)]
    assert consumed(replay, ranks=(0,)) == [(0, 0)]
    assert consumed(replay, ranks=(1,)) == [(1, 1)]


def test_a_fifo_gives_fragments_in_their_order_of_arrival() -> None:
    replay = make(Fifo, writers=3, capacity=4, fragments=3)
    add(replay, (2, 0), (2, 1), (0, 0), (2, 2), (1, 0), (0, 1), (1, 1))
    assert consumed(replay) == [(2, 0), (2, 1), (0, 0)]
    add(replay, (2, 3), (2, 4), (2, 5))
    assert consumed(replay) == [(2, 2), (1, 0), (0, 1)]
    assert consumed(replay, ranks=(2,)) == [(2, 3), (2, 4), (2, 5)]
    assert len(replay) == 1


def test_nothing_is_consumed_of_a_batch_that_is_not_whole() -> None:
    replay = make(capacity=1)
    add(replay, (0, 0))
    with pytest.raises(BufferError, match=r"whole batch of workers \[0, 1\]"):
        consumed(replay)
    add(replay, (1, 0))
    assert consumed(replay) == [(0, 0), (1, 0)]

    fifo = make(Fifo, writers=3, capacity=4, fragments=3)
    add(fifo, (2, 0), (0, 0), (1, 0))
    with pytest.raises(BufferError, match=r"workers \[0, 2\]"):
        consumed(fifo, ranks=(0, 2))
    assert consumed(fifo) == [(2, 0), (0, 0), (1, 0)]


def test_the_layout_of_a_batch() -> None:
    replay = make(capacity=1)
    add(replay, (0, 0), (1, 0))
    batch = replay.sample(0, GENERATOR)
    assert {*batch} == {*replay.layout.transition.names, "next_obs", "discount", "weight", "memory"}
    for name in {*batch} - {"memory"}:
        assert batch[name].shape[:2] == (LENGTH, 2 * ENVS), name
    assert batch.memory.tolist() == [[0, 0], [1, 0], [100, 0], [101, 0]]
    assert batch.obs[..., 0].tolist() == [[t, 10 + t, t, 10 + t] for t in range(LENGTH)]
    assert torch.equal(batch.next_obs[..., 0], batch.obs[..., 0] + 1)
    assert batch.valid.dtype == batch.is_first.dtype == torch.bool
    assert batch.weight.dtype == batch.discount.dtype == batch.reward.dtype == torch.float32


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("at", range(LENGTH))
def test_an_end_shows_its_own_last_observation_and_termination_discounts_by_0(
    end: str, at: int
) -> None:
    replay = make(writers=1, capacity=1)
    made = fragment(replay, 0, 0)
    made.transitions[end][at, 1] = True
    replay.add(made)
    batch = replay.sample(0, GENERATOR)
    successor = np.array([[t + 1, 11 + t] for t in range(LENGTH)])
    successor[at, 1] = -1 - at
    assert_array_equal(batch.next_obs[..., 0], successor)
    discount = np.full((LENGTH, ENVS), GAMMA)
    discount[at, 1] = 0 if end == "terminated" else GAMMA
    assert_array_equal(batch.discount, discount)


def test_reset_steps_weigh_nothing_and_are_not_counted() -> None:
    replay = make(writers=1, capacity=1)
    made = fragment(replay, 0, 0)
    made.transitions["valid"][1, 0], made.n_valid = False, LENGTH * ENVS - 1
    assert replay.add(made) == LENGTH * ENVS - 1
    weight = replay.sample(0, GENERATOR).weight
    assert weight.tolist() == [[1, 1], [0, 1], [1, 1]]


def test_a_batch_is_a_copy() -> None:
    replay = make(writers=1, capacity=1)
    add(replay, (0, 0))
    batch = replay.sample(0, GENERATOR)
    before = {name: column.clone() for name, column in batch.items()}
    add(replay, (0, 1))
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_a_fragment_added_again_is_dropped_and_counted() -> None:
    replay = make(capacity=2)
    add(replay, (1, 0))
    assert replay.add(fragment(replay, 1, 0)) == 0
    assert replay.duplicated == LENGTH * ENVS
    assert len(replay) == 1


def test_adding_to_a_full_replay_raises_full() -> None:
    replay = make(capacity=1)
    add(replay, (0, 0))
    with pytest.raises(BufferError, match="no space"):
        add(replay, (0, 1))


def test_samples_counts_the_batches_that_fragments_make() -> None:
    arrived = np.array([5, 3, 4])
    assert make(writers=3).samples(arrived) == 3
    assert make(writers=3).samples(arrived[[0]]) == 5
    fifo = make(Fifo, writers=3, fragments=5, capacity=5)
    assert fifo.samples(arrived) == 2
    assert fifo.samples(arrived[[0]]) == 1


def test_fragments_are_taken_oldest_first_and_in_the_order_of_rank() -> None:
    replay = make(writers=3, capacity=3, fragments=2)
    add(replay, (2, 0), (0, 0), (0, 1), (1, 0), (2, 1), (1, 1))
    assert replay.samples(np.array([2, 2, 2])) == 3
    assert [consumed(replay) for _ in range(3)] == [
        [(0, 0), (1, 0)],
        [(2, 0), (0, 1)],
        [(1, 1), (2, 1)],
    ]
    add(replay, (1, 2), (2, 2))
    with pytest.raises(BufferError):
        replay.sample(0, GENERATOR, ranks=[1])
    assert consumed(replay, ranks=[1, 2]) == [(1, 2), (2, 2)]


def test_a_batch_is_one_fragment_for_any_number_of_writers() -> None:
    for writers in (1, 2, 3):
        replay = make(writers=writers, fragments=1)
        add(replay, *((rank, 0) for rank in range(writers)))
        batch = replay.sample(0, GENERATOR)
        assert batch.reward.shape == (LENGTH, ENVS)
        assert replay.samples(np.ones(writers, np.int64)) == writers


def test_a_batch_larger_than_the_capacity_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"replay\.fragments=3 must lie in \[1, replay\.capacity=2\]"
    ):
        make(Fifo, fragments=3, capacity=2)


def test_a_saved_fifo_gives_its_fragments_in_the_same_order() -> None:
    replay, other = (make(Fifo, writers=3, capacity=3, fragments=2) for _ in range(2))
    add(replay, (1, 0), (2, 0), (2, 1), (0, 0), (2, 2))
    assert consumed(replay) == [(1, 0), (2, 0)]
    other.load(replay.save())
    assert_array_equal(other.heads(), [3, 3, 3])  # all count on from the same number
    assert_array_equal(other.heads() - other.taken, [1, 0, 2])
    assert consumed(other) == consumed(replay) == [(2, 1), (0, 0)]
    add(other, (1, 3))
    assert consumed(other) == [(2, 2), (1, 3)]


def test_a_rollout_of_all_saves_whole_batches_only() -> None:
    replay, other = (make(capacity=3) for _ in range(2))
    add(replay, (0, 0), (0, 1), (1, 0), (0, 2))
    other.load(replay.save())
    assert consumed(other) == [(0, 0), (1, 0)]
    assert len(other) == 0
    assert_array_equal(other.heads(), [3, 3])


def test_a_checkpoint_of_another_number_of_writers_is_refused() -> None:
    replay = make()
    other = make()
    other.load(replay.save())
    assert len(other) == 0
    with pytest.raises(ValueError, match="resume with the same workers"):
        make(writers=3).load(replay.save())


@pytest.mark.parametrize("changed", [{"rollout_length": LENGTH + 1}, {"num_envs": ENVS + 1}])
def test_a_checkpoint_of_fragments_of_another_size_is_refused(changed: dict[str, int]) -> None:
    replay = make()
    other = Rollout(spec(), **{"writers": 2, "num_envs": ENVS, "rollout_length": LENGTH, **changed})
    other.load(replay.save())  # nothing waits
    add(replay, (0, 0), (1, 0))
    with pytest.raises(ValueError, match="resume with the same rollout_length and num_envs"):
        other.load(replay.save())
