"""A variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114) whose latents stand for
images, as in World Models (Ha and Schmidhuber 2018, arXiv:1803.10122) and Learn-to-Race's agents
(Herman et al. 2021, arXiv:2103.11575)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    conv2d,
    conv_transpose2d,
    linear,
)

from agents.encoders.convolutions import Shape
from agents.encoders.images import Images, planes

FILTERS = (32, 64, 128, 256)

# N images, L latents; H, W, C an image's rows, columns and channels


class VAE(Images):
    """Four convolutions of 4 x 4 pixels with stride 2, a Gaussian of 32 latents, and the way back.
    Features are the means of the latents, without gradient: the autoencoder is trained by its own
    loss, on the images of the batches that the agent learns from, and by nobody else's.

    So all who read it see the same, and targets have no copy of it that lags behind. It may have
    been trained beforehand (`adopt`), as in World Models, and then stay as it is (`freeze`).
    """

    least = 16
    features = 32

    def __init__(
        self,
        shape: Shape,
        features: int,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        if not features:
            raise ValueError("agent.features=0: the latents of agent.encoder=vae must be 1 or more")
        super().__init__(generator, device)
        self.shape = shape
        height, width, channels = shape
        sizes, depths = [(height, width)], (channels, *FILTERS)
        for before, after in pairwise(depths):
            self.convolution(after, before, 4)
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        self.inner = (depths[-1], *sizes[-1])
        units = depths[-1] * sizes[-1][0] * sizes[-1][1]
        self.dense(features, units, 1.0)
        self.dense(features, units, 0.01)  # the log variance begins near 0
        self.seeing, self.tensors = self.tensors, []
        self.dense(units, features, 1.0)
        self.odd = []  # the row or column that halving has dropped
        for (after, before), (rows, columns) in zip(
            list(pairwise(depths))[::-1], sizes[-2::-1], strict=True
        ):
            self.convolution(before, after, 4, outputs=after)
            self.odd.append((rows % 2, columns % 2))
        self.making, self.tensors = self.tensors, []
        self.own = {"encoder": self.seeing, "decoder": self.making}
        self.size, self.generator = features, None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [N, L] of the latents of planes [N, C, H, W] in [0, 1]."""
        held = self.seeing
        for weight, bias in zip(held[:-4:2], held[1:-4:2], strict=True):
            x = conv2d(x, weight, bias, 2, 1).relu_()
        x = x.flatten(1)
        return linear(x, held[-4], held[-3]), linear(x, held[-2], held[-1])

    def logits(self, latents: Tensor) -> Tensor:
        """Planes [N, C, H, W] before the sigmoid, of latents [N, L]."""
        held = self.making
        x = linear(latents, held[0], held[1]).view(-1, *self.inner)
        for layer, odd in enumerate(self.odd):
            weight, bias = held[2 * layer + 2 : 2 * layer + 4]
            x = conv_transpose2d(x.relu() if layer else x, weight, bias, 2, 1, odd)
        return x

    def loss(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Minus the evidence lower bound, in nats an image (equation 10): cross entropy and
        divergence. obs: uint8 [..., H, W, C]."""
        entropy, divergence, n = self.terms(obs, generator)
        return (entropy + divergence) / n

    def terms(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        """Cross entropy and divergence, nats, both summed over the images, and how many they are.
        obs: uint8 [..., H, W, C]."""
        pictures = planes(obs)
        mean, log_var = self.encode(pictures)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        logits = self.logits(mean + noise * (0.5 * log_var).exp())
        entropy = binary_cross_entropy_with_logits(logits, pictures, reduction="sum")
        divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return entropy, divergence, len(pictures)

    @torch.no_grad()
    def adopt(self, weights: Iterable[np.ndarray]) -> None:
        """Takes over the weights of another one, float32, those of its encoder first. Raises
        ValueError where they are not those of such an autoencoder."""
        mine, theirs = [*self.seeing, *self.making], [*weights]
        if [tuple(tensor.shape) for tensor in mine] != [array.shape for array in theirs]:
            raise ValueError("its weights are not those of such an autoencoder")
        for tensor, array in zip(mine, theirs, strict=True):
            tensor.copy_(torch.from_numpy(array))

    def freeze(self) -> None:
        """From now on nothing trains it, and it only reads."""
        self.own, self.still, self.making = {}, self.seeing, []
        for tensor in self.seeing:
            tensor.requires_grad_(False)

    @torch.no_grad()
    def reconstruct(self, obs: Tensor) -> Tensor:
        """What is left of images uint8 [N, H, W, C]: as many of the same kind."""
        made = self.logits(self.encode(planes(obs))[0]).sigmoid()
        return (255 * made).round().to(torch.uint8).movedim(1, -1)

    @torch.no_grad()
    def see(self, x: Tensor) -> Tensor:
        return self.encode(x)[0]

    def copy(self) -> VAE:
        """Itself: nobody but its own loss moves it."""
        return self
