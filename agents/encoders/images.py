"""What encoders of images have in common."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from agents.parts.policies import orthogonal

# N images; H, W, C an image's rows, columns and channels; F features


class Images:
    """uint8 images [..., H, W, C] -> features [..., F] float32: `see` makes [N, units] of planes, a
    linear layer F of them, and `finish` ends it. With F = 0 there is no layer, and F is `units`.

    Weights begin orthogonal, those before a ReLU with gain sqrt(2), and biases at 0. least: rows
    and columns that an image must have. features: F, where nobody asks for another.
    """

    least = 8
    features = 0

    def __init__(self, generator: torch.Generator, device: torch.device | str) -> None:
        self.generator: torch.Generator | None = generator
        self.device = torch.device(device)
        self.tensors: list[Tensor] = []
        self.own: Mapping[str, list[Tensor]] = {}
        self.still: list[Tensor] = []
        self.size = 0
        self.layered = False

    def convolution(self, out: int, channels: int, kernel: int, outputs: int | None = None) -> None:
        """Draws the weight [out, channels, kernel, kernel] of a convolution, and its bias; of a
        transposed one, which has `outputs`, the way from `out` channels to these."""
        assert self.generator is not None
        weight = orthogonal((out, channels * kernel * kernel), math.sqrt(2), self.generator)
        bias = torch.zeros(out if outputs is None else outputs)
        self._hold(weight.view(out, channels, kernel, kernel), bias)

    def dense(self, features: int, units: int, gain: float) -> None:
        """Draws a linear layer's weight [features, units], and its bias."""
        assert self.generator is not None
        self._hold(orthogonal((features, units), gain, self.generator), torch.zeros(features))

    def last(self, features: int, units: int, gain: float) -> None:
        """Draws the last layer, unless there is to be none."""
        self.layered, self.size = features > 0, features or units
        if self.layered:
            self.dense(features, units, gain)
        self.generator = None

    def _hold(self, *drawn: Tensor) -> None:
        self.tensors += [tensor.to(self.device).requires_grad_() for tensor in drawn]

    def see(self, x: Tensor) -> Tensor:
        """Planes [N, C, H, W] in [0, 1] -> [N, units]."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> Tensor:
        """What follows the last layer, [N, F] -> [N, F]."""
        return x.relu_()

    def __call__(self, obs: Tensor) -> Tensor:
        assert obs.dtype == torch.uint8, f"images are {obs.dtype}, not uint8"
        x = self.see(planes(obs))
        if self.layered:
            x = self.finish(linear(x, *self.tensors[-2:]))
        return x.view(*obs.shape[:-3], self.size)

    @torch.no_grad()
    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        """The same for acting, without autograd."""
        return np.asarray(self(torch.from_numpy(obs).to(self.device)).cpu())

    def loss(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """See `Encoder.loss`: here whoever reads the features trains the encoder."""
        raise NotImplementedError

    def copy(self) -> Images:
        """The same encoder on tensors of its own, without gradients."""
        other = copy.copy(self)
        other.tensors = [t.detach().clone() for t in self.tensors]
        return other


def planes(obs: Tensor) -> Tensor:
    """Images uint8 [..., H, W, C] -> [N, C, H, W] float32 in [0, 1], laid out like that: bits of
    convolutions depend on the layout, which replays choose by what is fast."""
    images = obs.reshape(-1, *obs.shape[-3:]).movedim(-1, 1)
    return images.to(torch.float32, memory_format=torch.contiguous_format) / 255
