"""TD3 against Algorithm 1 of its paper written a second time, and on an env that it must learn."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from agents.parts.optim import Local
from agents.td3 import TD3
from tests.agents.reference import (
    ACTIONS,
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
from tests.jobs import PARADIGMS, job, laid, run

DDPG: dict[str, Any] = {"critics": 1, "smoothing": 0.0, "delay": 1}


def td3(spec: Any, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any) -> TD3:
    agent = TD3(spec, seed, device, **{"hidden_sizes": (16, 16), "lr": 1e-3, **options})
    agent.optim = Local(fused=fused)
    return agent


def make(**options: Any) -> TD3:
    agent = td3(SPEC, 0, **{"tau": 0.05, **options})
    laid(agent)
    with torch.no_grad():  # so that it matters which critic, and that the targets are others
        agent.vector.flat("target").mul_(1.3)
        agent.vector.flat("target_actor").mul_(1.3)
        agent.critic.biases[-1][-1] -= 0.5
    return agent


class Reference:
    """Algorithm 1 of arXiv:1802.09477 on copies of an agent's parameters, in float64."""

    def __init__(self, agent: TD3, *, smoothing: float = 0.2, layer_norm: bool = False) -> None:
        nets = (agent.critic, agent.actor, agent.target, agent.target_actor)
        self.critic, self.actor, self.target, self.target_actor = (
            wide(each.tensors) for each in nets
        )
        self.smoothing, self.layer_norm = smoothing, layer_norm
        self.members = len(agent.critic.weights[0])

    def q(self, critic: list[Tensor], i: int, obs: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([obs, action], 1)
        return net([t[i] for t in critic], x, norm=self.layer_norm)[:, 0]

    def critic_loss(self, b: dict[str, Tensor], noise: Tensor) -> Tensor:
        with torch.no_grad():
            eps = torch.clamp(self.smoothing * noise, -0.5, 0.5)
            action = torch.tanh(net(self.target_actor, b["next_obs"]))
            action = torch.clamp(action + eps, -1, 1)
            each = [self.q(self.target, i, b["next_obs"], action) for i in range(self.members)]
            y = b["reward"] + b["discount"] * functools.reduce(torch.minimum, each)
        self.td = [self.q(self.critic, i, b["obs"], b["action"]) - y for i in range(self.members)]
        return sum((b["weight"] * td**2).mean() for td in self.td)  # type: ignore[return-value]

    def actor_loss(self, b: dict[str, Tensor]) -> Tensor:
        action = torch.tanh(net(self.actor, b["obs"]))
        return -self.q(self.critic, 0, b["obs"], action).mean()

    def follow(self, tau: float) -> None:
        with torch.no_grad():
            for targets, sources in (
                (self.target, self.critic),
                (self.target_actor, self.actor),
            ):
                for target, source in zip(targets, sources, strict=True):
                    target.mul_(1 - tau).add_(tau * source)


def noise(number: int) -> Tensor:
    """The draws of an update: the smoothing of next_obs' actions."""
    return torch.randn((SIZE, ACTIONS), generator=torch.Generator().manual_seed(number)).double()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer norm": {"layer_norm": True},
    "much smoothing": {"smoothing": 2.0},
    "ddpg": DDPG,
    "three critics": {"critics": 3},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_losses_and_gradients_are_the_papers(options: dict[str, Any]) -> None:
    agent = make(**{**options, "delay": 1})
    agent.optim = still = Still(agent)
    reference = Reference(
        agent,
        smoothing=options.get("smoothing", 0.2),
        layer_norm=options.get("layer_norm", False),
    )
    data = batch()
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)
    assert learned.updates == 1
    critic_loss = reference.critic_loss(doubled(data), noise(7))
    losses = {
        "critic": (critic_loss, reference.critic),
        "actor": (reference.actor_loss(doubled(data)), reference.actor),
    }
    assert_gradients(still.grads, losses)
    for name, (loss, _) in losses.items():
        logged = learned.metrics[f"loss/{name}"]
        assert float(logged) == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = torch.stack(reference.td).abs().mean(0).detach()
    assert learned.priority is not None
    assert_allclose(learned.priority, expected, atol=1e-5)


@pytest.mark.parametrize(("delay", "fused"), [(1, False), (2, True), (3, True)])
def test_nine_updates_are_the_references_with_torchs_adam(delay: int, fused: bool) -> None:
    """Also that the actor and both targets move at every `delay`-th update, and at no other."""
    agent = make(delay=delay, fused=fused)
    reference = Reference(agent)
    adams = {
        name: torch.optim.Adam(getattr(reference, name), lr=1e-3) for name in ("critic", "actor")
    }

    for number in range(9):
        data = batch(number)
        before = {name: agent.vector.flat(name).clone() for name in ("actor", *agent.follows)}
        agent.rng.learn.manual_seed(number)
        agent.learn(data)
        descend(adams, "critic", reference.critic_loss(doubled(data), noise(number)))
        due = (number + 1) % delay == 0
        if due:
            descend(adams, "actor", reference.actor_loss(doubled(data)))
            reference.follow(0.05)
        for name, values in before.items():
            assert torch.equal(values, agent.vector.flat(name)) != due, name

    assert_tensors(
        (agent.critic.tensors, reference.critic),
        (agent.actor.tensors, reference.actor),
        (agent.target.tensors, reference.target),
        (agent.target_actor.tensors, reference.target_actor),
    )


