"""Running statistics against NumPy's of all samples at once, also where two are merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from agents.parts.normal import Normal, ReturnScale, standardised


def samples(n: int, *, mean: float = 0.0, seed: int = 0) -> torch.Tensor:
    spread = torch.tensor([1.0, 5.0, 0.1])
    return mean + spread * torch.randn((n, 3), generator=torch.Generator().manual_seed(seed))


def fed(*batches: torch.Tensor) -> Normal:
    normal = Normal(3)
    for batch in batches:
        normal.update(batch)
    return normal


def same(normal: Normal, seen: torch.Tensor, *, rtol: float = 1e-5) -> None:
    mean, std = normal.moments()
    wide = seen.double().numpy()
    assert_allclose(mean, wide.mean(0), rtol=rtol, atol=1e-6)
    assert_allclose(std, wide.std(0), rtol=rtol)


def test_moments_are_those_of_all_samples_whatever_the_batches() -> None:
    batches = [samples(n, mean=2.0, seed=n) for n in (1, 700, 30)]
    same(fed(*batches), torch.cat(batches))


def test_variances_far_from_zero_keep_their_digits() -> None:
    """float32 has 7 digits, of which the square of a mean of 3000 leaves none to a deviation of
    0.1: the remainders in the second row have them."""
    batches = [samples(100, mean=3000.0, seed=n) for n in range(50)]
    normal = fed(*batches)
    same(normal, torch.cat(batches), rtol=1e-3)
    normal.sums[1].zero_()
    with pytest.raises(AssertionError):
        same(normal, torch.cat(batches), rtol=1e-3)


def test_a_sample_of_weight_one_half_or_zero_counts_so_much() -> None:
    first, news = samples(40), samples(20, mean=5.0, seed=1)
    normal = fed(first)
    normal.update(torch.cat((news, news)), 0.5)
    same(normal, torch.cat((first, news)))
    normal.update(samples(20, mean=100.0), 0.0)
    same(normal, torch.cat((first, news)))


def test_nothing_seen_changes_nothing() -> None:
    x = samples(5)
    assert_array_equal(Normal(3)(x), x)
    assert_array_equal(Normal(3, bound=0.5).normalise_numpy(x.numpy()), x.clamp(-0.5, 0.5))


def test_acting_and_learning_see_the_same_numbers() -> None:
    normal, x = fed(samples(400, mean=7.0)), samples(50, mean=9.0, seed=1)
    before = normal.sums.clone()
    assert_allclose(normal.normalise_numpy(x.numpy()), normal(x), atol=1e-6)
    assert (
        normal.normalise_numpy(x.numpy()).dtype == np.float32 and normal(x).dtype == torch.float32
    )
    assert_allclose(normal.normalise_numpy(x.numpy()).max(), 10.0)  # clipped
    assert torch.equal(normal.sums, before)


def test_merging_by_delta_joins_the_samples() -> None:
    """Two workers of one base, c + (w - b) each: the rule of paradigms/weights/merge.py, a = 1."""
    shared, one, two = samples(40), samples(10, mean=3.0, seed=1), samples(500, mean=-2.0, seed=2)
    base, first, second = fed(shared), fed(shared, one), fed(shared, two)
    merged = Normal(3)
    merged.sums += base.sums + (first.sums - base.sums) + (second.sums - base.sums)
    same(merged, torch.cat((shared, one, two)), rtol=1e-4)


def test_a_lerp_of_two_weighs_them_by_their_counts() -> None:
    one, two = samples(100, mean=3.0, seed=1), samples(300, mean=-2.0, seed=2)
    merged = Normal(3)
    merged.sums += torch.lerp(fed(one).sums, fed(two).sums, 0.5)
    same(merged, torch.cat((one, two)), rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_rewards_are_divided_by_the_deviation_of_their_running_return(shift: float) -> None:
    draws = torch.Generator().manual_seed(0)
    reward = shift + torch.randn((30, 4), generator=draws)
    cut = torch.rand((30, 4), generator=draws) < 0.2
    valid = torch.rand((30, 4), generator=draws) < 0.9
    scale = ReturnScale(0.9)
    scale.update(reward, cut, valid)
    returns = []
    for b in range(4):
        running = 0.0
        for t in range(30):
            running = float(reward[t, b]) + 0.9 * running
            if valid[t, b]:
                returns.append(running)
            if cut[t, b]:
                running = 0.0
    assert_allclose(scale(reward), reward / np.std(returns), rtol=1e-4)


def test_standardised() -> None:
    x = standardised(samples(50)[:, 1])
    assert float(x.mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.square().mean()) == pytest.approx(1, rel=1e-5)
    assert standardised(torch.ones(1)).tolist() == [0.0]
