"""SAC against the paper's formulas written a second time, and on an env that it must learn.

The reference below keeps its own copies of the parameters, in float64 where only values count, and
uses torch.distributions, torch.nn.functional and torch.optim, none of the agent's own parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.distributions import Normal

from agents.sac import SAC
from tests.agents.reference import (
    ACTIONS,
    ADAMS,
    SIZE,
    SPEC,
    Still,
    assert_gradients,
    assert_it_learns_identity,
    assert_tensors,
    batch,
    descend,
    doubled,
    net,
    wide,
)
from tests.jobs import laid, sac


def make(**options: Any) -> SAC:
    agent = sac(SPEC, 0, **{"tau": 0.05, "initial_temperature": 0.3, **options})
    laid(agent)
    with torch.no_grad():  # so that it matters which critic, and that the target is another one
        agent.vector.flat("target").mul_(1.3)
        agent.actor.biases[-1].add_(0.4)
    return agent


class Reference:
    """Equations 5, 6, 7 and 18 of arXiv:1812.05905, on copies of an agent's parameters."""

    def __init__(
        self, agent: SAC, *, layer_norm: bool = False, entropy: float | None = None
    ) -> None:
        self.actor, self.target = wide(agent.actor.tensors), wide(agent.target.tensors)
        self.critic = wide(agent.critic.tensors)
        (self.log_alpha,) = wide([agent.log_alpha])
        self.layer_norm = layer_norm
        self.entropy = -float(ACTIONS) if entropy is None else entropy

    def policy(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = net(self.actor, obs).split(ACTIONS, -1)
        normal = Normal(mean, log_std.clamp(-20, 2).exp())
        u = mean + normal.stddev * noise
        action = torch.tanh(u)
        return action, (normal.log_prob(u) - log_slope(u)).sum(1)

    def q(self, critic: list[Tensor], obs: Tensor, action: Tensor) -> list[Tensor]:
        """Each critic's [B]."""
        x = torch.cat([obs, action], 1)
        return [net([t[i] for t in critic], x, norm=self.layer_norm)[:, 0] for i in (0, 1)]

    def critic_loss(self, b: Mapping[str, Tensor], noise: Tensor) -> Tensor:
        with torch.no_grad():
            action, logp = self.policy(b["next_obs"], noise)
            q = torch.minimum(*self.q(self.target, b["next_obs"], action))
            y = b["reward"] + b["discount"] * (q - self.log_alpha.exp() * logp)
        losses = [
            0.5 * (b["weight"] * (q - y) ** 2) for q in self.q(self.critic, b["obs"], b["action"])
        ]
        return losses[0].mean() + losses[1].mean()

    def actor_loss(self, b: Mapping[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        action, logp = self.policy(b["obs"], noise)
        q = torch.minimum(*self.q(self.critic, b["obs"], action))
        return (self.log_alpha.exp().detach() * logp - q).mean(), logp.detach()

    def temperature_loss(self, logp: Tensor) -> Tensor:
        return -(self.log_alpha * (logp + self.entropy)).mean()


def noises(number: int) -> list[Tensor]:
    """The draws that the agent makes in an update: for next_obs, then for obs."""
    draws = torch.Generator().manual_seed(number)
    return [torch.randn((SIZE, ACTIONS), generator=draws).double() for _ in range(2)]


def log_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2) = log(4 / (e^u + e^-u)^2)"""
    return 2 * (math.log(2) - torch.logaddexp(u, -u))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer norm": {"layer_norm": True},
    "three layers": {"hidden_sizes": (8, 16, 8)},
    "other target entropy": {"target_entropy": -0.5},
    "hot": {"initial_temperature": 5.0},
    "far out": {"far": 30.0},
    "far out, layer norm": {"far": 30.0, "layer_norm": True, "target_entropy": -0.5},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_losses_and_gradients_are_the_papers(options: dict[str, Any]) -> None:
    """Also far out, where a careless log(1 - tanh^2) has no digits left."""
    options = dict(options)
    far = options.pop("far", 1.0)
    agent = make(**options)
    agent.optim = Still(agent)
    reference = Reference(
        agent,
        layer_norm=options.get("layer_norm", False),
        entropy=options.get("target_entropy"),
    )
    data = batch(wide=far)
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)
    assert learned.updates == 1

    wide_data = doubled(data)
    next_noise, noise = noises(7)
    critic_loss = reference.critic_loss(wide_data, next_noise)
    actor_loss, logp = reference.actor_loss(wide_data, noise)
    losses = {
        "critic": (critic_loss, reference.critic),
        "actor": (actor_loss, reference.actor),
        "temperature": (reference.temperature_loss(logp), [reference.log_alpha]),
    }
    assert_gradients(agent.optim.grads, losses)
    logged = learned.metrics
    assert float(logged["loss/critic"]) == pytest.approx(float(critic_loss.detach()), rel=1e-5)
    assert float(logged["loss/actor"]) == pytest.approx(
        float(actor_loss.detach()), rel=1e-5, abs=1e-5
    )
    assert float(logged["policy/entropy"].mean()) == pytest.approx(-float(logp.mean()), rel=1e-5)


@pytest.mark.parametrize(("automatic", "fused"), [(True, True), (True, False), (False, True)])
def test_ten_updates_are_the_references_with_torchs_adam(automatic: bool, fused: bool) -> None:
    agent = make(temperature="auto" if automatic else 0.3, fused=fused, average=0.2)
    reference = Reference(agent)
    adams = {
        name: torch.optim.Adam(tensors, lr=1e-3)
        for name, tensors in (
            ("critic", reference.critic),
            ("actor", reference.actor),
            ("temperature", [reference.log_alpha]),
        )
    }
    averaged = [t.double() for t in agent.averaged.tensors]

    for number in range(10):
        data = batch(number)
        agent.rng.learn.manual_seed(number)
        agent.learn(data)

        wide_data = doubled(data)
        next_noise, noise = noises(number)
        alpha = reference.log_alpha.detach().clone()
        descend(adams, "critic", reference.critic_loss(wide_data, next_noise))
        actor_loss, logp = reference.actor_loss(wide_data, noise)
        descend(adams, "actor", actor_loss)
        if automatic:
            descend(adams, "temperature", reference.temperature_loss(logp))
            assert not torch.equal(reference.log_alpha, alpha)
        with torch.no_grad():
            for target, source in zip(reference.target, reference.critic, strict=True):
                target.mul_(0.95).add_(0.05 * source)
            for mean, source in zip(averaged, reference.actor, strict=True):
                mean.mul_(0.8).add_(0.2 * source)

    assert_tensors(
        (agent.critic.tensors, reference.critic),
        (agent.actor.tensors, reference.actor),
        (agent.target.tensors, reference.target),
        (agent.averaged.tensors, averaged),
        ([agent.log_alpha], [reference.log_alpha]),
    )


def test_logp_is_that_of_a_squashed_gaussian_also_at_the_edge() -> None:
    agent = make()
    with torch.no_grad():
        agent.actor.biases[-1][:ACTIONS] = torch.tensor([0.0, 4.0, -9.0])
    obs = batch().obs
    agent.rng.learn.manual_seed(3)
    action, logp = agent.sample(obs)
    mean, log_std = agent.actor(obs).double().chunk(2, -1)
    u = mean + log_std.exp() * torch.randn(
        (SIZE, ACTIONS), generator=torch.Generator().manual_seed(3)
    )
    exact = Normal(mean, log_std.exp()).log_prob(u) - log_slope(u)
    assert_allclose(action.detach(), torch.tanh(u).detach(), atol=1e-5)
    assert_allclose(logp.detach(), exact.sum(1).detach(), rtol=1e-5, atol=1e-4)


def test_targets_carry_no_gradient_and_descents_touch_their_group_alone() -> None:
    agent = make(average=0.1)
    agent.optim = Still(agent)
    before = agent.vector.floats.clone()
    agent.learn(batch())
    assert torch.equal(agent.vector.floats, before)
    for tensor in (*agent.target.tensors, *agent.averaged.tensors):
        assert not tensor.requires_grad
    for group in agent.groups.values():
        assert all(t.grad is None for t in group.tensors)


def test_a_fixed_temperature_is_no_group() -> None:
    agent = make(temperature=0.2)
    assert [*agent.groups] == ["critic", "actor"]
    agent.learn(batch())
    assert float(agent.log_alpha.detach()) == pytest.approx(math.log(0.2))


def test_a_column_of_rewards_is_refused() -> None:
    """[B, 1] against [B] would broadcast, and blind the critic to its own reward."""
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"q \(2, 32\) against y \(32, 32\)"):
        make().learn(wrong)


@pytest.mark.slow
@ADAMS
def test_the_agent_learns_to_repeat_what_it_sees(fused: bool) -> None:
    agent = functools.partial(sac, fused=fused, hidden_sizes=(32, 32), lr=3e-3, gamma=0.9)
    assert_it_learns_identity(agent)


def test_pessimism_lies_between_the_mean_and_the_minimum_of_both_critics() -> None:
    q = torch.tensor([[1.0, 5.0], [3.0, -1.0]])
    wanted = {1.0: [1.0, -1.0], 0.5: [1.5, 0.5], 0.0: [2.0, 2.0]}
    for pessimism, low in wanted.items():
        assert make(pessimism=pessimism).critics.trusted(q).tolist() == low


def test_pessimism_of_more_than_two_critics_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set agent\.critics=2"):
        make(critics=3, pessimism=0.5)
