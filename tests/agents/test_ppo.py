"""PPO against the paper's formulas written a second time, and on envs that it must learn.

The reference keeps its own copies of the parameters in float64 and uses torch.distributions and
torch.optim, none of the agent's own parts; its advantages come from a plain loop.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from agents.base import Batch
from agents.parts.schedule import Linear
from agents.ppo import PPO
from tests.agents.reference import Still, wide
from tests.agents.rollouts import (
    GAMMA,
    KINDS,
    LAM,
    density,
    garbled,
    greedy_return,
    learned,
    make,
    played,
    ppo,
    tanh_net,
)


class Reference:
    """Equations 7, 9 and 11 of arXiv:1707.06347, on copies of an agent's parameters."""

    def __init__(self, agent: PPO, *, clip_value: float | None, entropy: float) -> None:
        self.actor, self.critic = wide(agent.actor.tensors), wide(agent.critic.tensors)
        self.log_std = wide(agent.head.tensors)
        self.clip_value, self.entropy = clip_value, entropy

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        b = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
        value = tanh_net(self.critic, b["obs"])[..., 0].detach()
        next_value = tanh_net(self.critic, b["next_obs"])[..., 0].detach()
        advantage = torch.zeros_like(value)
        for slot in range(value.shape[1]):
            later = 0.0
            for t in reversed(range(len(value))):
                at = (t, slot)
                if b["terminated"][at] or b["truncated"][at] or not b["valid"][at]:
                    later = 0.0
                bootstrap = 0.0 if b["terminated"][at] else GAMMA * next_value[at]
                later = b["reward"][at] + bootstrap - value[at] + GAMMA * LAM * later
                advantage[at] = later
        rows = {**b, "value": value, "advantage": advantage, "target": advantage + value}
        return {k: v[b["valid"]] for k, v in rows.items()}

    def losses(self, rows: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logp, entropy = density(tanh_net(self.actor, rows["obs"]), self.log_std, rows)
        ratio, advantage = torch.exp(logp - rows["logp"]), rows["advantage"]
        advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
        first, second = ratio * advantage, ratio.clip(0.8, 1.2) * advantage
        actor = -torch.where(first < second, first, second).mean() - self.entropy * entropy.mean()
        value, old = tanh_net(self.critic, rows["obs"])[..., 0], rows["value"]
        error = (value - rows["target"]) ** 2
        if self.clip_value is not None:
            near = old + (value - old).clip(-self.clip_value, self.clip_value)
            error = torch.maximum(error, (near - rows["target"]) ** 2)
        return actor, 0.5 * error.mean()


@pytest.mark.parametrize("clip_value", [None, 0.1], ids=["", "values clipped"])
@KINDS
def test_losses_and_gradients_are_the_papers(name: str, clip_value: float | None) -> None:
    options = {
        "entropy": Linear(0.06, 0.0),
        "clip_value": clip_value,
        "epochs": 1,
        "minibatches": 1,
    }
    agent = make(name, **options)
    (batch,) = played(agent, name)
    batch["reward"] *= 0.01
    batch["logp"] += 0.3 * torch.randn(batch.logp.shape)  # so that some ratios are clipped
    reference = Reference(agent, clip_value=clip_value, entropy=0.03)
    rows = reference.prepare(batch)
    agent.optim = Still(agent)
    agent.progress = 0.5  # halfway down the entropy's schedule
    prepare = agent.prepare

    def moved(batch: Batch) -> Batch:  # so that some values are, too
        rows = prepare(batch)
        rows["value"] = rows.value + 0.3 * rows.logp.sin()
        return rows

    agent.prepare = moved
    rows["value"] = rows["value"] + 0.3 * rows["logp"].sin()
    metrics = agent.learn(batch).metrics
    assert 0.1 < float(metrics["policy/clipped"].mean()) < 0.9
    for group, loss, tensors in zip(
        ("actor", "critic"),
        reference.losses(rows),
        ([*reference.actor, *reference.log_std], reference.critic),
        strict=True,
    ):
        grads = torch.autograd.grad(loss, tensors)
        scale = max(1.0, *(float(grad.abs().max()) for grad in grads))
        for mine, theirs in zip(agent.optim.grads[group], grads, strict=True):
            assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=group)
    _, critic_loss = reference.losses(rows)
    assert float(metrics["loss/critic"]) == pytest.approx(float(critic_loss.detach()), rel=1e-5)


