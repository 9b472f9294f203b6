"""Noisy networks for exploration: Fortunato et al. 2018, arXiv:1706.10295."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from agents.parts.networks import MLP, normalise

# B batch, I and O a layer's width in and out, R rows of noise: B (a draw a row) or 1 (one for all)


class NoisyMLP:
    """An MLP whose weights have a learned mean and scale, with factorised noise in every layer.

    With e_I = f(z_I), e_O = f(z_O) and f(z) = sign(z) sqrt|z| (equations 10 and 11) a layer is

        x (W + S * e_I^T e_O) + b + s * e_O  =  (x W + b) + e_O * ((x * e_I) S + s)

    and the right-hand side allows noise of its own for every row of x at the same cost. Without
    noise it is the network of the means. Means start as an MLP's, scales at sigma / sqrt(I)
    (section 3.2).

        noise = factorised(torch.randn((R, net.width)))
        net(x, noise)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        generator: torch.Generator,
        sigma: float = 0.5,
        layer_norm: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mean = MLP(sizes, generator=generator, layer_norm=layer_norm, device=device)
        self.scale = self.mean.copy()
        for fan_in, w, b in zip(sizes, self.scale.weights, self.scale.biases, strict=False):
            for tensor in (w, b):
                tensor.fill_(sigma / fan_in**0.5).requires_grad_()
        self.splits = [size for pair in pairwise(sizes) for size in pair]  # I, O of every layer

    @property
    def width(self) -> int:
        """How many draws a row of noise takes."""
        return sum(self.splits)

    @property
    def tensors(self) -> list[Tensor]:
        """Means, then scales."""
        return [*self.mean.tensors, *self.scale.tensors]

    def copy(self) -> NoisyMLP:
        """The same network on tensors of its own, without gradients."""
        other = object.__new__(NoisyMLP)
        other.mean, other.scale, other.splits = self.mean.copy(), self.scale.copy(), self.splits
        return other

    def __call__(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x [B, I] and noise [R, width] (None: the means) -> [B, O]."""
        if noise is None:
            return self.mean(x)
        draws = iter(torch.split(noise, self.splits, -1))
        scales = zip(self.scale.weights, self.scale.biases, strict=True)
        for i, (w, b) in enumerate(zip(self.mean.weights, self.mean.biases, strict=True)):
            (w_scale, b_scale), into, out = next(scales), next(draws), next(draws)
            x = torch.addmm(b, x, w) + out * torch.addmm(b_scale, x * into, w_scale)
            if i < self.mean.activated:
                if self.mean.layer_norm:
                    x = torch.nn.functional.layer_norm(x, x.shape[-1:])
                x = x.relu_()
        return x

    def forward_numpy(self, x: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """The same in NumPy; on a CUDA device torch computes it."""
        if noise is None:
            return self.mean.forward_numpy(x)
        if (device := self.mean.device).type != "cpu":
            with torch.no_grad():
                drawn = torch.from_numpy(noise).to(device)
                return np.asarray(self(torch.from_numpy(x).to(device), drawn).cpu())
        draws = iter(np.split(noise, np.cumsum(self.splits[:-1]), -1))
        layers = zip(self.mean.arrays(), self.scale.arrays(), strict=True)
        for i, ((w, b), (w_scale, b_scale)) in enumerate(layers):
            into, out = next(draws), next(draws)
            x = x @ w + b + out * ((x * into) @ w_scale + b_scale)
            if i < self.mean.activated:
                if self.mean.layer_norm:
                    normalise(x)
                np.maximum(x, 0, out=x)
        return x

    def forget_arrays(self) -> None:
        """To be called when the tensors' storage has moved."""
        self.mean.forget_arrays()
        self.scale.forget_arrays()


def factorised(draws: Tensor) -> Tensor:
    """f(z) = sign(z) sqrt|z|, element by element, of standard normal draws."""
    return draws.sign() * draws.abs().sqrt()
