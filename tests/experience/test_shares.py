"""Shares of batches: side by side they are what one process alone would learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Batch, Spec
from paradigms.experience.layout import Fragment
from paradigms.experience.rollout import Fifo, Rollout
from paradigms.experience.shares import make_share
from paradigms.experience.uniform import Uniform
from paradigms.loop.ledger import Ledger
from paradigms.loop.pace import Once, Pace
from tests.jobs import job

LENGTH = 4


def spec() -> Spec:
    return job().spec


def numbered(replay: Any, rank: int, number: int) -> Fragment:
    """A fragment whose rewards say where they come from: rank, slot and fragment."""
    fragment: Fragment = replay.layout.empty(rank)
    slots = np.arange(replay.layout.num_envs)
    fragment.transitions["valid"] = True
    fragment.transitions["reward"] = 100 * rank + 10 * slots + number
    fragment.number, fragment.n_valid = number, fragment.transitions.size
    return fragment


def given(workers: int, num_envs: int, fragments: int | None) -> list[list[list[float]]]:
    """What each worker learns from in each learn: the columns' numbers."""
    replay = Rollout(
        spec(), capacity=3, fragments=fragments, writers=workers, num_envs=num_envs,
        rollout_length=LENGTH,
    )  # fmt: skip
    for rank in range(workers):
        for number in range(fragments or 1):
            replay.add(numbered(replay, rank, number))
    shares = [make_share("split", replay, rank, workers) for rank in range(workers)]
    generator = torch.Generator()
    taken = [[share.sample(0, generator) for _ in range(share.parts)] for share in shares]
    for share, mine in zip(shares, taken, strict=True):
        assert share.sample(0, generator).reward.shape == (LENGTH, 0), "nothing is left"
        assert share.count == 0
        assert all(part.reward.shape[0] == LENGTH for part in mine)
    return [[part.reward[0].tolist() for part in mine] for mine in taken]


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("num_envs", [1, 2, 3, 8])
@pytest.mark.parametrize("fragments", [1, 3])
def test_every_column_is_given_once_in_its_order_in_batches_of_one_size(
    workers: int, num_envs: int, fragments: int
) -> None:
    taken = given(workers, num_envs, fragments)
    for part in range(workers):
        together = [number for mine in taken for number in mine[part]]
        assert len(together) == num_envs * fragments
    for rank, mine in enumerate(taken):
        flat = [number for part in mine for number in part]
        expected = [100 * rank + 10 * s + f for f in range(fragments) for s in range(num_envs)]
        assert flat == expected


def test_a_sample_of_a_fragment_of_everybody_is_not_cut() -> None:
    assert given(3, 2, None) == [[[0, 10]], [[100, 110]], [[200, 210]]]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_parts_of_a_drawn_batch_add_up_to_it(workers: int) -> None:
    replay = Uniform(spec(), capacity=100, writers=workers, num_envs=1, rollout_length=LENGTH)
    for rank in range(workers):
        replay.add(numbered(replay, rank, 0))
    sizes = []
    for rank in range(workers):
        share = make_share("split", replay, rank, workers)
        drawn: Batch = share.sample(16, torch.Generator())
        assert share.count == len(drawn.reward)
        sizes.append(share.count)
        whole = make_share("each", replay, rank, workers)
        assert len(whole.sample(16, torch.Generator()).reward) == whole.count == 16
    assert sum(sizes) == 16 and max(sizes) - min(sizes) <= 1


def test_another_word_is_refused() -> None:
    replay = Uniform(spec(), capacity=100, writers=1, num_envs=1, rollout_length=LENGTH)
    with pytest.raises(ValueError, match="choose split or each"):
        make_share("halves", replay, 0, 1)


def test_what_all_do_together_is_all_that_is_due() -> None:
    pace = Pace(Ledger(2), updates_per_env_step=0.5, warmup=10, max_ahead=0, env_steps=100)
    pace.ledger.count("added", 0, 20)
    pace.ledger.count("added", 1, 11)
    assert pace.claim_together(2) == 10
    assert pace.claim_together(2) == 0


@pytest.mark.parametrize(("parts", "learns"), [(1, 1), (3, 3)])
def test_a_sample_of_each_worker_is_one_learn_a_part(parts: int, learns: int) -> None:
    """Also where only one of them has a whole sample, as in a run resumed in between."""
    replay = Fifo(spec(), fragments=2, writers=3, num_envs=1, rollout_length=4)
    pace = Once(Ledger(3), replay, max_ahead=0, env_steps=100)
    assert pace.claim_together(parts) == 0
    for number in range(2):
        assert pace.claim_together(parts) == 0
        fragment = replay.layout.empty(1)
        fragment.number = number
        replay.add(fragment)
    assert pace.claim_together(parts) == learns
    assert pace.ledger.total("granted") == learns
