"""PPO's values that change over a run: discount, largest reward and largest log std."""

from __future__ import annotations

import math

import pytest
import torch
from numpy.testing import assert_allclose

from agents.parts.schedule import Discount, Geometric, Linear
from tests.agents.rollouts import make, played


def test_a_reward_is_clipped_after_it_is_scaled() -> None:
    agent = make("Counting", scale_reward=True, clip_reward=0.4)
    (batch,) = played(agent, "Counting")
    batch["reward"][::2] *= -1
    mine = agent.prepare(batch)
    assert agent.scale is not None
    scaled = batch.reward / agent.scale.normal.moments()[1][0]
    assert (scaled > 0.5).any() and (scaled < -0.5).any() and (scaled.abs() < 0.3).any()
    plain = make("Counting")
    (batch,) = played(plain, "Counting")
    batch["reward"] = torch.where(scaled.abs() > 0.4, 0.4 * scaled.sign(), scaled)
    wanted = plain.prepare(batch)
    for name in ("advantage", "target"):
        assert_allclose(mine[name], wanted[name])


def test_the_largest_reward_follows_its_schedule() -> None:
    agent = make("Counting", clip_reward=Geometric(0.5, 8.0))
    (batch,) = played(agent, "Counting")
    batch["reward"] = torch.randn(batch.reward.shape) * 8
    for progress, most in ((0.0, 0.5), (0.5, 2.0), (1.0, 8.0)):
        agent.progress = progress
        fixed = make("Counting", clip_reward=most)
        wanted, mine = fixed.prepare(batch), agent.prepare(batch)
        for name in ("advantage", "target"):
            assert_allclose(mine[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_the_discount_follows_its_schedule() -> None:
    agent = make("Counting", gamma=Discount(0.9, 0.999))
    assert agent.gamma == pytest.approx(0.9)  # which replays and the scale of rewards use
    (batch,) = played(agent, "Counting")
    for progress, gamma in ((0.0, 0.9), (0.5, 0.99), (1.0, 0.999)):
        agent.progress = progress
        fixed = make("Counting", gamma=gamma)
        mine, wanted = agent.prepare(batch), fixed.prepare(played(fixed, "Counting")[0])
        for name in ("advantage", "target"):
            assert_allclose(mine[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_no_schedule_depends_on_the_learning_rate() -> None:
    """A constant learning rate, and one that rises, leave all of them as they are."""
    schedules = {"gamma": Discount(0.9, 0.99), "clip_reward": Geometric(0.5, 8.0)}
    mine = []
    for factor in (1.0, 0.5, 0.0, 2.0):
        agent = make("Counting", **schedules)
        agent.progress, agent.optim.lr_factor = 0.5, factor
        mine.append(agent.prepare(played(agent, "Counting")[0]))
    for rows in mine[1:]:
        assert torch.equal(rows.target, mine[0].target)


def test_the_largest_log_std_follows_its_schedule_and_a_smaller_one_stays() -> None:
    agent = make("Counting", log_std=-0.5, max_log_std=Linear(-0.5, -2.5), lr=0.0)
    for progress, log_std in ((0.0, -0.5), (0.25, -1.0), (1.0, -2.5), (0.0, -2.5)):
        agent.progress = progress
        agent.learn(played(agent, "Counting")[0])
        assert_allclose(agent.head.log_std.detach(), torch.full_like(agent.head.log_std, log_std))
    (batch,) = played(agent, "Counting")
    drawn = batch["raw"] - torch.from_numpy(agent.actor.forward_numpy(batch.obs.numpy()))
    assert float(drawn.abs().max()) < 5 * math.exp(-2.5)


def test_a_bound_needs_a_log_std_that_is_a_parameter() -> None:
    for name, options in [("Counting", {"state_std": True}), ("CountingDiscrete", {})]:
        with pytest.raises(ValueError, match=r"agent\.max_log_std=-1\.0 bounds a log std"):
            make(name, max_log_std=-1.0, **options)
