"""PPO against the paper's formulas written a second time, and on worlds that it must learn.

The reference keeps its own copies of the parameters in float64 and uses torch.distributions and
torch.optim, none of the agent's own parts; its advantages come from a plain loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.wrappers.vector import TransformObservation
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor
from torch.distributions import Categorical, Normal

from agents.base import Agent, Batch, Group, Spec
from agents.parts.optim import Local
from agents.parts.schedule import Discount, Geometric, Linear
from agents.ppo import PPO
from envs.make import describe
from paradigms.experience.rollout import Rollout
from paradigms.loop.actor import Actor
from paradigms.sequential import Sequential
from tests.jobs import Ended, job, laid, run, world

TURN, ENVS = 24, 3
ADAMS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
WORLDS = pytest.mark.parametrize("name", ["Counting", "CountingDiscrete"])
GAMMA, LAM = 0.9, 0.8


def ppo(spec: Spec, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any) -> PPO:
    small = {"hidden_sizes": (16, 16), "lr": 3e-3, "epochs": 2, "minibatches": 3}
    agent = PPO(spec, seed, device, **{**small, "gamma": GAMMA, "lam": LAM, **options})
    agent.optim = Local(fused=fused)
    return agent


def make(name: str, make_agent: Callable[..., Agent] = ppo, **options: Any) -> Any:
    """An agent on its vector, whose last layers are not close to zero."""
    agent: Any = laid(make_agent(describe(world(name)), 0, **options))
    with torch.no_grad():
        agent.actor.tensors[-2].mul_(30)
        agent.actor.tensors[-1].add_(0.3)
    return agent


def played(agent: Any, name: str, number: int = 1, seed: int = 0) -> list[Batch]:
    """Batches of one agent acting, with episodes that end and are cut, and with reset steps."""
    spec = describe(world(name)).with_extras(agent.extras)
    replay = Rollout(spec, writers=1, num_envs=ENVS, rollout_length=TURN, gamma=agent.gamma)
    env = TransformObservation(world(name)(num_envs=ENVS, seed=seed), calm)
    actor = Actor(env, agent, replay.layout, explore=lambda *_: 0.0, seed=seed)
    batches = []
    for _ in range(number):
        replay.add(actor.collect(version=0))
        batches.append(replay.sample(0, torch.Generator()))
    env.close()
    return batches


def calm(obs: np.ndarray) -> np.ndarray:
    """Counting's numbers within [-1, 1], where no unit is saturated."""
    return np.sin(obs)


def garbled(batch: Batch) -> Batch:
    """The same with other numbers in the reset steps."""
    assert not bool(batch.valid.all())
    other = Batch({name: column.clone() for name, column in batch.items()})
    for name in ("obs", "next_obs", "reward", "logp", "raw", "discount"):
        if name in other:
            column = other[name]
            column[~batch.valid] = 50 * torch.randn(column[~batch.valid].shape)
    return other


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


def wide(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().double().clone().requires_grad_() for t in tensors]


def net(tensors: list[Tensor], x: Tensor) -> Tensor:
    for i in range(0, len(tensors), 2):
        x = (torch.tanh(x) if i else x) @ tensors[i] + tensors[i + 1]
    return x


