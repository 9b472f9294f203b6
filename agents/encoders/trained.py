"""The weights of an autoencoder that was trained beforehand, as data that processes can send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.encoders.convolutions import Shape
from agents.encoders.vae import FILTERS, VAE


@dataclass(frozen=True)
class Trained:
    """name: where the weights come from, for sentences. shape: rows, columns and channels of the
    images. weights: float32, those of the encoder first, as `VAE.adopt` takes them.

    Raises ValueError where there are too few weights for what it says it reads, so that nothing is
    built that is larger than they are.
    """

    name: str
    shape: Shape
    latents: int
    weights: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        rows, columns, channels = self.shape
        units = FILTERS[-1] * (rows >> len(FILTERS)) * (columns >> len(FILTERS))
        there = sum(array.size for array in self.weights)
        if min(units, channels, self.latents) < 1 or 3 * units * self.latents + channels > there:
            raise ValueError(
                f"it has {there:,} weights, which are not those of {self.latents} latents of images"
                f" of {dimensions(self.shape)}"
            )

    @classmethod
    def of(cls, vae: VAE, name: str) -> Trained:
        """A copy of what an autoencoder has learned."""
        weights = (tensor.detach().cpu().numpy().copy() for tensor in (*vae.seeing, *vae.making))
        return cls(name, vae.shape, vae.size, tuple(weights))

    def __call__(self) -> VAE:
        """An encoder of these weights, frozen, on the CPU."""
        vae = VAE(self.shape, self.latents, generator=torch.Generator().manual_seed(0))
        self.into(vae)
        vae.freeze()
        return vae

    def into(self, vae: VAE) -> None:
        """Gives the weights to the autoencoder of an agent. Raises ValueError, in one sentence, if
        it reads other images or has other latents."""
        if self.shape != vae.shape:
            raise ValueError(
                f"agent.pretrained={self.name} reads images of {dimensions(self.shape)}, but the"
                f" env shows {dimensions(vae.shape)}: train one with these settings of the env"
            )
        if self.latents != vae.size:
            raise ValueError(
                f"agent.pretrained={self.name} has {self.latents} latents, not {vae.size}: set"
                f" agent.features={self.latents}"
            )
        try:
            vae.adopt(self.weights)
        except ValueError as error:
            raise ValueError(f"agent.pretrained={self.name}: {error}") from error


def dimensions(shape: Shape) -> str:
    """As in a sentence: "64 x 64 x 1"."""
    return " x ".join(map(str, shape))
