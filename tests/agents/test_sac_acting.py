"""How SAC acts: greedily, from its policy, at random, with pink noise and averaged weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests.agents.reference import ACTIONS, SIZE, batch
from tests.agents.test_sac import make


def test_greedy_actions_are_tanh_of_the_mean() -> None:
    for rows in [1, 8]:
        agent, obs = make(), batch().obs[:rows]
        before = agent.rng.act.get_state()
        action, _, extras = agent.act(obs.numpy(), agent.initial_state(rows), None)
        assert_allclose(action, torch.tanh(agent.actor(obs)[:, :ACTIONS]).detach(), atol=1e-5)
        assert action.dtype == np.float32 and extras == {}
        assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"


def test_actions_are_drawn_from_the_policy() -> None:
    for noise in ["white", "pink"]:
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


def test_an_evaluator_uses_the_average_where_there_is_one() -> None:
    agent, plain = make(average=0.1), make()
    for each in (agent, plain):
        each.learn(batch())
        before = each.vector.flat("actor").clone()
        each.use_average()
        assert torch.equal(each.vector.flat("actor"), before) == (each is plain)
    assert torch.equal(agent.vector.flat("actor"), agent.vector.flat("average"))


def test_what_is_stored_is_the_value_that_the_actor_climbs() -> None:
    for agent in (make(store_q=True), make(store_q=True, quantiles=5, drop=1)):
        obs = batch().obs
        action, _, extras = agent.act(obs.numpy(), agent.initial_state(SIZE), 0.5)
        q = agent.critics.trusted(agent.q(agent.critic, obs, torch.from_numpy(action)))
        for name in agent.extras:
            assert_allclose(extras[name], q.detach(), atol=1e-6)
        assert extras.keys() == {"q", "value"} and q.std() > 1e-3
        assert "critic" in agent.parts["act"] and "critic" not in agent.parts["evaluate"]
