"""Projections and quantile losses: by hand, by loops, by what they keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.parts.distributions import categorical_projection, quantile_huber

EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}
dtypes = st.sampled_from([*EXACT])
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)


def close(mine: Tensor, other: Any, scale: float = 1.0) -> None:
    exact = EXACT[mine.dtype]
    np.testing.assert_allclose(
        mine.detach().numpy(), np.asarray(other), rtol=exact, atol=exact * scale
    )


def support(low: float, high: float, size: int, dtype: torch.dtype) -> Tensor:
    return torch.linspace(low, high, size, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", EXACT)
def test_a_projection_by_hand(dtype: torch.dtype) -> None:
    """Support 0 1 2. Row 0: 0.25 lies a quarter of the way from 0 to 1, 1 lies on an atom, 5
    beyond the end. Row 1: the last atom, below the first, and halfway."""
    projected = categorical_projection(
        torch.tensor([[0.4, 0.5, 0.1], [0.2, 0.3, 0.5]], dtype=dtype),
        torch.tensor([[0.25, 1.0, 5.0], [2.0, -1.0, 1.5]], dtype=dtype),
        torch.tensor([0.0, 1.0, 2.0], dtype=dtype),
    )
    wanted = np.array([[0.3, 0.1 + 0.5, 0.1], [0.3, 0.25, 0.25 + 0.2]])
    np.testing.assert_allclose(projected.numpy(), wanted, rtol=EXACT[dtype])


def shared_out(probs: np.ndarray, atoms: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Algorithm 1 without indices: an atom's shares fall off linearly to the neighbours of it."""
    width = (z[-1] - z[0]) / (len(z) - 1)
    out = np.zeros_like(probs)
    for b, row in enumerate(zip(probs, atoms, strict=True)):
        for p, atom in zip(*row, strict=True):
            distance = np.abs(np.clip(atom, z[0], z[-1]) - z) / width
            out[b] += p * np.maximum(0, 1 - distance)
    return out


@given(seeds, st.integers(2, 12), st.integers(1, 4), st.floats(0.1, 3), dtypes)
def test_a_projection_is_what_triangles_share_out(
    seed: int, size: int, rows: int, spread: float, dtype: torch.dtype
) -> None:
    z = support(-2, 5, size, dtype)
    probs = normal(seed, rows, size, dtype=dtype).softmax(1)
    atoms = normal(seed + 1, rows, size, dtype=dtype) * spread * 3
    mine = categorical_projection(probs, atoms, z)
    assert mine.dtype == dtype
    wide = (np.asarray(column, np.float64) for column in (probs, atoms, z))
    close(mine, shared_out(*wide))


@given(seeds, st.integers(2, 60), st.floats(-50, 50), st.floats(0.5, 400), dtypes)
def test_a_projection_keeps_mass_and_within_the_support_the_mean(
    seed: int, size: int, low: float, width: float, dtype: torch.dtype
) -> None:
    z = support(low, low + width, size, dtype)
    probs = (3 * normal(seed, 4, size, dtype=dtype)).softmax(1)
    within = z[0] + (z[-1] - z[0]) * normal(seed + 1, 4, size, dtype=dtype).sigmoid()
    projected = categorical_projection(probs, within, z)
    close(projected.sum(1), probs.sum(1))
    assert (projected >= 0).all()
    close((projected * z).sum(1), (probs * within).sum(1), scale=abs(low) + width)
    beyond = categorical_projection(probs, 10 * within, z)
    close(beyond.sum(1), probs.sum(1))


@given(seeds, st.integers(2, 60), dtypes)
def test_atoms_on_the_support_stay_where_they_are(seed: int, size: int, dtype: torch.dtype) -> None:
    """Where l = u, and where rounding puts an atom a bit beside."""
    z = support(-10, 10, size, dtype)
    probs = normal(seed, 3, size, dtype=dtype).softmax(1)
    close(categorical_projection(probs, z.repeat(3, 1), z), probs)
    close(categorical_projection(probs, z.flip(0).repeat(3, 1), z), probs.flip(1))


def test_the_target_of_a_terminal_transition_is_its_reward() -> None:
    z = torch.linspace(-10, 10, 51)
    reward, discount = torch.tensor([2.0, -99.0]), torch.zeros(2)
    atoms = reward[:, None] + discount[:, None] * z
    projected = categorical_projection(torch.full((2, 51), 1 / 51), atoms, z)
    assert int(projected[0].argmax()) == 30
    close(projected[0, 30], 1.0)
    close(projected[1, 0], 1.0)


def test_a_projection_carries_no_gradient() -> None:
    probs = normal(0, 2, 5).softmax(1).requires_grad_()
    assert not categorical_projection(
        probs, normal(1, 2, 5), torch.linspace(-1, 1, 5)
    ).requires_grad


