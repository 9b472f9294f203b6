"""SAC against the paper's formulas written a second time, and on a world that it must learn.

The reference below keeps its own copies of the parameters, in float64 where only values count, and
uses torch.distributions, torch.nn.functional and torch.optim, none of the agent's own parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from agents.base import Agent, Batch, Group
from agents.parts.explore import Warmup
from agents.sac import SAC
from envs.make import describe
from paradigms.sequential import Sequential
from tests.jobs import job, laid, run, sac, world

SPEC = describe(world("Identity", kwargs={"dims": 3}))
SIZE, ACTIONS = 32, 3
ADAMS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])


def make(**options: Any) -> SAC:
    agent = sac(SPEC, 0, **{"tau": 0.05, "initial_temperature": 0.3, **options})
    laid(agent)
    with torch.no_grad():  # so that it matters which critic, and that the target is another one
        agent.vector.flat("target").mul_(1.3)
        agent.actor.biases[-1].add_(0.4)
    return agent


def batch(seed: int = 0, *, wide: float = 1.0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    columns = {name: wide * torch.randn((SIZE, 3), generator=draws) for name in ("obs", "next_obs")}
    columns["action"] = 2 * torch.rand((SIZE, ACTIONS), generator=draws) - 1
    columns["reward"] = torch.randn(SIZE, generator=draws)
    columns["discount"] = 0.97 * (torch.rand(SIZE, generator=draws) < 0.8)
    columns["weight"] = torch.rand(SIZE, generator=draws) + 0.5
    return Batch(columns)


class Reference:
    """Equations 5, 6, 7 and 18 of arXiv:1812.05905, on copies of an agent's parameters."""

    def __init__(
        self, agent: SAC, *, layer_norm: bool = False, entropy: float | None = None
    ) -> None:
        def copied(net: Any) -> list[Tensor]:
            return [t.detach().double().clone().requires_grad_() for t in net.tensors]

        self.actor, self.target = copied(agent.actor), copied(agent.target)
        self.critic = copied(agent.critic)
        self.log_alpha = agent.log_alpha.detach().double().clone().requires_grad_()
        self.layer_norm = layer_norm
        self.entropy = -float(ACTIONS) if entropy is None else entropy

    def net(self, tensors: list[Tensor], x: Tensor, *, norm: bool = False) -> Tensor:
        layers = list(zip(tensors[::2], tensors[1::2], strict=True))
        for i, (w, b) in enumerate(layers):
            x = x @ w + b
            if i < len(layers) - 1:
                x = F.relu(F.layer_norm(x, x.shape[-1:]) if norm else x)
        return x

    def policy(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.net(self.actor, obs).split(ACTIONS, -1)
        normal = Normal(mean, log_std.clamp(-20, 2).exp())
        u = mean + normal.stddev * noise
        action = torch.tanh(u)
        return action, (normal.log_prob(u) - log_slope(u)).sum(1)

    def q(self, critic: list[Tensor], obs: Tensor, action: Tensor) -> list[Tensor]:
        """Each critic's [B]."""
        x = torch.cat([obs, action], 1)
        return [self.net([t[i] for t in critic], x, norm=self.layer_norm)[:, 0] for i in (0, 1)]

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


def log_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2) = log(4 / (e^u + e^-u)^2)"""
    return 2 * (math.log(2) - torch.logaddexp(u, -u))


def noises(number: int, *, of: int = 2) -> list[Tensor]:
    """The draws that the agent makes in an update: for next_obs, then for obs."""
    draws = torch.Generator().manual_seed(number)
    return [torch.randn((SIZE, ACTIONS), generator=draws).double() for _ in range(of)]


class Still:
    """An Optim that moves nothing and keeps what it is given."""

    def __init__(self, agent: Agent) -> None:
        self.lr_factor = 1.0
        self.names = {id(group): name for name, group in agent.groups.items()}
        self.grads: dict[str, list[Tensor]] = {}

    def apply(self, group: Group) -> None:
        self.grads[self.names[id(group)]] = [grad.clone() for grad in group.grads]

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        pass


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer norm": {"layer_norm": True},
    "three layers": {"hidden_sizes": (8, 16, 8)},
    "other target entropy": {"target_entropy": -0.5},
    "hot": {"initial_temperature": 5.0},
}


@pytest.mark.parametrize("wide", [1.0, 30.0], ids=["", "far out"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_losses_and_gradients_are_the_papers(options: dict[str, Any], wide: float) -> None:
    """Far out most actions are at the edge, where a careless log(1 - tanh^2) has no digits left."""
    agent = make(**options)
    agent.optim = Still(agent)
    reference = Reference(
        agent,
        layer_norm=options.get("layer_norm", False),
        entropy=options.get("target_entropy"),
    )
    data = batch(wide=wide)
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)
    assert learned.updates == 1

    wide_data = {name: column.double() for name, column in data.items()}
    next_noise, noise = noises(7)
    critic_loss = reference.critic_loss(wide_data, next_noise)
    actor_loss, logp = reference.actor_loss(wide_data, noise)
    losses = {
        "critic": (critic_loss, reference.critic),
        "actor": (actor_loss, reference.actor),
        "temperature": (reference.temperature_loss(logp), [reference.log_alpha]),
    }
    assert {*agent.optim.grads} == {*losses}
    for name, (loss, tensors) in losses.items():
        grads = torch.autograd.grad(loss, tensors, retain_graph=True)
        scale = max(1.0, *(float(grad.abs().max()) for grad in grads))
        for mine, theirs in zip(agent.optim.grads[name], grads, strict=True):
            assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
    told = learned.metrics
    assert float(told["loss/critic"]) == pytest.approx(float(critic_loss.detach()), rel=1e-5)
    assert float(told["loss/actor"]) == pytest.approx(
        float(actor_loss.detach()), rel=1e-5, abs=1e-5
    )
    assert float(told["policy/entropy"].mean()) == pytest.approx(-float(logp.mean()), rel=1e-5)


@ADAMS
@pytest.mark.parametrize("automatic", [True, False])
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

    def descend(name: str, loss: Tensor) -> None:
        for adam in adams.values():
            adam.zero_grad()
        loss.backward()
        adams[name].step()

    for number in range(10):
        data = batch(number)
        agent.rng.learn.manual_seed(number)
        agent.learn(data)

        wide_data = {name: column.double() for name, column in data.items()}
        next_noise, noise = noises(number)
        alpha = reference.log_alpha.detach().clone()
        descend("critic", reference.critic_loss(wide_data, next_noise))
        actor_loss, logp = reference.actor_loss(wide_data, noise)
        descend("actor", actor_loss)
        if automatic:
            descend("temperature", reference.temperature_loss(logp))
            assert not torch.equal(reference.log_alpha, alpha)
        with torch.no_grad():
            for target, source in zip(reference.target, reference.critic, strict=True):
                target.mul_(0.95).add_(0.05 * source)
            for mean, source in zip(averaged, reference.actor, strict=True):
                mean.mul_(0.8).add_(0.2 * source)

    for mine, theirs in (
        (agent.critic.tensors, reference.critic),
        (agent.actor.tensors, reference.actor),
        (agent.target.tensors, reference.target),
        (agent.averaged.tensors, averaged),
        ([agent.log_alpha], [reference.log_alpha]),
    ):
        for one, two in zip(mine, theirs, strict=True):
            assert_allclose(one.detach(), two.detach(), atol=1e-5)


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


@pytest.mark.parametrize("rows", [1, 8])
def test_greedy_actions_are_tanh_of_the_mean(rows: int) -> None:
    agent, obs = make(), batch().obs[:rows]
    before = agent.rng.act.get_state()
    action, _, extras = agent.act(obs.numpy(), agent.initial_state(rows), None)
    assert_allclose(action, torch.tanh(agent.actor(obs)[:, :ACTIONS]).detach(), atol=1e-5)
    assert action.dtype == np.float32 and extras == {}
    assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"


@pytest.mark.parametrize("noise", ["white", "pink"])
def test_actions_are_drawn_from_the_policy(noise: str) -> None:
    agent = make(noise=noise)
    obs = batch().obs[:1].repeat(4000, 1)
    mean, log_std = (part.detach()[0] for part in agent.actor(obs[:1]).chunk(2, -1))
    action, *_ = agent.act(obs.numpy(), agent.initial_state(4000), 0.0)
    u = np.arctanh(action.astype(np.float64))
    assert_allclose(u.mean(0), mean, atol=4 * float(log_std.exp().max()) / 63)
    assert_allclose(u.std(0), log_std.exp(), rtol=0.06)


def test_exploring_actions_are_uniform_and_held() -> None:
    agent = make(action_hold=3)
    obs, state, actions = batch().obs.numpy(), agent.initial_state(SIZE), []
    for _ in range(6):
        action, state, _ = agent.act(obs, state, 1.0)
        actions.append(action)
    assert_array_equal(actions[0], actions[2])
    assert_array_equal(actions[3], actions[5])
    assert not np.isin(actions[0], actions[3]).any()
    assert np.abs(actions).max() <= 1


def test_an_evaluator_uses_the_average_where_there_is_one() -> None:
    agent, plain = make(average=0.1), make()
    for each in (agent, plain):
        each.learn(batch())
        before = each.vector.flat("actor").clone()
        each.use_average()
        assert torch.equal(each.vector.flat("actor"), before) == (each is plain)
    assert torch.equal(agent.vector.flat("actor"), agent.vector.flat("average"))


def test_a_column_of_rewards_is_refused() -> None:
    """[B, 1] against [B] would broadcast, and blind the critic to its own reward."""
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"q \(2, 32\) against y \(32, 32\)"):
        make().learn(wrong)


def test_all_processes_build_the_same_agent() -> None:
    one, two, other = (laid(sac(SPEC, seed)).vector.floats for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


@ADAMS
def test_it_learns_to_repeat_what_it_sees(fused: bool) -> None:
    """Identity: the best return is 0, a uniform policy's is -6.7. A few seconds."""
    agent = functools.partial(sac, fused=fused, hidden_sizes=(32, 32), lr=3e-3, gamma=0.9)
    ended = run(
        Sequential(),
        job(
            agent=agent,
            explore=Warmup(200),
            env_steps=1500,
            warmup=200,
            num_envs=4,
            batch_size=64,
        ),
    )
    assert ended.totals["updates"] >= 1300
    learned = laid(agent(ended.job.spec, 0))
    learned.vector.load("all", ended.floats)
    targets = np.linspace(-0.9, 0.9, 64, dtype=np.float32)[:, None]
    answers = learned.act(targets, learned.initial_state(64), None).action
    assert -10 * np.mean((answers - targets) ** 2) > -0.2


def test_pink_noise_is_carried_in_the_state() -> None:
    """So that actions after the warm-up are correlated in time, and white ones are not."""
    for noise, low, high in (("pink", 0.5, 1.0), ("white", -0.1, 0.1)):
        agent = make(noise=noise)
        obs, state = batch().obs[:1].repeat(2000, 1).numpy(), agent.initial_state(2000)
        actions = []
        for _ in range(2):
            action, state, _ = agent.act(obs, state, 0.0)
            actions.append(np.arctanh(action[:, 0].astype(np.float64)))
        assert low < np.corrcoef(actions)[0, 1] < high, noise


def test_pessimism_lies_between_the_mean_and_the_minimum_of_both_critics() -> None:
    q = torch.tensor([[1.0, 5.0], [3.0, -1.0]])
    wanted = {1.0: [1.0, -1.0], 0.5: [1.5, 0.5], 0.0: [2.0, 2.0]}
    for pessimism, low in wanted.items():
        assert make(pessimism=pessimism).critics.trusted(q).tolist() == low


def test_pessimism_of_more_than_two_critics_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set agent\.critics=2"):
        make(critics=3, pessimism=0.5)
