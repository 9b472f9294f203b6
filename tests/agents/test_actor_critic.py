"""Actor-critic against plain loops over each transition's future, its memory, what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from agents.actor_critic import RETURNS, ActorCritic
from agents.base import Batch, Spec
from agents.parts.optim import Local
from tests.agents.reference import Still, wide
from tests.agents.rollouts import (
    ADAMS,
    GAMMA,
    KINDS,
    LAM,
    density,
    garbled,
    make,
    played,
    tanh_net,
)

STEPS, LIMIT = 3, 1.3  # of the n-step return, and of V-trace's ratios


def actor_critic(
    spec: Spec, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any
) -> ActorCritic:
    small = {"hidden_sizes": (16, 16), "lr": 5e-3, "gamma": GAMMA, "lam": LAM, "n": STEPS}
    agent = ActorCritic(spec, seed, device, **{**small, **options})
    agent.optim = Local(fused=fused)
    return agent


REINFORCE: dict[str, Any] = {"returns": "monte_carlo", "critic": False}


def reference(agent: ActorCritic, batch: Batch) -> tuple[Tensor, Tensor, list[list[Tensor]]]:
    """Both losses and their parameters, in float64; each step's target is summed on its own."""
    b = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    assert agent.critic is not None
    actor, critic = wide(agent.actor.tensors), wide(agent.critic.tensors)
    log_std = wide(agent.head.tensors)
    logp, entropy = density(tanh_net(actor, b["obs"]), log_std, b)
    value, next_value = (tanh_net(critic, b[key])[..., 0] for key in ("obs", "next_obs"))
    v, next_v = value.detach(), next_value.detach()
    ratio = (logp.detach() - b["logp"]).exp()
    target, advantage, weight = torch.zeros_like(v), torch.zeros_like(v), torch.ones_like(v)
    for t, slot in np.argwhere(batch.valid.numpy()):
        future = []  # the steps from here to the end of the episode or fragment
        for k in range(t, len(v)):
            future.append((k, slot))
            if b["terminated"][k, slot] or b["truncated"][k, slot]:
                break
        delta = [b["reward"][k] + b["discount"][k] * next_v[k] - v[k] for k in future]
        last = future[-1]
        if agent.returns == "gae":
            gain = sum((GAMMA * LAM) ** i * d for i, d in enumerate(delta))
            target[t, slot], advantage[t, slot] = v[t, slot] + gain, gain
        elif agent.returns == "vtrace":
            target[t, slot] = v[t, slot] + trace(ratio, future, delta)
            after = next_v[last]
            if len(future) > 1:
                after = v[future[1]] + trace(ratio, future[1:], delta[1:])
            advantage[t, slot] = b["reward"][t, slot] + b["discount"][t, slot] * after - v[t, slot]
            weight[t, slot] = min(LIMIT, float(ratio[t, slot]))
        else:
            reach = future[:STEPS] if agent.returns == "n_step" else future
            rewards = sum(GAMMA**i * b["reward"][k] for i, k in enumerate(reach))
            bootstrap = b["discount"][reach[-1]] * next_v[reach[-1]]
            target[t, slot] = rewards + GAMMA ** (len(reach) - 1) * bootstrap
            advantage[t, slot] = target[t, slot] - v[t, slot]
    valid = batch.valid
    if agent.normalise_advantage:
        advantage = (advantage - advantage[valid].mean()) / (
            advantage[valid].std(correction=0) + 1e-8
        )
    actor_loss = -(logp * weight * advantage)[valid].mean() - agent.entropy * entropy[valid].mean()
    critic_loss = 0.5 * ((value - target)[valid] ** 2).mean()
    return actor_loss, critic_loss, [[*actor, *log_std], critic]


