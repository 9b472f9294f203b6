"""How an actor-critic reads its stacked critics: one value each, or quantiles of the return."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.parts.distributions import quantile_huber

# B batch, C critics, K quantiles of one of them, M of all that are kept


class Values:
    """One value a critic; of two the minimum is trusted (Fujimoto et al. 2018, arXiv:1802.09477).

    `pessimism` p other than 1 takes mean(Q) - p |Q1 - Q2| / 2 of two critics.
    """

    outputs = 1

    def __init__(self, critics: int, pessimism: float) -> None:
        if pessimism != 1 and critics != 2:
            raise ValueError(
                f"agent.pessimism={pessimism} compares two critics: set agent.critics=2, not"
                f" {critics}, or agent.pessimism=1"
            )
        self.pessimism = pessimism

    def read(self, out: Tensor) -> Tensor:
        """[C, B, 1] -> q [C, B]."""
        return out.squeeze(-1)

    def trusted(self, q: Tensor) -> Tensor:
        """What the actor climbs: [C, B] -> [B]."""
        if self.pessimism == 1:
            return q.amin(0)
        return q.mean(0) - self.pessimism * (q[0] - q[1]).abs() / 2

    def backed_up(self, q: Tensor) -> Tensor:
        """What targets are made of: [C, B] -> [B]."""
        return self.trusted(q)

    def regress(self, q: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and TD errors, both [C, B], of q [C, B] against targets y [B]."""
        assert q.shape[1:] == y.shape, f"q {tuple(q.shape)} against y {tuple(y.shape)}"
        td = q - y
        return 0.5 * td.square(), td


class Truncated:
    """Truncated mixture of quantile critics: Kuznetsov et al. 2020, arXiv:2005.04269, section 4.

    Every critic predicts `quantiles` quantiles of the return. Targets pool all critics' quantiles
    and leave out the `drop` x C largest of each sample; the actor climbs the mean of all.
    """

    def __init__(
        self, critics: int, quantiles: int, drop: int, device: torch.device | str = "cpu"
    ) -> None:
        if not 0 <= drop < quantiles:
            raise ValueError(f"agent.drop={drop} must lie in [0, agent.quantiles={quantiles})")
        self.outputs = quantiles
        self.kept = critics * (quantiles - drop)
        self.taus = (torch.arange(quantiles, device=device) + 0.5) / quantiles

    def read(self, out: Tensor) -> Tensor:
        """[C, B, K] -> q [C, K, B], so that rewards [B] can be added."""
        return out.mT

    def trusted(self, q: Tensor) -> Tensor:
        """[C, K, B] -> [B]."""
        return q.mean((0, 1))

    def backed_up(self, q: Tensor) -> Tensor:
        """The smallest of the pool, ascending: [C, K, B] -> [M, B], M = C (K - drop)."""
        return q.flatten(0, 1).sort(0).values[: self.kept]

    def regress(self, q: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (equation 15, the mean over K and M) and errors of the means, both [C, B], of q
        [C, K, B]: every critic against all the targets y [M, B]."""
        assert y.shape == (self.kept, q.shape[-1]), f"q {tuple(q.shape)} against y {tuple(y.shape)}"
        critics, quantiles, _ = q.shape
        loss = quantile_huber(q.mT.flatten(0, 1), y.T.repeat(critics, 1), self.taus)
        return loss.view(critics, -1) / quantiles, q.mean(1) - y.mean(0)
