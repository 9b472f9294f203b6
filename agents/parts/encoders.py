"""What an agent makes of an observation before its networks see it: features of images, or the
vector itself."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, linear

from agents.base import Agent, at_least
from agents.parts import spaces
from agents.parts.policies import orthogonal

# H, W, C an image's rows, columns and channels; F features

LAYERS = ((32, 8, 4, 2), (64, 4, 2, 1), (64, 3, 1, 1))  # channels, kernel, stride, padding
LEAST = 8  # rows and columns of an image


class Encoder(Protocol):
    """Observations [..., *obs shape] -> features [..., size] float32. `tensors`: its parameters,
    none where observations pass through."""

    size: int
    tensors: list[Tensor]

    def __call__(self, obs: Tensor) -> Tensor: ...

    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        """The same for acting, without autograd."""
        ...

    def copy(self) -> Encoder:
        """The same encoder on tensors of its own, without gradients."""
        ...


def make_encoder(
    name: str | None, agent: Agent, features: int, generator: torch.Generator
) -> Encoder:
    """The encoder of that name for an agent's observations; None is for vectors and draws nothing.
    Raises ValueError for an unknown name and for observations that it cannot read."""
    if name is None:
        return Vectors(spaces.obs_size(agent, "set agent.encoder=conv for images"))
    if name != "conv":
        raise ValueError(f"agent.encoder={name} is unknown; choose null or conv")
    at_least(1, features=features)
    shape = spaces.image_shape(agent, LEAST)
    return Conv(shape, features, generator=generator, device=agent.device)


class Vectors:
    """Observations that are vectors [..., size]: they pass through."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tensors: list[Tensor] = []

    def __call__(self, obs: Tensor) -> Tensor:
        return obs

    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        return obs

    def copy(self) -> Vectors:
        return self


class Conv:
    """uint8 images [..., H, W, C] -> features in (-1, 1).

    Pixels are divided by 255; then come the three convolutions of Mnih et al. 2015 (Human-level
    control through deep reinforcement learning) with ReLUs, a linear layer, layer normalisation and
    tanh (Yarats et al. 2021, arXiv:1910.01741 and 2004.13649).

    Deviations from the papers: convolutions are padded, so that a layer divides height and width by
    its stride and images of 8 x 8 pixels are large enough; the normalisation has neither gain nor
    bias; weights begin orthogonal, those of convolutions with gain sqrt(2), and biases at 0.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        features: int,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.size, self.device = features, torch.device(device)
        height, width, channels = shape
        drawn: list[Tensor] = []
        for out, kernel, stride, pad in LAYERS:
            weight = orthogonal((out, channels * kernel * kernel), math.sqrt(2), generator)
            drawn += [weight.view(out, channels, kernel, kernel), torch.zeros(out)]
            height, width = ((n + 2 * pad - kernel) // stride + 1 for n in (height, width))
            channels = out
        drawn += [orthogonal((features, channels * height * width), 1.0, generator)]
        drawn += [torch.zeros(features)]
        self.tensors = [t.to(device).requires_grad_() for t in drawn]

    def __call__(self, obs: Tensor) -> Tensor:
        """[..., H, W, C] uint8 -> [..., F]"""
        assert obs.dtype == torch.uint8, f"images are {obs.dtype}, not uint8"
        lead = obs.shape[:-3]
        x = planes(obs)
        for i, (_, _, stride, pad) in enumerate(LAYERS):
            weight, bias = self.tensors[2 * i : 2 * i + 2]
            x = conv2d(x, weight, bias, stride, pad).relu_()
        x = layer_norm(linear(x.flatten(1), *self.tensors[-2:]), (self.size,))
        return x.tanh().view(*lead, self.size)

    @torch.no_grad()
    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        return np.asarray(self(torch.from_numpy(obs).to(self.device)).cpu())

    def copy(self) -> Conv:
        other = object.__new__(Conv)
        other.size, other.device = self.size, self.device
        other.tensors = [t.detach().clone() for t in self.tensors]
        return other


def planes(obs: Tensor) -> Tensor:
    """Images uint8 [..., H, W, C] -> [N, C, H, W] float32 in [0, 1], laid out like that: bits of
    convolutions depend on the layout, which replays choose by what is fast."""
    images = obs.reshape(-1, *obs.shape[-3:]).movedim(-1, 1)
    return images.to(torch.float32, memory_format=torch.contiguous_format) / 255