def trace(ratio: Tensor, future: list[Any], delta: list[Tensor]) -> float:
    """v_s - V(s_s): the sum in equation 1 of arXiv:1802.01561."""
    total, weight = 0.0, 1.0
    for k, d in zip(future, delta, strict=True):
        total += weight * min(LIMIT, float(ratio[k])) * float(d)
        weight *= GAMMA * LAM * min(1.0, float(ratio[k]))
    return total


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("returns", RETURNS)
@KINDS
def test_losses_and_gradients_are_those_of_plain_sums(
    name: str, returns: str, normalise: bool
) -> None:
    """Advantages are standardised before they are weighed: otherwise a step of ratio 0 has one."""
    options = {"rho_bar": LIMIT, "entropy": 0.02, "normalise_advantage": normalise}
    agent = make(name, actor_critic, returns=returns, **options)
    (batch,) = played(agent, name)
    batch["reward"] *= 0.01
    batch["logp"] += 0.5 * torch.randn(batch.logp.shape)  # a policy that has moved since it acted
    actor_loss, critic_loss, parameters = reference(agent, batch)
    agent.optim = Still(agent)
    learned = agent.learn(batch)
    assert learned.updates == 1
    for group, loss, tensors in zip(
        ("actor", "critic"), (actor_loss, critic_loss), parameters, strict=True
    ):
        grads = torch.autograd.grad(loss, tensors)
        scale = max(1.0, *(float(grad.abs().max()) for grad in grads))
        for mine, theirs in zip(agent.optim.grads[group], grads, strict=True):
            assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=group)
    assert float(learned.metrics["loss/critic"]) == pytest.approx(
        float(critic_loss.detach()), rel=1e-5
    )


@ADAMS
def test_three_learns_are_the_references_with_torchs_adam(fused: bool) -> None:
    name = "Counting"
    agent = make(name, actor_critic, fused=fused, clip=None)
    for number, batch in enumerate(played(agent, name, 3)):
        batch["reward"] *= 0.01
        *losses, parameters = reference(agent, batch)
        if number == 0:
            kept = parameters
            adams = [torch.optim.Adam(tensors, lr=5e-3, eps=1e-5) for tensors in kept]
        for loss, tensors, own, adam in zip(losses, parameters, kept, adams, strict=True):
            for grad, tensor in zip(torch.autograd.grad(loss, tensors), own, strict=True):
                tensor.grad = grad
            adam.step()
        agent.learn(batch)
        mine = [*agent.actor.tensors, *agent.head.tensors, *agent.critic.tensors]
        for one, two in zip(mine, [*kept[0], *kept[1]], strict=True):
            assert_allclose(one.detach(), two.detach(), atol=1e-5)


OPTIONS: dict[str, dict[str, Any]] = {
    "gae": {},
    "vtrace": {"returns": "vtrace"},
    "memory": {"lstm": 8, "normalise": True},
    "reinforce": {**REINFORCE, "normalise_advantage": True},
}
PAIRED = pytest.mark.parametrize(
    ("name", "option"),
    [
        ("Counting", "gae"),
        ("CountingDiscrete", "vtrace"),
        ("Counting", "memory"),
        ("CountingDiscrete", "memory"),
        ("Counting", "reinforce"),
    ],
)


@PAIRED
def test_garbage_in_reset_steps_changes_nothing(name: str, option: str) -> None:
    ends = []
    for change in (lambda batch: batch, garbled):
        agent = make(name, actor_critic, **OPTIONS[option])
        (batch,) = played(agent, name)
        agent.learn(change(batch))
        ends.append(agent.vector.floats.clone())
    assert torch.equal(*ends)


@PAIRED
def test_actor_and_learner_agree_without_policy_lag(name: str, option: str) -> None:
    """Also in a memory's later fragments, which begin and end within episodes: acting goes step by
    step, learning unrolls what was stored."""
    agent = make(name, actor_critic, **OPTIONS[option])
    batches = played(agent, name, 4)
    assert not bool(batches[1].is_first[0].all()) and bool(batches[1].is_first[1:].any())
    agent.optim = Still(agent)
    for batch in batches:
        metrics = agent.learn(batch).metrics if agent.normal is None else metrics_of(agent, batch)
        assert float(metrics["policy/log_ratio"].mean()) < 1e-4


def metrics_of(agent: Any, batch: Batch) -> dict[str, Tensor]:
    """What an update logs, without the statistics that it moves."""
    before = agent.normal.sums.clone()
    metrics: dict[str, Tensor] = agent.learn(batch).metrics
    agent.normal.sums.copy_(before)
    return metrics


