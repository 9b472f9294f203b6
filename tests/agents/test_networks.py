"""Perceptrons of plain tensors, their NumPy twins, and torch's own layers as the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from agents.parts.networks import MLP

SHAPES = {"relu": {}, "layer norm": {"layer_norm": True}}


def make(*sizes: int, seed: int = 0, **options: Any) -> MLP:
    return MLP(sizes, generator=torch.Generator().manual_seed(seed), **options)


def inputs(rows: int, width: int) -> Tensor:
    return 3 * torch.randn((rows, width), generator=torch.Generator().manual_seed(1))


def reference(net: MLP, member: int | None = None) -> nn.Sequential:
    """The same network of torch.nn layers."""
    layers: list[nn.Module] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        w, b = (w, b) if member is None else (w[member], b[member, 0])
        layer = nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = w.detach().T, b.detach()
        layers.append(layer)
        if net.layer_norm:
            layers.append(nn.LayerNorm(w.shape[1], elementwise_affine=False))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers[: -2 if net.layer_norm else -1])


@pytest.mark.parametrize("sizes", [(3, 32, 24, 4), (3, 32, 24, 1), (5, 2)])
def test_a_perceptron_is_what_torchs_layers_compute(
    sizes: tuple[int, ...], subtests: pytest.Subtests
) -> None:
    for options in SHAPES.values():
        with subtests.test(str(options)):
            net, x = make(*sizes, **options), inputs(7, sizes[0])
            assert_allclose(net(x).detach(), reference(net)(x).detach(), atol=1e-5)


@pytest.mark.parametrize("out", [1, 3])
def test_each_member_of_an_ensemble_is_a_network_of_its_own(
    out: int, subtests: pytest.Subtests
) -> None:
    for options in SHAPES.values():
        with subtests.test(str(options)):
            net, x = make(3, 16, 16, out, members=2, **options), inputs(7, 3)
            both = net(x)
            assert both.shape == (2, 7, out)
            for member in (0, 1):
                assert_allclose(
                    both[member].detach(), reference(net, member)(x).detach(), atol=1e-5
                )
            first = torch.autograd.grad(both[0].sum(), net.tensors)
            assert all(not grad[1].any() for grad in first) and all(grad[0].any() for grad in first)
            assert not torch.equal(net.weights[0][0], net.weights[0][1])


@pytest.mark.parametrize("sizes", [(3, 32, 24, 4), (24, 256, 256, 8), (2, 16, 1)])
def test_the_numpy_forward_is_the_torch_forward(
    sizes: tuple[int, ...], subtests: pytest.Subtests
) -> None:
    for options in SHAPES.values():
        for rows in [1, 2, 8, 64]:
            with subtests.test(rows=rows, options=str(options)):
                net, x = make(*sizes, **options), inputs(rows, sizes[0])
                given = x.numpy().copy()
                assert_allclose(net.forward_numpy(given), net(x).detach(), atol=1e-5)
                assert_allclose(given, x)


def test_the_numpy_forward_sees_weights_that_are_changed_in_place_or_moved() -> None:
    net, x = make(3, 16, 2), inputs(4, 3)
    net.forward_numpy(x.numpy())
    with torch.no_grad():
        net.weights[0].mul_(2)
    assert_allclose(net.forward_numpy(x.numpy()), net(x).detach(), atol=1e-5)
    net.weights[0].data = torch.zeros_like(net.weights[0])
    net.forget_arrays()
    assert_allclose(net.forward_numpy(x.numpy()), net(x).detach(), atol=1e-5)


def test_weights_and_biases_start_uniform_as_in_torchs_layers() -> None:
    net = make(100, 400, 50)
    for w, b, fan_in in zip(net.weights, net.biases, (100, 400), strict=True):
        bound = fan_in**-0.5
        for values in (w, b):
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.9 * bound
        assert float(w.detach().var()) == pytest.approx(bound**2 / 3, rel=0.05)


def test_the_same_seed_builds_the_same_network_and_another_another() -> None:
    one, two, other = make(3, 8, 2), make(3, 8, 2), make(3, 8, 2, seed=1)
    for mine, same, unlike in zip(one.tensors, two.tensors, other.tensors, strict=True):
        assert torch.equal(mine, same) and not torch.equal(mine, unlike)


def test_a_copy_is_equal_apart_and_without_gradient() -> None:
    net = make(3, 8, 2, members=2, layer_norm=True)
    copy, x = net.copy(), inputs(4, 3)
    assert torch.equal(copy(x), net(x))
    assert not copy(x).requires_grad
    copy.weights[0].zero_()
    assert net.weights[0].any()


def test_bfloat16_changes_hidden_products_only_and_by_little() -> None:
    plain, x = make(8, 64, 64, 64, 1, members=2), inputs(32, 8)
    rounded = make(8, 64, 64, 64, 1, members=2, bf16=True)
    assert rounded(x).dtype == torch.float32
    difference = (rounded(x) - plain(x)).abs().max()
    assert 0 < difference < 0.03 * plain(x).abs().max()
    shallow = make(8, 64, 1, bf16=True)
    assert torch.equal(shallow(x), make(8, 64, 1)(x))
    grads = torch.autograd.grad(rounded(x).sum(), rounded.tensors)
    assert all(grad.dtype == torch.float32 and grad.isfinite().all() for grad in grads)
    assert_allclose(
        make(8, 64, 1, bf16=True).forward_numpy(x.numpy()), shallow(x).detach(), atol=1e-5
    )
