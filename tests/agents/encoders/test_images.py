"""What encoders of images compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from agents.encoders.convolutions import Conv, Nature
from agents.encoders.residual import Residual


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=draws, dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(42, 144, 3), (84, 84, 4), (24, 24, 3), (8, 8, 1), (9, 15, 2)])
@pytest.mark.parametrize("kind", [Conv, Nature, Residual])
def test_images_of_many_sizes_become_features(kind: Any, shape: tuple[int, int, int]) -> None:
    if min(shape[:2]) < kind.least:
        shape = (36, 37, shape[-1])
    conv = kind(shape, 50, generator=torch.Generator().manual_seed(0))
    obs = images(2, 3, *shape)
    seen = conv(obs)
    assert seen.shape == (2, 3, 50) and seen.dtype == torch.float32
    if kind is Conv:
        assert bool((seen.abs() < 1).all()) and float(seen.detach().std()) > 0.3
    elif shape != (8, 8, 1):
        assert bool((seen >= 0).all()) and float(seen.detach().std()) > 0.05
    assert_allclose(seen[1, 2].detach(), conv(obs[1, 2]).detach(), atol=1e-4)
    assert_allclose(conv.forward_numpy(obs.numpy()), seen.detach(), atol=1e-5)
    assert not torch.allclose(seen[0, 0], seen[0, 1], atol=1e-2)


def biased(kind: Any, shape: tuple[int, int, int], features: int) -> Any:
    """An encoder whose biases are not 0."""
    made = kind(shape, features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for bias in made.tensors[1::2]:
            bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    return made


@pytest.mark.parametrize("kind", [Conv, Nature])
def test_the_layers_are_those_of_the_papers(kind: Any) -> None:
    """Against loops over places, in float64."""
    shape = (9, 11, 2) if kind is Conv else (36, 41, 2)
    conv, flat = biased(kind, shape, 6), biased(kind, shape, 0)
    obs = images(*shape)
    tensors = [t.detach().double().numpy() for t in conv.tensors]
    x = obs.double().numpy().transpose(2, 0, 1) / 255
    for i, (channels, kernel, stride, pad) in enumerate(kind.layers):
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        rows, columns = ((n - kernel) // stride + 1 for n in x.shape[1:])
        out = np.zeros((channels, rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = x[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                out[:, r, c] = (tensors[2 * i] * patch).sum((1, 2, 3)) + tensors[2 * i + 1]
        x = np.maximum(out, 0)
    y = tensors[-2] @ x.ravel() + tensors[-1]
    expected = np.maximum(y, 0)
    if kind is Conv:
        expected = np.tanh((y - y.mean()) / np.sqrt(y.var() + 1e-5))
    assert_allclose(conv(obs).detach(), expected, atol=1e-4)
    assert flat.size == x.size and len(flat.tensors) == 6
    assert_allclose(flat(obs).detach(), x.ravel(), atol=1e-4)


def test_the_residual_blocks_are_those_of_the_paper() -> None:
    """Against torch's modules, put together as figure 3 of arXiv:1802.01561 shows them."""
    nn = torch.nn
    made = biased(Residual, (13, 10, 2), 7)
    held = iter(made.tensors)

    def filled(module: Any) -> Any:
        with torch.no_grad():
            module.weight.copy_(next(held))
            module.bias.copy_(next(held))
        return module

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            convs = [filled(nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(2)]
            self.inner = nn.Sequential(nn.ReLU(), convs[0], nn.ReLU(), convs[1])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    modules: list[Any] = []
    for before, after in ((2, 16), (16, 32), (32, 32)):
        first = filled(nn.Conv2d(before, after, 3, padding=1))
        modules += [first, nn.MaxPool2d(3, 2, 1), Block(after), Block(after)]
    modules += [nn.ReLU(), nn.Flatten(), filled(nn.Linear(32 * 2 * 2, 7)), nn.ReLU()]
    obs = images(4, 13, 10, 2)
    expected = nn.Sequential(*modules)(obs.permute(0, 3, 1, 2) / 255)
    assert next(held, None) is None
    assert_allclose(made(obs).detach(), expected.detach(), atol=1e-5)
    assert biased(Residual, (13, 10, 2), 0).size == 32 * 2 * 2