def density(x: Tensor, log_std: list[Tensor], batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """log pi and entropy of a batch's actions."""
    if log_std:
        normal = Normal(x, log_std[0].exp().expand_as(x))
        return normal.log_prob(batch["raw"]).sum(-1), normal.entropy().sum(-1)
    choice = Categorical(logits=x)
    return choice.log_prob(batch["action"]), choice.entropy()


class Reference:
    """Equations 7, 9 and 11 of arXiv:1707.06347, on copies of an agent's parameters."""

    def __init__(self, agent: PPO, *, clip_value: float | None, entropy: float) -> None:
        self.actor, self.critic = wide(agent.actor.tensors), wide(agent.critic.tensors)
        self.log_std = wide(agent.head.tensors)
        self.clip_value, self.entropy = clip_value, entropy

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        b = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
        value = net(self.critic, b["obs"])[..., 0].detach()
        next_value = net(self.critic, b["next_obs"])[..., 0].detach()
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
        logp, entropy = density(net(self.actor, rows["obs"]), self.log_std, rows)
        ratio, advantage = torch.exp(logp - rows["logp"]), rows["advantage"]
        advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
        first, second = ratio * advantage, ratio.clip(0.8, 1.2) * advantage
        actor = -torch.where(first < second, first, second).mean() - self.entropy * entropy.mean()
        value, old = net(self.critic, rows["obs"])[..., 0], rows["value"]
        error = (value - rows["target"]) ** 2
        if self.clip_value is not None:
            near = old + (value - old).clip(-self.clip_value, self.clip_value)
            error = torch.maximum(error, (near - rows["target"]) ** 2)
        return actor, 0.5 * error.mean()


@pytest.mark.parametrize("clip_value", [None, 0.1], ids=["", "values clipped"])
@WORLDS
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
    told = agent.learn(batch).metrics
    assert 0.1 < float(told["policy/clipped"].mean()) < 0.9
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
    assert float(told["loss/critic"]) == pytest.approx(float(critic_loss.detach()), rel=1e-5)


@ADAMS
@WORLDS
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


@pytest.mark.parametrize("options", [{}, {"normalise": True, "state_std": True}], ids=["", "more"])
@WORLDS
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


@WORLDS
def test_garbage_in_reset_steps_changes_nothing(name: str) -> None:
    ends = []
    for change in (lambda batch: batch, garbled):
        agent = make(name, normalise=True, scale_reward=True)
        (batch,) = played(agent, name)
        agent.rng.learn.manual_seed(0)
        agent.learn(change(batch))
        ends.append(agent.vector.floats.clone())
    assert torch.equal(*ends)


def test_a_batch_without_a_valid_row_is_no_update() -> None:
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


def test_a_reward_is_clipped_after_it_is_scaled() -> None:
    agent = make("Counting", scale_reward=True, clip_reward=0.4)
    (batch,) = played(agent, "Counting")
    batch["reward"][::2] *= -1
    told = agent.prepare(batch)
    assert agent.scale is not None
    scaled = batch.reward / agent.scale.normal.moments()[1][0]
    assert (scaled > 0.5).any() and (scaled < -0.5).any() and (scaled.abs() < 0.3).any()
    plain = make("Counting")
    (batch,) = played(plain, "Counting")
    batch["reward"] = torch.where(scaled.abs() > 0.4, 0.4 * scaled.sign(), scaled)
    wanted = plain.prepare(batch)
    for name in ("advantage", "target"):
        assert_allclose(told[name], wanted[name])


def test_the_largest_reward_follows_its_schedule() -> None:
    agent = make("Counting", clip_reward=Geometric(0.5, 8.0))
    (batch,) = played(agent, "Counting")
    batch["reward"] = torch.randn(batch.reward.shape) * 8
    for progress, most in ((0.0, 0.5), (0.5, 2.0), (1.0, 8.0)):
        agent.progress = progress
        fixed = make("Counting", clip_reward=most)
        wanted, told = fixed.prepare(batch), agent.prepare(batch)
        for name in ("advantage", "target"):
            assert_allclose(told[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_the_discount_follows_its_schedule() -> None:
    agent = make("Counting", gamma=Discount(0.9, 0.999))
    assert agent.gamma == pytest.approx(0.9)  # which replays and the scale of rewards use
    (batch,) = played(agent, "Counting")
    for progress, gamma in ((0.0, 0.9), (0.5, 0.99), (1.0, 0.999)):
        agent.progress = progress
        fixed = make("Counting", gamma=gamma)
        told, wanted = agent.prepare(batch), fixed.prepare(played(fixed, "Counting")[0])
        for name in ("advantage", "target"):
            assert_allclose(told[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_no_schedule_depends_on_the_learning_rate() -> None:
    """A constant learning rate, and one that rises, leave all of them as they are."""
    schedules = {"gamma": Discount(0.9, 0.99), "clip_reward": Geometric(0.5, 8.0)}
    told = []
    for factor in (1.0, 0.5, 0.0, 2.0):
        agent = make("Counting", **schedules)
        agent.progress, agent.optim.lr_factor = 0.5, factor
        told.append(agent.prepare(played(agent, "Counting")[0]))
    for rows in told[1:]:
        assert torch.equal(rows.target, told[0].target)


def test_the_largest_log_std_follows_its_schedule_and_a_smaller_one_stays() -> None:
    agent = make("Counting", log_std=-0.5, max_log_std=Linear(-0.5, -2.5), lr=0.0)
    for progress, log_std in ((0.0, -0.5), (0.25, -1.0), (1.0, -2.5), (0.0, -2.5)):
        agent.progress = progress
        agent.learn(played(agent, "Counting")[0])
        assert_allclose(agent.head.log_std.detach(), torch.full_like(agent.head.log_std, log_std))
    (batch,) = played(agent, "Counting")
    drawn = batch["raw"] - torch.from_numpy(agent.actor.forward_numpy(batch.obs.numpy()))
    assert float(drawn.abs().max()) < 5 * math.exp(-2.5)


@pytest.mark.parametrize(
    ("name", "options"), [("Counting", {"state_std": True}), ("CountingDiscrete", {})]
)
def test_a_bound_needs_a_log_std_that_is_a_parameter(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"agent\.max_log_std=-1\.0 bounds a log std"):
        make(name, max_log_std=-1.0, **options)


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


@WORLDS
def test_greedy_actions_draw_nothing(name: str) -> None:
    agent = make(name)
    (batch,) = played(agent, name)
    before = agent.rng.act.get_state()
    action, _, extras = agent.act(batch.obs[0].numpy(), {}, None)
    assert extras == {} and torch.equal(agent.rng.act.get_state(), before)
    x = agent.actor(batch.obs[0]).detach()
    wanted = x.argmax(-1) if agent.head.tensors == [] else x.clip(-1, 1)
    assert_allclose(action, wanted, atol=1e-5)


def learned(name: str, make_agent: Callable[..., Agent], **changes: Any) -> Ended:
    """A short sequential run on rollouts."""
    options: dict[str, Any] = {
        "num_envs": 8,
        "rollout_length": 32,
        "warmup": 0,
        "updates_per_env_step": None,
    }
    options |= {"make_replay": Rollout, "lr_schedule": lambda share: 1 - share, **changes}
    return run(Sequential(), job(world(name), make_agent, **options))


def greedy_return(ended: Ended, name: str, episodes: int = 64) -> float:
    """The mean return of the final policy without noise, over one episode in each of many envs."""
    agent = laid(ended.job.make_agent(ended.job.spec, 0))
    agent.vector.load("all", ended.floats)
    env = world(name)(num_envs=episodes, seed=99)
    obs, state = np.array(env.reset()[0]), agent.initial_state(episodes)
    returns, over = np.zeros(episodes), np.zeros(episodes, bool)
    while not over.all():
        action, state, _ = agent.act(obs, state, None)
        obs, reward, terminated, truncated, _ = env.step(action)
        returns += np.where(over, 0, reward)
        over |= terminated | truncated
    env.close()
    return float(returns.mean())


@ADAMS
@pytest.mark.parametrize("name", ["Identity", "IdentityDiscrete"])
def test_it_learns_to_repeat_what_it_sees(name: str, fused: bool) -> None:
    """The best return is 0, a uniform policy's about -7. A few seconds."""
    agent = functools.partial(ppo, fused=fused, lr=1e-2, epochs=4, scale_reward=True)
    assert greedy_return(learned(name, agent, env_steps=8000), name) > -0.3


@WORLDS
def test_the_same_run_twice_ends_with_the_same_bits(name: str) -> None:
    agent = functools.partial(ppo, normalise=True, scale_reward=True)
    one, two = (learned(name, agent, env_steps=600, rollout_length=16) for _ in range(2))
    assert one.totals["updates"] == two.totals["updates"] >= 8
    assert torch.equal(one.floats, two.floats)