@pytest.mark.parametrize(("name", "fused"), [("Counting", True), ("CountingDiscrete", False)])
def test_three_learns_are_the_references_with_torchs_adam(name: str, fused: bool) -> None:
    agent = make(name, fused=fused, entropy=0.01, clip=0.5)
    reference = Reference(agent, clip_value=None, entropy=0.01)
    groups = [[*reference.actor, *reference.log_std], reference.critic]
    adams = [torch.optim.Adam(tensors, lr=3e-3, eps=1e-5) for tensors in groups]
    for number, batch in enumerate(played(agent, name, 3)):
        batch["reward"] *= 0.01
        agent.rng.learn.manual_seed(number)
        assert agent.learn(batch).updates == 6
        draws = torch.Generator().manual_seed(number)
        rows = reference.prepare(batch)
        for _ in range(2):
            order = torch.randperm(len(rows["value"]), generator=draws)
            for part in np.array_split(order.numpy(), 3):
                losses = reference.losses({k: v[part] for k, v in rows.items()})
                for loss, tensors, adam in zip(losses, groups, adams, strict=True):
                    adam.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(tensors, 0.5)
                    adam.step()
    mine = [*agent.actor.tensors, *agent.head.tensors, *agent.critic.tensors]
    for one, two in zip(mine, [*groups[0], *groups[1]], strict=True):
        assert_allclose(one.detach(), two.detach(), atol=2e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Counting", {"normalise": True, "state_std": True}),
        ("CountingDiscrete", {"normalise": True}),
        ("CountingDiscrete", {}),
    ],
    ids=["box", "discrete", "discrete, plain"],
)
def test_without_lag_the_first_ratio_is_one(name: str, options: dict[str, Any]) -> None:
    """What acting recorded is what learning computes, also with moved statistics."""
    agent = make(name, scale_reward=True, **options)
    for _ in range(3):
        (batch,) = played(agent, name)
        rows = agent.prepare(batch)
        log_ratio = (agent.head.logp(agent.actor(rows.obs), rows) - rows.logp).detach()
        assert float(log_ratio.abs().mean()) < 1e-4
        assert_allclose(log_ratio.exp(), 1, atol=1e-3)
        agent.learn(batch)


@KINDS
def test_garbage_in_reset_steps_changes_nothing(name: str) -> None:
    ends = []
    for change in (lambda batch: batch, garbled):
        agent = make(name, normalise=True, scale_reward=True)
        (batch,) = played(agent, name)
        agent.rng.learn.manual_seed(0)
        agent.learn(change(batch))
        ends.append(agent.vector.floats.clone())
    assert torch.equal(*ends)


def test_a_batch_without_a_valid_transition_is_no_update() -> None:
    agent = make("Counting", target_kl=0.01)
    (batch,) = played(agent, "Counting")
    before = agent.vector.floats.clone()
    batch["valid"] = torch.zeros_like(batch.valid)
    batch["weight"] = torch.zeros_like(batch.weight)
    assert agent.learn(batch).updates == 0
    assert torch.equal(agent.vector.floats, before)


def test_the_epochs_end_when_the_policy_has_gone_far() -> None:
    agent, other = make("Counting", lr=0.05, target_kl=1e-4), make("Counting", lr=0.05)
    assert agent.learn(played(agent, "Counting")[0]).updates == 3
    assert other.learn(played(other, "Counting")[0]).updates == 6


def test_statistics_move_after_the_last_epoch_only_and_travel_with_the_actor() -> None:
    agent = make("Counting", normalise=True)
    (batch,) = played(agent, "Counting")
    seen = []
    improve = agent.improve
    agent.improve = lambda rows: seen.append(agent.normal.sums.clone()) or improve(rows)
    before = agent.vector.floats.clone()
    agent.act(batch.obs[0].numpy(), {}, 0.0)
    agent.act(batch.obs[0].numpy(), {}, None)
    assert torch.equal(agent.vector.floats, before), "acting changes nothing"
    agent.learn(batch)
    assert all(torch.equal(sums, torch.zeros_like(sums)) for sums in seen)
    assert_allclose(agent.normal.moments()[0], batch.obs[batch.valid].double().mean(0), rtol=1e-5)
    reader = make("Counting", normalise=True)
    reader.vector.load("act", agent.vector.floats[: agent.vector.size("act")])
    obs = batch.obs[0].numpy()
    assert_array_equal(reader.act(obs, {}, None).action, agent.act(obs, {}, None).action)
    settled, agent.optim.lr_factor = agent.normal.sums.clone(), 0.0
    agent.learn(batch)
    assert torch.equal(agent.normal.sums, settled), "weights that stand still see what they saw"


@KINDS
def test_greedy_actions_draw_nothing(name: str) -> None:
    agent = make(name)
    (batch,) = played(agent, name)
    before = agent.rng.act.get_state()
    action, _, extras = agent.act(batch.obs[0].numpy(), {}, None)
    assert extras == {} and torch.equal(agent.rng.act.get_state(), before)
    x = agent.actor(batch.obs[0]).detach()
    wanted = x.argmax(-1) if agent.head.tensors == [] else x.clip(-1, 1)
    assert_allclose(action, wanted, atol=1e-5)


@pytest.mark.parametrize(("name", "fused"), [("Identity", True), ("IdentityDiscrete", False)])
def test_the_agent_learns_to_repeat_what_it_sees(name: str, fused: bool) -> None:
    """The best return is 0, a uniform policy's about -7. A few seconds."""
    agent = functools.partial(ppo, fused=fused, lr=1e-2, epochs=4, scale_reward=True)
    assert greedy_return(learned(name, agent, env_steps=8000), name) > -0.3
