"""Three convolutions and a layer: Mnih et al. 2015, Human-level control through deep reinforcement
learning, and a variant for small images and critics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm

from agents.encoders.images import Images

Shape = tuple[int, int, int]  # rows, columns and channels of an image


class Nature(Images):
    """The convolutions of Mnih et al. 2015 with ReLUs, and their layer of 512 units.

    Deviation from the paper: weights begin orthogonal. (With `features=0` and `hidden_sizes=[512]`
    the layer is the agent's, so that a dueling or noisy head can have it twice.)
    """

    least = 36
    features = 512
    layers: Sequence[tuple[int, int, int, int]] = (  # channels, kernel, stride, padding
        (32, 8, 4, 0),
        (64, 4, 2, 0),
        (64, 3, 1, 0),
    )
    gain = 2**0.5

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
        for out, kernel, stride, pad in self.layers:
            self.convolution(out, channels, kernel)
            height, width = ((n + 2 * pad - kernel) // stride + 1 for n in (height, width))
            channels = out
        self.last(features, channels * height * width, self.gain)

    def see(self, x: Tensor) -> Tensor:
        for i, (_, _, stride, pad) in enumerate(self.layers):
            weight, bias = self.tensors[2 * i : 2 * i + 2]
            x = conv2d(x, weight, bias, stride, pad).relu_()
        return x.flatten(1)


class Conv(Nature):
    """The same convolutions, padded, so that a layer divides height and width by its stride and
    images of 8 x 8 pixels are large enough; then a linear layer, layer normalisation and tanh, as
    critics of continuous actions have them (Yarats et al. 2021, arXiv:1910.01741 and 2004.13649).

    Deviation from the papers: the normalisation has neither gain nor bias.
    """

    least = 8
    features = 50
    layers = ((32, 8, 4, 2), (64, 4, 2, 1), (64, 3, 1, 1))
    gain = 1.0

    def finish(self, x: Tensor) -> Tensor:
        return layer_norm(x, (self.size,)).tanh()
