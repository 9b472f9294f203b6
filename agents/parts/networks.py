"""Multilayer perceptrons whose weights are plain tensors, one or several stacked side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

# B batch, N members of an ensemble, I and O a layer's width in and out


class MLP:
    """ReLU layers, then a linear one; `members` networks side by side when it is not None.

    Weights are drawn from U(-1/sqrt(in), 1/sqrt(in)), as torch.nn.Linear does. `layer_norm`
    normalises before each ReLU, without gain and bias (Ba et al. 2016, arXiv:1607.06450).
    `bf16` multiplies the hidden layers' matrices in bfloat16; values in between stay float32.
    With `hidden_only` the last layer is a ReLU one too; no layers at all are then the identity.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        generator: torch.Generator,
        members: int | None = None,
        layer_norm: bool = False,
        bf16: bool = False,
        hidden_only: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.layer_norm, self.bf16, self.device = layer_norm, bf16, torch.device(device)
        self.activated = len(sizes) - (1 if hidden_only else 2)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        lead = () if members is None else (members,)
        for fan_in, fan_out in pairwise(sizes):
            bound = 1 / math.sqrt(fan_in)
            for store, shape in (
                (self.weights, (*lead, fan_in, fan_out)),
                (self.biases, (*lead, 1, fan_out) if members else (fan_out,)),
            ):
                drawn = torch.rand(shape, generator=generator) * 2 * bound - bound
                store.append(drawn.to(device).requires_grad_())
        self._arrays: list[tuple[np.ndarray, np.ndarray]] | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """Every weight and bias, layer by layer."""
        return [t for pair in zip(self.weights, self.biases, strict=True) for t in pair]

    def copy(self) -> MLP:
        """The same network on tensors of its own, without gradients."""
        other = object.__new__(MLP)
        other.layer_norm, other.bf16, other.device = self.layer_norm, self.bf16, self.device
        other.activated, other._arrays = self.activated, None
        other.weights = [w.detach().clone() for w in self.weights]
        other.biases = [b.detach().clone() for b in self.biases]
        return other

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, I] -> [B, O], or [N, B, O] for an ensemble."""
        last = len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if self.bf16 and 0 < i < last:
                x, w, b = x.bfloat16(), w.bfloat16(), b.bfloat16()
            if w.shape[-1] == 1:  # a product with one column is slow as a matrix product
                x = (x * w.mT).sum(-1, keepdim=True) + b
            elif w.dim() == 2:
                x = torch.addmm(b, x.to(w.dtype), w)
            else:
                x = torch.baddbmm(b, x.expand(w.shape[0], -1, -1), w)
            if i < self.activated:
                if self.layer_norm:
                    x = torch.nn.functional.layer_norm(x, x.shape[-1:])
                x = x.relu_()
        return x

    def forget_arrays(self) -> None:
        """To be called when the tensors' storage has moved."""
        self._arrays = None

    def forward_numpy(self, x: np.ndarray) -> np.ndarray:
        """The same in NumPy, x [B, I] float32 -> [B, O], for a network without members: half of
        torch's time for a few observations. On a CUDA device torch computes it."""
        if self.device.type != "cpu":
            with torch.no_grad():
                return np.asarray(self(torch.from_numpy(x).to(self.device)).cpu())
        for i, (w, b) in enumerate(self.arrays()):
            x = x @ w
            x += b
            if i < self.activated:
                if self.layer_norm:
                    normalise(x)
                np.maximum(x, 0, out=x)
        return x

    def arrays(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each layer's weight and bias as views in NumPy."""
        if self._arrays is None:
            self._arrays = [
                (w.detach().numpy(), b.detach().numpy())
                for w, b in zip(self.weights, self.biases, strict=True)
            ]
        return self._arrays


def normalise(x: np.ndarray) -> None:
    """Layer normalisation without gain and bias, in place."""
    x -= x.mean(-1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)
