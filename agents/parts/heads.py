"""What a Q-network predicts of an action's return: its value, or a distribution over it.

A head interprets K numbers z [..., K] for each action: their expected return, and their loss
against the next state's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from agents.base import above, at_least
from agents.parts.distributions import categorical_projection, quantile_huber

# B batch, K numbers an action


class Loss(NamedTuple):
    """`loss` [B] float32 to descend; `error` [B] >= 0, without gradient, that a replay may rank by;
    `metrics`, tensors without gradient whose means are logged."""

    loss: Tensor
    error: Tensor
    metrics: Mapping[str, Tensor] = {}


class Head(Protocol):
    """`size` is K; `value`, in NumPy `value_numpy`, is the expected return [...] of z [..., K]."""

    size: int

    def value(self, z: Tensor) -> Tensor: ...

    def value_numpy(self, z: np.ndarray) -> np.ndarray: ...

    def loss(self, z: Tensor, next_z: Tensor, reward: Tensor, discount: Tensor) -> Loss:
        """z, next_z [B, K] of the action taken and of the best next one; reward, discount [B]."""
        ...


class Value:
    """The value itself, with a Huber loss: Mnih et al. 2015, "error clipping"."""

    size = 1

    def __init__(self, huber: float) -> None:
        self.huber = huber

    def value(self, z: Tensor) -> Tensor:
        return z.squeeze(-1)

    def value_numpy(self, z: np.ndarray) -> np.ndarray:
        return z[..., 0]

    def loss(self, z: Tensor, next_z: Tensor, reward: Tensor, discount: Tensor) -> Loss:
        q, target = z.squeeze(-1), reward + discount * next_z.squeeze(-1)
        loss = huber_loss(q, target, reduction="none", delta=self.huber)
        return Loss(loss, (target - q.detach()).abs())


class Categorical:
    """Probabilities of K returns from v_min to v_max (C51): Bellemare et al. 2017,
    arXiv:1707.06887, algorithm 1. Returns outside are moved to the ends of the support, so that
    nothing is learned from them: `q/clipped_atoms` counts the target's atoms that were moved, and
    `q/clipped_share` is their probability, 1 where the support misses every return.

    `error` is the KL divergence, which Rainbow ranks by: Hessel et al. 2018, arXiv:1710.02298.
    """

    def __init__(
        self, size: int, v_min: float, v_max: float, device: torch.device | str = "cpu"
    ) -> None:
        if not v_min < v_max:
            raise ValueError(f"agent.v_min={v_min:g} must be below agent.v_max={v_max:g}")
        self.size = size
        self.support = torch.linspace(v_min, v_max, size, device=device)
        self.atoms = self.support.cpu().numpy()

    def value(self, z: Tensor) -> Tensor:
        return z.softmax(-1) @ self.support

    def value_numpy(self, z: np.ndarray) -> np.ndarray:
        odds = np.exp(z - z.max(-1, keepdims=True))
        return np.asarray(odds @ self.atoms / odds.sum(-1))

    def loss(self, z: Tensor, next_z: Tensor, reward: Tensor, discount: Tensor) -> Loss:
        moved = reward[:, None] + discount[:, None] * self.support
        probs = next_z.softmax(-1)
        target = categorical_projection(probs, moved, self.support)
        loss = -(target * z.log_softmax(-1)).sum(-1)
        entropy = -torch.xlogy(target, target).sum(-1)
        outside = (moved < self.support[0]) | (moved > self.support[-1])
        metrics = {
            "q/clipped_atoms": outside.sum(-1).float(),
            "q/clipped_share": (probs * outside).sum(-1),
        }
        return Loss(loss, (loss.detach() - entropy).clamp(min=0), metrics)


class Quantile:
    """K quantiles of the return, at the middles of K equal shares (QR-DQN): Dabney et al. 2018,
    arXiv:1710.10044, algorithm 1."""

    def __init__(self, size: int, huber: float, device: torch.device | str = "cpu") -> None:
        self.size, self.huber = size, huber
        self.taus = (torch.arange(size, device=device) + 0.5) / size

    def value(self, z: Tensor) -> Tensor:
        return z.mean(-1)

    def value_numpy(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(z.mean(-1))

    def loss(self, z: Tensor, next_z: Tensor, reward: Tensor, discount: Tensor) -> Loss:
        target = reward[:, None] + discount[:, None] * next_z
        loss = quantile_huber(z, target, self.taus, self.huber)
        return Loss(loss, (self.value(target) - self.value(z.detach())).abs())


def make_head(
    name: str,
    *,
    atoms: int,
    v_min: float,
    v_max: float,
    huber: float,
    device: torch.device | str = "cpu",
) -> Head:
    """The head named `value`, `categorical` or `quantile`."""
    at_least(2 if name == "categorical" else 1, atoms=atoms)
    above(0, huber=huber)
    if name == "value":
        return Value(huber)
    if name == "categorical":
        return Categorical(atoms, v_min, v_max, device)
    if name == "quantile":
        return Quantile(atoms, huber, device)
    raise ValueError(f"agent.head={name} is unknown; choose value, categorical or quantile")
