"""Truncated quantile critics against the paper's formulas written as loops, and by hand."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from agents.parts.critics import Truncated
from agents.sac import SAC
from tests.agents.reference import (
    ADAMS,
    SIZE,
    Still,
    assert_gradients,
    assert_it_learns_identity,
    batch,
    net,
)
from tests.agents.test_sac import Reference, make, noises
from tests.jobs import sac

TQC: dict[str, Any] = {"critics": 3, "quantiles": 5, "drop": 2}


class TruncatedReference(Reference):
    """SAC's equations with section 4 of arXiv:2005.04269 in place of the twin minimum."""

    def __init__(self, agent: SAC, *, critics: int, quantiles: int, drop: int) -> None:
        super().__init__(agent)
        self.members, self.quantiles, self.drop = critics, quantiles, drop

    def z(self, critic: list[Tensor], obs: Tensor, action: Tensor) -> list[Tensor]:
        """Each critic's quantiles, [B, K]."""
        x = torch.cat([obs, action], 1)
        return [net([t[i] for t in critic], x) for i in range(self.members)]

    def critic_loss(self, b: Any, noise: Tensor) -> Tensor:
        with torch.no_grad():
            action, logp = self.policy(b["next_obs"], noise)
            pool = torch.cat(self.z(self.target, b["next_obs"], action), 1)
            least = pool.sort(1).values[:, : self.members * (self.quantiles - self.drop)]
            soft = least - (self.log_alpha.exp() * logp)[:, None]
            y = b["reward"][:, None] + b["discount"][:, None] * soft
        total = torch.zeros((), dtype=torch.float64)
        self.td = []
        for z in self.z(self.critic, b["obs"], b["action"]):
            rows = torch.zeros(SIZE, dtype=torch.float64)
            for k in range(self.quantiles):
                u = y - z[:, k : k + 1]
                tau = (2 * k + 1) / (2 * self.quantiles)
                huber = torch.where(u.abs() <= 1, 0.5 * u**2, u.abs() - 0.5)
                rows = rows + (torch.where(u < 0, 1 - tau, tau) * huber).mean(1)
            total = total + (b["weight"] * rows / self.quantiles).mean()
            self.td.append(z.mean(1) - y.mean(1))
        return total

    def actor_loss(self, b: Any, noise: Tensor) -> tuple[Tensor, Tensor]:
        action, logp = self.policy(b["obs"], noise)
        q = torch.cat(self.z(self.critic, b["obs"], action), 1).mean(1)
        return (self.log_alpha.exp().detach() * logp - q).mean(), logp.detach()


@pytest.mark.parametrize("options", [TQC, {"critics": 1, "quantiles": 4, "drop": 0}])
def test_losses_and_gradients_are_the_papers(options: dict[str, Any]) -> None:
    agent = make(**options)
    agent.optim = still = Still(agent)
    reference = TruncatedReference(agent, **options)
    data = batch()
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)
    wide = {name: column.double() for name, column in data.items()}
    next_noise, noise = noises(7)
    losses = {
        "critic": (reference.critic_loss(wide, next_noise), reference.critic),
        "actor": (reference.actor_loss(wide, noise)[0], reference.actor),
    }
    del still.grads["temperature"]
    assert_gradients(still.grads, losses)
    for name, (loss, _) in losses.items():
        assert float(learned.metrics[f"loss/{name}"]) == pytest.approx(
            float(loss.detach()), rel=1e-5, abs=1e-6
        )
    assert learned.priority is not None
    expected = torch.stack(reference.td).abs().mean(0).detach()
    assert_allclose(learned.priority, expected, atol=1e-5)


def test_the_largest_of_each_samples_pool_are_dropped() -> None:
    """Two critics of three quantiles, one dropped of each, two samples; the pool is not sorted."""
    critics = Truncated(2, 3, 1)
    out = torch.tensor([[[3.0, 1.0, 2.0], [0.0, 9.0, 8.0]], [[7.0, 5.0, 6.0], [7.0, -1.0, 4.0]]])
    kept = critics.backed_up(critics.read(out))
    assert kept.T.tolist() == [[1.0, 2.0, 3.0, 5.0], [-1.0, 0.0, 4.0, 7.0]]
    assert critics.trusted(critics.read(out)).tolist() == [4.0, 4.5]


def test_quantiles_of_a_fixed_distribution_are_found() -> None:
    """Of targets 0..9, five quantiles are near 0.5, 2.5 .. 8.5; Huber pulls them inwards."""
    critics = Truncated(1, 5, 0)
    q = torch.zeros((1, 5, 1), requires_grad=True)
    critics.kept = 10
    y = torch.arange(10.0)[:, None]
    for _ in range(3000):
        (grad,) = torch.autograd.grad(critics.regress(q, y)[0].sum(), [q])
        with torch.no_grad():
            q -= grad
    assert_allclose(q.detach()[0, :, 0], [0.5, 2.5, 4.5, 6.5, 8.5], atol=0.6)


def test_dropping_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"agent\.drop=5 must lie in \[0, agent\.quantiles=5\)"):
        make(critics=2, quantiles=5, drop=5)
    with pytest.raises(ValueError, match=r"set agent\.quantiles=0"):
        make(**TQC, pessimism=0.5)


@pytest.mark.slow
@ADAMS
def test_the_agent_learns_to_repeat_what_it_sees(fused: bool) -> None:
    agent = functools.partial(
        sac, fused=fused, hidden_sizes=(32, 32), lr=3e-3, gamma=0.9, **{**TQC, "drop": 1}
    )
    assert_it_learns_identity(agent)
