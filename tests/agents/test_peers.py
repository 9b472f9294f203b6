"""Returns, projections and quantile losses against published implementations, where installed."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from agents.parts.distributions import categorical_projection, quantile_huber
from agents.parts.returns import gae, monte_carlo, n_step_return, vtrace
from tests.agents.fragments import GAMMA, rollout
from tests.agents.test_distributions import close, normal
from tests.agents.test_returns import EXACT
from tests.agents.test_returns import close as assert_returns


def others(name: str) -> Any:
    """A published implementation, where it is installed; its warnings are not ours."""
    pytest.importorskip(name.split(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def test_gae_is_stable_baselines_3s() -> None:
    """Which knows one kind of end: a truncated episode's bootstrap is put into its last reward."""
    for seed in range(5):
        buffers, steps, envs = others("stable_baselines3.common.buffers"), 40, 3
        r = rollout(steps, envs, seed, torch.float32)
        box = Box(-1, 1, (1,))
        theirs = buffers.RolloutBuffer(
            steps, box, box, "cpu", gae_lambda=0.95, gamma=GAMMA, n_envs=envs
        )
        theirs.values[:] = r.value
        theirs.rewards[:] = r.reward + torch.where(r.cut, r.discount * r.next_value, 0)
        theirs.episode_starts[1:] = r.cut[:-1]
        theirs.compute_returns_and_advantage(r.next_value[-1], r.cut[-1].numpy())
        advantage, target = gae(r.reward, r.discount, r.value, r.next_value, r.cut, 0.95)
        assert_returns(advantage, theirs.advantages)
        assert_returns(target, theirs.returns)


@pytest.mark.parametrize("dtype", EXACT)
def test_gae_and_vtrace_are_torchrls(dtype: torch.dtype) -> None:
    """Which keeps gamma, lam and clips in float32: these lose nothing by that."""
    torchrl = others("torchrl.objectives.value.functional")
    gamma, lam = 0.875, 0.75
    r = rollout(50, 3, seed=7, dtype=dtype)
    r = r._replace(discount=gamma * (r.discount > 0).to(dtype))
    shown = {
        "state_value": r.value,
        "next_state_value": r.next_value,
        "reward": r.reward,
        "done": r.cut,
        "terminated": r.discount == 0,
    }
    shown = {name: column.T[..., None] for name, column in shown.items()}
    theirs = torchrl.generalized_advantage_estimate(gamma, lam, **shown)
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    for mine, other in zip(gae(*five, lam), theirs, strict=True):
        assert_returns(mine, other[..., 0].T)
    log_pi = r.log_ratio.T[..., None]
    push, v = torchrl.vtrace_advantage_estimate(
        gamma, log_pi, torch.zeros_like(log_pi), **shown, rho_thresh=1.25, c_thresh=0.875
    )
    mine_v, mine_push = vtrace(r.log_ratio, *five, rho_bar=1.25, c_bar=0.875, rho_pg=1.25)
    assert_returns(mine_v, v[..., 0].T)
    assert_returns(mine_push, push[..., 0].T)


@pytest.mark.parametrize("lam", [1.0, 0.7])
def test_every_return_is_rlaxs(lam: float) -> None:
    """rlax cuts by a discount of 0 alone, so these episodes terminate, in one slot."""
    rlax = others("rlax")
    r = rollout(30, 1, seed=3, dtype=torch.float32)
    r = r._replace(cut=r.discount == 0, next_value=torch.cat((r.value[1:], r.next_value[-1:])))
    reward, discount, value, next_value, _, ratio = (
        column[:, 0].numpy() for column in r._replace(log_ratio=r.log_ratio.exp())
    )
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    values = np.append(value, next_value[-1:])
    advantage = rlax.truncated_generalized_advantage_estimation(reward, discount, lam, values)
    assert_returns(gae(*five, lam)[0][:, 0], advantage)
    four = (r.reward, r.discount, r.next_value, r.cut)
    assert_returns(
        n_step_return(*four, 3)[:, 0],
        rlax.n_step_bootstrapped_returns(reward, discount, next_value, 3),
    )
    assert_returns(monte_carlo(*four)[:, 0], rlax.discounted_returns(reward, discount, next_value))
    clips = {"clip_rho_threshold": 1.3, "clip_pg_rho_threshold": 1.1}
    theirs = rlax.vtrace_td_error_and_advantage(
        value, next_value, reward, discount, ratio, lam, **clips
    )
    v, push = vtrace(r.log_ratio, *five, lam=lam, rho_bar=1.3, rho_pg=1.1)
    assert_returns(v[:, 0] - r.value[:, 0], theirs.errors)
    if lam == 1:
        assert_returns(push[:, 0], theirs.pg_advantage)


def test_the_quantile_loss_is_sb3_contribs() -> None:
    theirs = others("sb3_contrib.common.utils").quantile_huber_loss
    predicted, target = normal(0, 16, 7, dtype=torch.float32), normal(1, 16, 5, dtype=torch.float32)
    taus = (torch.arange(7) + 0.5) / 7
    mine = quantile_huber(predicted, 3 * target, taus)
    close(mine.mean(), theirs(predicted, 3 * target))
    close(mine.mean() / 7, theirs(predicted, 3 * target, sum_over_quantiles=False))


def test_the_projection_is_pfrls() -> None:
    theirs = others("pfrl.agents.categorical_dqn")._apply_categorical_projection
    z = torch.linspace(-10, 10, 51)
    probs, reward = normal(0, 16, 51, dtype=torch.float32).softmax(1), normal(1, 16, 1).float()
    atoms = 5 * reward + 0.99 * z
    close(categorical_projection(probs, atoms, z), theirs(atoms, probs, z))


def test_both_are_rlaxs() -> None:
    rlax = others("rlax")
    z = torch.linspace(-10, 10, 51)
    probs, reward = normal(0, 4, 51, dtype=torch.float32).softmax(1), normal(1, 4, 1).float()
    atoms = 5 * reward + 0.99 * z
    mine = categorical_projection(probs, atoms, z)
    predicted, target = normal(2, 4, 7, dtype=torch.float32), normal(3, 4, 5, dtype=torch.float32)
    taus = (torch.arange(7) + 0.5) / 7
    loss = quantile_huber(predicted, 3 * target, taus)
    for b in range(4):
        one = rlax.categorical_l2_project(atoms[b].numpy(), probs[b].numpy(), z.numpy())
        close(mine[b], one)
        row = (predicted[b].numpy(), taus.numpy(), 3 * target[b].numpy())
        close(loss[b], rlax.quantile_regression_loss(*row, huber_param=1.0))
