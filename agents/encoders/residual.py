"""Residual convolutions: the large network of IMPALA (Espeholt et al. 2018, arXiv:1802.01561,
figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from agents.encoders.convolutions import Shape
from agents.encoders.images import Images

STACKS = (16, 32, 32)  # channels
BLOCKS = 2  # residual blocks of a stack, two convolutions each


class Residual(Images):
    """Three stacks of a convolution, a maximum over 3 x 3 pixels with stride 2, and two residual
    blocks; a ReLU, and a layer of 256 units.

    Deviations from the paper: weights begin orthogonal; there is no LSTM behind it but the agent's.
    """

    least = 8
    features = 256

    def __init__(
        self,
        shape: Shape,
        features: int,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(generator, device)
        height, width, channels = shape
        for out in STACKS:
            self.convolution(out, channels, 3)
            for _ in range(2 * BLOCKS):
                self.convolution(out, out, 3)
            height, width, channels = (height + 1) // 2, (width + 1) // 2, out
        self.last(features, channels * height * width, 2**0.5)

    def see(self, x: Tensor) -> Tensor:
        pairs = zip(self.tensors[::2], self.tensors[1::2], strict=True)
        for _ in STACKS:
            x = max_pool2d(conv2d(x, *next(pairs), padding=1), 3, 2, 1)
            for _ in range(BLOCKS):
                inner = conv2d(x.relu(), *next(pairs), padding=1).relu_()
                x = x + conv2d(inner, *next(pairs), padding=1)
        return x.relu().flatten(1)
