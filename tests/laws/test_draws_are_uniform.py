"""Law 8: every transition that the uniform replay holds is drawn with the same probability, and
weighs 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from agents.base import Spec
from envs.make import describe
from paradigms.experience.uniform import Uniform
from tests.jobs import world

ENVS, LENGTH = 2, 5


def filled(fragments: Sequence[int], *, capacity: int) -> Uniform:
    """A replay of a writer for each number of fragments: 5 transitions of two streams each."""
    spec: Spec = describe(world("Counting"))
    replay = Uniform(
        spec,
        capacity=capacity,
        writers=len(fragments),
        num_envs=ENVS,
        rollout_length=LENGTH,
        n_step=2,
    )
    for rank, count in enumerate(fragments):
        for number in range(count):
            fragment = replay.layout.empty(rank)
            fragment.number, fragment.n_valid = number, ENVS * LENGTH
            fragment.transitions["valid"] = True
            replay.add(fragment)
    return replay


def chi_square(index: np.ndarray, population: np.ndarray) -> float:
    """(statistic - mean) / standard deviation under the hypothesis that all are equally likely."""
    counts = np.array([(index == i).sum() for i in population])
    assert counts.sum() == len(index)
    expected = len(index) / len(population)
    freedom = len(population) - 1
    return float((np.sum((counts - expected) ** 2 / expected) - freedom) / math.sqrt(2 * freedom))


def held(replay: Uniform) -> np.ndarray:
    """The index of every transition that may be drawn."""
    return np.concatenate(
        [
            np.arange(max(0, head - replay.window), head) * replay.streams + stream
            for stream, head in enumerate(replay.heads())
        ]
    )


@pytest.mark.parametrize(
    ("fragments", "capacity"),
    [((2,), 1000), ((1, 7, 3), 1000), ((9, 0, 2), 60), ((9, 4, 8), 60)],
    ids=["one size", "different sizes", "one wrapped, one empty", "two wrapped"],
)
def test_every_transition_is_equally_likely_and_weighs_1(
    fragments: tuple[int, ...], capacity: int
) -> None:
    replay = filled(fragments, capacity=capacity)
    generator = torch.Generator().manual_seed(8)
    batch = replay.sample(100 * len(held(replay)), generator)
    assert_array_equal(batch.weight, np.ones(len(batch.weight), np.float32))
    assert len(held(replay)) == len(replay)
    assert abs(chi_square(batch.index.numpy(), held(replay))) < 3


def test_the_chi_square_notices_streams_drawn_evenly() -> None:
    replay = filled((1, 7, 3), capacity=1000)
    rng = np.random.default_rng(8)
    stream = rng.integers(replay.streams, size=100 * len(replay))
    index = rng.integers(replay.heads()[stream]) * replay.streams + stream
    assert chi_square(index, held(replay)) > 30


def test_only_the_requested_ranks_are_drawn() -> None:
    replay = filled((3, 7, 3), capacity=60)
    generator = torch.Generator().manual_seed(8)
    batch = replay.sample(2000, generator, ranks=(0, 2))
    mine = np.array([i for i in held(replay) if i % replay.streams // ENVS != 1])
    assert abs(chi_square(batch.index.numpy(), mine)) < 3


def test_transitions_above_the_write_positions_are_not_drawn() -> None:
    replay = filled((2, 1), capacity=1000)
    early, before = replay.heads(), held(replay)
    for rank in (0, 1):
        fragment = replay.layout.empty(rank)
        fragment.number = 2
        fragment.transitions["valid"] = True
        replay.add(fragment)
    generator = torch.Generator().manual_seed(8)
    batch = replay.sample(3000, generator, heads=early)
    assert abs(chi_square(batch.index.numpy(), before)) < 3


def test_the_same_seed_draws_the_same_transitions() -> None:
    replay = filled((2, 5), capacity=1000)
    one, two, other = (
        replay.sample(64, torch.Generator().manual_seed(seed)).index for seed in (3, 3, 4)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
