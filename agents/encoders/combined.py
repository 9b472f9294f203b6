"""Observations of images and vectors: an encoder for each image, as the CombinedExtractor of
stable-baselines3 has them (Raffin et al. 2021, JMLR 22)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from agents.encoders.images import Images
from agents.packed import Packed


class Combined:
    """Packed observations uint8 [..., bytes] -> features [..., size] float32: the vectors as they
    are, then what each image's own encoder makes of it, in the order of `space`. It also takes the
    arrays by name, [..., *shape] each: an exported policy has them as its inputs.

    encoders: of `space.images`, in their order, all of one kind.
    """

    def __init__(self, space: Packed, encoders: Sequence[Images]) -> None:
        self.space, self.encoders = space, [*encoders]
        self.size = space.floats + sum(each.size for each in encoders)
        self.tensors = [tensor for each in encoders for tensor in each.tensors]
        self.still = [tensor for each in encoders for tensor in each.still]
        self.own: Mapping[str, list[Tensor]] = {
            name: [tensor for each in encoders for tensor in each.own[name]]
            for name in encoders[0].own
        }

    def split(self, obs: Tensor) -> dict[str, Tensor]:
        """Views of the arrays by name."""
        space = self.space
        views = {name: obs[..., space.spans[name]].view(torch.float32) for name in space.vectors}
        for name, shape in space.images.items():
            views[name] = obs[..., space.spans[name]].view(*obs.shape[:-1], *shape)
        return views

    def __call__(self, obs: Tensor | Mapping[str, Tensor]) -> Tensor:
        arrays = self.split(obs) if isinstance(obs, Tensor) else obs
        vectors = [arrays[name] for name in self.space.vectors]
        seen = [
            each(arrays[name]) for each, name in zip(self.encoders, self.space.images, strict=True)
        ]
        return torch.cat([*vectors, *seen], -1)

    @torch.no_grad()
    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        """The same for acting, without autograd."""
        return np.asarray(self(torch.from_numpy(obs).to(self.encoders[0].device)).cpu())

    def loss(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """The sum of what the encoders have to lose on their images."""
        arrays = self.split(obs)
        pairs = zip(self.encoders, self.space.images, strict=True)
        return torch.stack([each.loss(arrays[name], generator) for each, name in pairs]).sum()

    def copy(self) -> Combined:
        """The same encoders on tensors of their own, without gradients."""
        return Combined(self.space, [each.copy() for each in self.encoders])