def test_a_fragment_without_its_stored_memory_is_another() -> None:
    agent = make("Counting", actor_critic, lstm=8)
    batch = played(agent, "Counting", 2)[1]
    assert batch["memory"].shape == (3, 16)
    batch["memory"] = torch.zeros_like(batch["memory"])
    agent.optim = Still(agent)
    assert float(agent.learn(batch).metrics["policy/log_ratio"].mean()) > 1e-3


def test_next_values_are_read_with_the_memory_of_the_next_step() -> None:
    """Within an episode the successor's features are those of the next step."""
    agent = make("Counting", actor_critic, lstm=8)
    (batch,) = played(agent, "Counting")
    seen, next_seen = (x.detach() for x in agent.seen(batch))
    goes_on = batch.valid[:-1] & ~(batch.terminated | batch.truncated)[:-1]
    assert_allclose(next_seen[:-1][goes_on], seen[1:][goes_on], atol=1e-5)


def test_reinforce_learns_from_transitions_whose_end_is_known() -> None:
    agent = make("Counting", actor_critic, **REINFORCE)
    assert [*agent.groups] == ["actor"]
    (batch,) = played(agent, "Counting")
    ended = batch.terminated | batch.truncated
    known = torch.zeros_like(batch.valid)
    for t in range(len(ended)):
        known[t] = batch.valid[t] & ended[t:].any(0)
    assert not torch.equal(known, batch.valid)
    agent.optim = Still(agent)
    share = float(agent.learn(batch).metrics["policy/learned_share"].mean())
    assert share == pytest.approx(float(known.float().mean()))
    before = agent.optim.grads["actor"]
    batch["reward"][batch.valid & ~known] += 100.0
    agent.learn(batch)
    for one, two in zip(before, agent.optim.grads["actor"], strict=True):
        assert torch.equal(one, two)


def test_what_reinforce_drops_is_counted() -> None:
    agent = make("Counting", actor_critic, **REINFORCE)
    (batch,) = played(agent, "Counting")
    metrics = agent.learn(batch).metrics
    lost = 1 - float(metrics["policy/learned_share"].sum() / batch.valid.sum())
    assert 0 < lost < 1 and float(metrics["policy/dropped_share"]) == pytest.approx(lost)
    assert float(metrics["policy/dropped_fragments"]) == 0.0

    for name in ("terminated", "truncated"):  # two of the three slots have no end
        batch[name] = batch[name].clone()
        batch[name][:, :2] = False
    batch["weight"] = torch.ones_like(batch.weight)
    for learns in (1, 2):
        assert float(agent.learn(batch).metrics["policy/dropped_fragments"]) == 2 * learns

    batch["terminated"][:], batch["truncated"][:] = False, False
    learned = agent.learn(batch)
    assert learned.updates == 0
    assert float(learned.metrics["policy/dropped_share"]) == 1.0
    assert float(learned.metrics["policy/dropped_fragments"]) == 7.0

    batch["truncated"][2:4, 0], batch["weight"][3, 0] = True, 0.0  # the env raised at step 3
    assert agent.learn(batch).updates == 0
    batch["truncated"][3, 0] = False  # it was a reset
    assert agent.learn(batch).updates == 1


def test_with_a_critic_nothing_is_dropped() -> None:
    agent = make("Counting", actor_critic)
    metrics = agent.learn(played(agent, "Counting")[0]).metrics
    assert not any(name.startswith("policy/dropped") for name in metrics)


def test_wrong_choices_are_named() -> None:
    with pytest.raises(ValueError, match="choose monte_carlo, n_step, gae, vtrace"):
        make("Counting", actor_critic, returns="retrace")
    with pytest.raises(ValueError, match=r"agent\.returns=gae needs agent\.critic=true"):
        make("Counting", actor_critic, critic=False)


def test_the_statistics_of_observations_settle_as_the_learning_rate_does() -> None:
    agent = make("Counting", actor_critic, normalise=True)
    (batch,) = played(agent, "Counting")
    agent.learn(batch)
    settled, agent.optim.lr_factor = agent.normal.sums.clone(), 0.0
    agent.learn(batch)
    assert settled.any()
    assert torch.equal(agent.normal.sums, settled)