@pytest.mark.parametrize("dtype", EXACT)
def test_a_quantile_loss_by_hand(dtype: torch.dtype) -> None:
    """Predicted 0 at 1/4 and 2 at 3/4, targets 0.5 and 4: u = 0.5 4 and -1.5 2.

    Huber: 0.125 3.5 and 1 1.5; |tau - 1{u < 0}|: 1/4 1/4 and 1/4 3/4.
    Means 0.453125 and 0.6875.
    """
    loss = quantile_huber(
        torch.tensor([[0.0, 2.0]], dtype=dtype),
        torch.tensor([[0.5, 4.0]], dtype=dtype),
        torch.tensor([0.25, 0.75], dtype=dtype),
    )
    close(loss, [0.453125 + 0.6875])


@given(
    seeds,
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.floats(0.1, 3),
    dtypes,
)
def test_a_quantile_loss_is_the_loops(
    seed: int, rows: int, k: int, m: int, kappa: float, dtype: torch.dtype
) -> None:
    predicted, target = normal(seed, rows, k, dtype=dtype), normal(seed + 1, rows, m, dtype=dtype)
    taus = ((torch.arange(k, dtype=torch.float64) + 0.5) / k).to(dtype)
    wanted = np.zeros(rows)
    for b in range(rows):
        for i in range(k):
            for j in range(m):
                u = float(target[b, j]) - float(predicted[b, i])
                huber = 0.5 * u * u if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
                tau = float(taus[i])
                wanted[b] += (1 - tau if u < 0 else tau) * huber / kappa / m
    mine = quantile_huber(predicted, target, taus, kappa)
    assert mine.shape == (rows,) and mine.dtype == dtype
    close(mine, wanted)


def test_the_gradient_is_the_clipped_error_and_stays_out_of_the_target() -> None:
    predicted = normal(0, 2, 3).requires_grad_()
    target = (2 * normal(1, 2, 4)).requires_grad_()
    taus = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    quantile_huber(predicted, target, taus, kappa=0.7).sum().backward()
    u = (target[:, None] - predicted[..., None]).detach()
    asymmetry = torch.where(u < 0, 1 - taus[:, None], taus[:, None])
    assert predicted.grad is not None and target.grad is None
    close(predicted.grad, -(asymmetry * u.clamp(-0.7, 0.7) / 0.7).mean(2))


def test_quantiles_of_a_sample_are_where_the_loss_of_small_kappa_is_least() -> None:
    """Descending it finds them: the 0.1, 0.5 and 0.9 quantiles of 0 ... 100."""
    sample = torch.arange(101.0, dtype=torch.float64)[None]
    taus = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    predicted = torch.full((1, 3), 30.0, dtype=torch.float64, requires_grad=True)
    optim = torch.optim.Adam([predicted], lr=1.0)
    for step in range(600):
        optim.param_groups[0]["lr"] = 1 - step / 600
        optim.zero_grad()
        quantile_huber(predicted, sample, taus, kappa=0.01).sum().backward()
        optim.step()
    np.testing.assert_allclose(predicted.detach().numpy(), [[10, 50, 90]], atol=1)


def test_a_projection_refuses_shapes_that_would_broadcast() -> None:
    for arguments, message in [
        ([(2, 3), (2, 4), (3,)], r"probs \(2, 3\) against atoms \(2, 4\)"),
        ([(2, 3), (2, 3), (4,)], r"support \(4,\) against probs \(2, 3\)"),
        ([(3,), (3,), (3,)], r"support \(3,\) against probs \(3,\)"),
    ]:
        with pytest.raises(AssertionError, match=message):
            categorical_projection(*(torch.ones(shape) for shape in arguments))


def test_a_loss_refuses_shapes_that_would_broadcast() -> None:
    for arguments, message in [
        ([(2, 3), (1, 4), (3,)], r"predicted \(2, 3\) against target \(1, 4\)"),
        ([(2, 3), (2,), (3,)], r"predicted \(2, 3\) against target \(2,\)"),
        ([(2, 3), (2, 4), (1,)], r"taus \(1,\) against predicted \(2, 3\)"),
    ]:
        with pytest.raises(AssertionError, match=message):
            quantile_huber(*(torch.ones(shape) for shape in arguments))


def test_a_kappa_of_zero_is_refused() -> None:
    with pytest.raises(AssertionError, match="kappa is 0: it must be above 0"):
        quantile_huber(torch.ones(2, 3), torch.ones(2, 4), torch.ones(3), kappa=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", EXACT)
def test_a_cuda_device_agrees(dtype: torch.dtype) -> None:
    z = support(-10, 10, 51, dtype)
    probs, atoms = normal(0, 16, 51, dtype=dtype).softmax(1), 8 * normal(1, 16, 51, dtype=dtype)
    there = categorical_projection(probs.cuda(), atoms.cuda(), z.cuda())
    close(there.cpu(), categorical_projection(probs, atoms, z))
    taus = (torch.arange(51, dtype=dtype) + 0.5) / 51
    loss = quantile_huber(probs.cuda(), atoms.cuda(), taus.cuda())
    close(loss.cpu(), quantile_huber(probs, atoms, taus))
