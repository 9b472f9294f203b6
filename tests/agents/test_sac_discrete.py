"""Discrete SAC against the paper's formulas written as loops, and on an env that it must learn."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.distributions import Categorical

from agents.base import Batch
from agents.parts.explore import Warmup
from agents.parts.optim import Local
from agents.sac_discrete import DiscreteSAC
from envs.make import describe
from paradigms.sequential import Sequential
from tests.agents.reference import (
    ADAMS,
    SIZE,
    Still,
    assert_gradients,
    assert_tensors,
    descend,
    doubled,
    net,
    wide,
)
from tests.jobs import job, laid, run, world

CHOICES = 4
WORLD = world("IdentityDiscrete")
SPEC = describe(WORLD)


def discrete(
    spec: Any, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any
) -> DiscreteSAC:
    agent = DiscreteSAC(spec, seed, device, **{"hidden_sizes": (16, 16), "lr": 1e-3, **options})
    agent.optim = Local(fused=fused)
    return agent


def make(**options: Any) -> DiscreteSAC:
    agent = discrete(SPEC, 0, **{"tau": 0.05, "initial_temperature": 0.3, **options})
    laid(agent)
    with torch.no_grad():  # so that it matters which critic, which action, and which target
        agent.vector.flat("target").mul_(1.3)
        agent.actor.biases[-1] += torch.linspace(-1, 1, CHOICES)
    return agent


def batch(seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    columns = {name: torch.randn((SIZE, CHOICES), generator=draws) for name in ("obs", "next_obs")}
    columns["action"] = torch.randint(CHOICES, (SIZE,), generator=draws)
    columns["reward"] = torch.randn(SIZE, generator=draws)
    columns["discount"] = 0.97 * (torch.rand(SIZE, generator=draws) < 0.8)
    columns["weight"] = torch.rand(SIZE, generator=draws) + 0.5
    return Batch(columns)


class Reference:
    """Equations 10 to 12 of arXiv:1910.07207 on copies of an agent's parameters, in float64."""

    def __init__(self, agent: DiscreteSAC, *, layer_norm: bool = False, share: float = 0.5) -> None:
        nets = (agent.actor, agent.critic, agent.target)
        self.actor, self.critic, self.target = (wide(each.tensors) for each in nets)
        (self.log_alpha,) = wide([agent.log_alpha])
        self.layer_norm, self.entropy = layer_norm, share * math.log(CHOICES)

    def q(self, critic: list[Tensor], obs: Tensor) -> list[Tensor]:
        """Each critic's [B, A]."""
        return [net([t[i] for t in critic], obs, norm=self.layer_norm) for i in (0, 1)]

    def critic_loss(self, data: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            policy = Categorical(logits=net(self.actor, data["next_obs"]))
            least = torch.minimum(*self.q(self.target, data["next_obs"]))
            value = self.log_alpha.exp() * policy.entropy()
            for action in range(CHOICES):
                value = value + policy.probs[:, action] * least[:, action]
            y = data["reward"] + data["discount"] * value
        rows = torch.arange(SIZE)
        self.td = [q[rows, data["action"].long()] - y for q in self.q(self.critic, data["obs"])]
        losses = [(0.5 * data["weight"] * td**2).mean() for td in self.td]
        return losses[0] + losses[1]

    def actor_loss(self, data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        policy = Categorical(logits=net(self.actor, data["obs"]))
        least = torch.minimum(*self.q(self.critic, data["obs"])).detach()
        mean = (policy.probs * least).sum(1)
        loss = (-self.log_alpha.exp().detach() * policy.entropy() - mean).mean()
        return loss, policy.entropy().detach()

    def temperature_loss(self, entropy: Tensor) -> Tensor:
        return (self.log_alpha * (entropy - self.entropy)).mean()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer norm": {"layer_norm": True},
    "less entropy": {"entropy_share": 0.2},
    "hot": {"initial_temperature": 5.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_losses_and_gradients_are_the_papers(options: dict[str, Any]) -> None:
    agent = make(**options)
    agent.optim = still = Still(agent)
    reference = Reference(
        agent,
        layer_norm=options.get("layer_norm", False),
        share=options.get("entropy_share", 0.5),
    )
    data = batch()
    learned = agent.learn(data)
    assert learned.updates == 1
    critic_loss = reference.critic_loss(doubled(data))
    actor_loss, entropy = reference.actor_loss(doubled(data))
    losses = {
        "critic": (critic_loss, reference.critic),
        "actor": (actor_loss, reference.actor),
        "temperature": (reference.temperature_loss(entropy), [reference.log_alpha]),
    }
    assert_gradients(still.grads, losses)
    assert_allclose(learned.metrics["policy/entropy"], entropy, rtol=1e-5)
    assert learned.priority is not None
    expected = torch.stack(reference.td).abs().mean(0).detach()
    assert_allclose(learned.priority, expected, atol=1e-5)


@pytest.mark.parametrize(("automatic", "fused"), [(True, True), (True, False), (False, True)])
def test_ten_updates_are_the_references_with_torchs_adam(automatic: bool, fused: bool) -> None:
    agent = make(temperature="auto" if automatic else 0.3, fused=fused)
    reference = Reference(agent)
    moved = {
        "critic": reference.critic,
        "actor": reference.actor,
        "temperature": [reference.log_alpha],
    }
    adams = {name: torch.optim.Adam(tensors, lr=1e-3) for name, tensors in moved.items()}

    for number in range(10):
        data = batch(number)
        agent.learn(data)
        descend(adams, "critic", reference.critic_loss(doubled(data)))
        actor_loss, entropy = reference.actor_loss(doubled(data))
        descend(adams, "actor", actor_loss)
        if automatic:
            descend(adams, "temperature", reference.temperature_loss(entropy))
        with torch.no_grad():
            for target, source in zip(reference.target, reference.critic, strict=True):
                target.mul_(0.95).add_(0.05 * source)

    assert_tensors(
        (agent.critic.tensors, reference.critic),
        (agent.actor.tensors, reference.actor),
        (agent.target.tensors, reference.target),
        ([agent.log_alpha], [reference.log_alpha]),
    )


def test_actions_are_drawn_from_the_policy_mixed_with_uniform_ones() -> None:
    for chance in [0.0, 0.6, 1.0]:
        agent, n = make(), 40_000
        obs = batch().obs[:1].repeat(n, 1)
        probs = agent.actor(obs[:1]).softmax(-1).detach()[0].numpy()
        assert probs.max() > 0.4
        action = agent.act(obs.numpy(), agent.initial_state(n), chance).action
        shares = np.bincount(action, minlength=CHOICES) / n
        assert_allclose(shares, (1 - chance) * probs + chance / CHOICES, atol=0.012)


def test_every_slot_has_its_own_chance() -> None:
    agent, n = make(), 40_000
    with torch.no_grad():
        agent.actor.biases[-1][0] = 100.0
    chance = np.where(np.arange(n) < n // 2, 0.0, 1.0).astype(np.float32)
    obs = batch().obs[:1].repeat(n, 1).numpy()
    action = agent.act(obs, {}, chance).action
    assert (action[: n // 2] == 0).all()
    assert_allclose(np.bincount(action[n // 2 :]) / (n // 2), 0.25, atol=0.012)


def test_greedy_actions_are_the_most_probable() -> None:
    agent, obs = make(), batch().obs
    before = agent.rng.act.get_state()
    action, _, extras = agent.act(obs.numpy(), {}, None)
    assert action.tolist() == agent.actor(obs).argmax(-1).tolist()
    assert action.dtype == np.int64 and extras == {}
    assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"


def test_targets_carry_no_gradient_and_a_still_optim_moves_nothing() -> None:
    agent = make()
    agent.optim = Still(agent)
    before = agent.vector.floats.clone()
    agent.learn(batch())
    assert torch.equal(agent.vector.floats, before)
    assert not any(t.requires_grad for t in agent.target.tensors)


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"agent\.entropy_share=1\.5 must lie in \[0, 1\]"):
        make(entropy_share=1.5)


def test_a_column_of_rewards_is_refused() -> None:
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"q \(2, 32\), y \(32, 32\)"):
        make().learn(wrong)


@pytest.mark.slow
@ADAMS
def test_the_agent_learns_to_name_what_it_sees(fused: bool) -> None:
    """IdentityDiscrete: the best return is 0, a uniform policy's is -7.5. A few seconds."""
    agent = functools.partial(discrete, fused=fused, hidden_sizes=(32, 32), lr=3e-3, gamma=0.9)
    small = job(
        WORLD, agent, explore=Warmup(200), env_steps=1200, warmup=200, num_envs=4, batch_size=64
    )
    ended = run(Sequential(), small)
    assert ended.totals["updates"] >= 1000
    learned = laid(agent(ended.job.spec, 0))
    learned.vector.load("all", ended.floats)
    assert learned.act(np.eye(CHOICES, dtype=np.float32), {}, None).action.tolist() == [0, 1, 2, 3]
