"""How an autoencoder is trained beforehand: Adam on the loss of Kingma and Welling 2014
(arXiv:1312.6114), with a factor before the divergence (Higgins et al. 2017, beta-VAE)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from agents.encoders.vae import VAE

LAST = 0.1  # of the learning rate, to which it falls in a straight line
AT_ONCE = 64  # images that are only looked at


class Terms(NamedTuple):
    """Of the loss, nats an image: cross entropy and divergence."""

    entropy: float
    divergence: float

    def loss(self, beta: float) -> float:
        return self.entropy + beta * self.divergence


class Epoch(NamedTuple):
    """What one round through the images has given: means over these, while they were learned from,
    and afterwards over those that were held out."""

    number: int
    train: Terms
    held_out: Terms


def fit(
    vae: VAE,
    images: Tensor,
    held_out: Tensor,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    beta: float,
    seed: int,
) -> Iterator[Epoch]:
    """Trains on images uint8 [n, H, W, C], in a new order every epoch, and yields after each.
    held_out: images of the same kind that are only measured."""
    draws = torch.Generator().manual_seed(seed)
    optim = torch.optim.Adam([*vae.seeing, *vae.making], lr)
    batches = -(-len(images) // batch_size)
    for epoch in range(epochs):
        sums, order = [0.0, 0.0], torch.randperm(len(images), generator=draws)
        for number, chosen in enumerate(torch.split(order, batch_size)):
            share = (epoch * batches + number) / (epochs * batches)
            optim.param_groups[0]["lr"] = lr * (1 - (1 - LAST) * share)
            entropy, divergence, n = vae.terms(images[chosen], draws)
            optim.zero_grad()
            torch.autograd.backward((entropy + beta * divergence) / n)
            optim.step()
            sums = [sums[0] + float(entropy.detach()), sums[1] + float(divergence.detach())]
        train = Terms(*(total / len(images) for total in sums))
        yield Epoch(epoch + 1, train, measure(vae, held_out, draws))


@torch.no_grad()
def measure(vae: VAE, images: Tensor, draws: torch.Generator) -> Terms:
    """The terms of the loss of images uint8 [n, H, W, C], learning nothing."""
    entropies, divergences, _ = zip(
        *(vae.terms(some, draws) for some in torch.split(images, AT_ONCE)), strict=True
    )
    return Terms(*(float(sum(terms)) / len(images) for terms in (entropies, divergences)))


def reconstruct(vae: VAE, images: Tensor) -> Tensor:
    """What is left of images uint8 [n, H, W, C], as many of the same kind."""
    return torch.cat([vae.reconstruct(some) for some in torch.split(images, AT_ONCE)])