def test_the_delay_begins_at_the_vectors_count_and_so_survives_a_resume() -> None:
    """Whoever begins with another's vector goes on with its delay, to the bit."""
    agent, other = make(delay=3), make(delay=3)
    for number in range(4):
        agent.rng.learn.manual_seed(number)
        agent.learn(batch(number))
    other.vector.load("all", agent.vector.floats, agent.vector.counts)
    for number in range(4, 9):
        for each in (agent, other):
            each.rng.learn.manual_seed(number)
            each.learn(batch(number))
        assert torch.equal(agent.vector.floats, other.vector.floats)
    assert agent.vector.counts.tolist() == other.vector.counts.tolist() == [9, 3]


def test_the_delay_is_an_agents_own_whatever_weights_and_counts_it_is_given() -> None:
    """As dupdate does: every task begins with others' updates counted in."""
    agent, given = make(delay=3), make(delay=3)
    moved = []
    for number in range(9):
        given.vector.counts += 6
        agent.vector.load("all", given.vector.floats, given.vector.counts)
        agent.learn(batch(number))
        moved.append(not torch.equal(agent.vector.flat("actor"), given.vector.flat("actor")))
    assert moved == [False, False, True] * 3


def test_two_agents_bound_to_one_vector_have_a_delay_each() -> None:
    agents = [make(delay=2), make(delay=2)]
    floats, counts = agents[0].vector.floats, agents[0].vector.counts
    agents[1].vector.bind(floats, counts)
    moved = []
    for number in range(8):
        before = agents[0].vector.flat("actor").clone()
        agents[number % 2].learn(batch(number))
        moved.append(not torch.equal(before, agents[0].vector.flat("actor")))
    assert moved[0::2] == [False, True, False, True]
    assert moved[1::2] == [True, False, True, False], "it begins at a count of 1"


def test_the_actor_moves_at_every_second_update_of_workers_that_are_merged() -> None:
    """In a round both workers begin at one count. Where each makes one update that count is always
    even, so that by the vector's count none would ever come to the actor."""
    rounds = {"workers": 2, "num_envs": 1, "rollout_length": 4, "updates_per_env_step": 0.25}
    ended = run(PARADIGMS["dupdate"], job(agent=td3, warmup=64, env_steps=96, **rounds))
    assert ended.result.final.counts.tolist() == [8, 4]


def test_follows_has_the_rate_of_one_update() -> None:
    """A merge of K updates moves the targets by 1 - (1 - rate)^K, as K updates here do."""
    agent = make(delay=3, tau=0.3)
    for group, rate in agent.follows.values():
        assert group in agent.groups
        assert 1 - (1 - rate) ** 6 == pytest.approx(1 - (1 - 0.3) ** 2)


def test_targets_carry_no_gradient_and_a_still_optim_moves_nothing() -> None:
    agent = make(delay=1)
    agent.optim = Still(agent)
    before = agent.vector.floats.clone()
    agent.learn(batch())
    assert torch.equal(agent.vector.floats, before)
    assert not any(t.requires_grad for t in (*agent.target.tensors, *agent.target_actor.tensors))


def test_greedy_actions_are_the_actors() -> None:
    for rows in [1, 8]:
        agent, obs = make(), batch().obs[:rows]
        before = agent.rng.act.get_state()
        action, _, extras = agent.act(obs.numpy(), agent.initial_state(rows), None)
        assert_allclose(action, torch.tanh(agent.actor(obs)).detach(), atol=1e-5)
        assert action.dtype == np.float32 and extras == {}
        assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"


def test_exploring_noise_has_the_stated_width_and_stays_in_bounds() -> None:
    for kind in ["white", "pink"]:
        agent = make(noise=kind, noise_std=0.1)
        obs = batch().obs[:1].repeat(4000, 1).numpy()
        greedy = agent.act(obs, agent.initial_state(4000), None).action
        action = agent.act(obs, agent.initial_state(4000), 0.0).action
        assert action.dtype == np.float32
        assert_allclose(action.mean(0), greedy[0], atol=0.01)
        assert_allclose(action.std(0), 0.1, rtol=0.06)
        wide = make(noise=kind, noise_std=3.0).act(obs, agent.initial_state(4000), 0.0).action
        assert np.abs(wide).max() == 1


def test_pink_noise_is_carried_in_the_state() -> None:
    agent = make(noise="pink", noise_std=0.1)
    obs = batch().obs[:1].repeat(2000, 1).numpy()
    greedy = agent.act(obs, agent.initial_state(2000), None).action
    first, state, _ = agent.act(obs, agent.initial_state(2000), 0.0)
    second = agent.act(obs, state, 0.0).action
    assert np.corrcoef((first - greedy)[:, 0], (second - greedy)[:, 0])[0, 1] > 0.5


def test_random_actions_are_uniform_and_held() -> None:
    agent = make(action_hold=3)
    obs, state, actions = batch().obs.numpy(), agent.initial_state(SIZE), []
    for _ in range(6):
        action, state, _ = agent.act(obs, state, 1.0)
        actions.append(action)
    assert_array_equal(actions[0], actions[2])
    assert not np.isin(actions[0], actions[3]).any()
    assert 0.4 < np.abs(actions[0]).mean() < 0.6


def test_a_column_of_rewards_is_refused() -> None:
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"q \(2, 32\), y \(32, 32\)"):
        make().learn(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("fused", "options"), [(True, {}), (False, DDPG)], ids=["td3", "ddpg"])
def test_the_agent_learns_to_repeat_what_it_sees(fused: bool, options: dict[str, Any]) -> None:
    agent = functools.partial(
        td3, fused=fused, hidden_sizes=(32, 32), lr=3e-3, gamma=0.9, noise_std=0.3, **options
    )
    assert_it_learns_identity(agent)
