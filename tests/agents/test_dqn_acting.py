"""DQN's networks and their noise, how it acts, what its support clips, and that it learns."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from agents.base import Agent
from agents.parts.explore import Warmup
from agents.parts.heads import Categorical
from paradigms.sequential import Sequential
from tests.agents.reference import SIZE
from tests.agents.test_dqn import ACTIONS, CASES, ENV, HEADS, PARTS, SPEC, batch, dqn, make
from tests.jobs import job, laid, run


@pytest.mark.parametrize(("part", "head"), CASES)
def test_the_numpy_forward_is_the_torch_forward(part: str, head: str) -> None:
    agent, obs = make(head=head, **PARTS[part]), batch().obs
    noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
    for drawn in (None, noise):
        z = agent.online(obs, drawn).detach()
        fast = agent.online.forward_numpy(obs.numpy(), None if drawn is None else drawn.numpy())
        assert_allclose(fast, z, atol=1e-5)
        assert_allclose(agent.head.value_numpy(fast), agent.head.value(z), atol=1e-5)


def test_noise_is_one_draw_a_transition_or_one_for_all() -> None:
    agent, obs = make(**PARTS["everything"]), batch().obs
    noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
    assert noise is not None
    every = agent.online(obs, noise)
    for row in (0, 5):
        alone = agent.online(obs, noise[row : row + 1])
        assert_allclose(alone[row].detach(), every[row].detach(), atol=1e-5)
    assert (alone[0] - every[0]).abs().max() > 1e-3


def test_noisy_nets_act_greedily_without_noise_and_explore_with_one_draw_an_observation() -> None:
    agent = make(noisy=True, dueling=True)
    obs = np.zeros((200, 3), np.float32)
    before = agent.rng.act.get_state()
    greedy = [agent.act(obs, {}, None).action for _ in range(2)]
    assert len(np.unique(greedy)) == 1
    assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"
    one, two = (agent.act(obs, {}, 0.0).action for _ in range(2))
    assert len(np.unique(one)) > 1 and len(np.unique(two)) > 1
    assert (one != two).any()


def test_what_is_stored_are_the_values_of_the_action_and_of_the_best_one() -> None:
    agent, obs = make(store_q=True), batch().obs
    action, _, extras = agent.act(obs.numpy(), {}, 0.5)
    q = agent.head.value(agent.online(obs)).detach()
    assert_allclose(extras["q"], q[torch.arange(SIZE), torch.from_numpy(action)], atol=1e-6)
    assert_allclose(extras["value"], q.amax(-1), atol=1e-6)
    assert (extras["q"] < extras["value"] - 1e-6).any(), "some actions explore"


def test_acting_follows_weights_that_have_moved_to_other_storage() -> None:
    """Hogwild binds an agent that may have acted already to one shared vector."""
    for noisy in [False, True]:
        agent, obs = make(noisy=noisy, dueling=True), batch().obs
        noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
        drawn = None if noise is None else noise.numpy()
        before = agent.online.forward_numpy(obs.numpy(), drawn)
        agent.vector.bind(2 * agent.vector.floats, agent.vector.counts.clone())
        after = agent.online.forward_numpy(obs.numpy(), drawn)
        assert_allclose(after, agent.online(obs, noise).detach(), atol=1e-4)
        assert np.abs(after - before).max() > 0.1


def test_epsilon_may_differ_from_env_to_env() -> None:
    agent, obs = make(), batch().obs[:1].repeat(9000, 1).numpy()
    explore = np.repeat(np.array([0.0, 0.3, 1.0], np.float32), 3000)
    action = agent.act(obs, {}, explore).action
    best = agent.act(obs[:1], {}, None).action[0]
    share = (action == best).reshape(3, 3000).mean(1)
    assert_allclose(share, [1.0, 0.8, 1 / 3], atol=0.03)
    assert action.dtype == np.int64


def learner(env_steps: int = 600, **options: Any) -> Any:
    return job(
        ENV,
        functools.partial(dqn, **{"lr": 3e-3, "gamma": 0.0, **options}),
        explore=Warmup(200, min_random=0.1),
        env_steps=env_steps,
        warmup=100,
        num_envs=4,
        batch_size=32,
    )


LEARNING: dict[str, dict[str, Any]] = {
    "value": {},
    "hard target": {"period": 20},
    "quantile": {"head": "quantile"},
    "everything, plain Adam": {"head": "categorical", "fused": False, **PARTS["everything"]},
}


@pytest.mark.parametrize("options", LEARNING.values(), ids=LEARNING)
def test_the_agent_learns_to_name_what_it_sees(options: dict[str, Any]) -> None:
    """Discrete identity: the best return is 0. A second or two."""
    ended = run(Sequential(), learner(**options))
    learned: Agent = laid(ended.job.make_agent(ended.job.spec, seed=0, device="cpu"))
    learned.vector.load("all", ended.floats)
    answers = learned.act(np.eye(3, dtype=np.float32), {}, None).action
    assert answers.tolist() == [0, 1, 2]


SUPPORTS = [
    (0.0, 100.0, -1.0, 1, 1.0),  # one atom holds it all
    (-100.0, 0.0, -1.0, 0, 0.0),  # the support covers the returns
    (-1.0, 1.0, -9.0, 11, 1.0),  # every atom
]


def test_what_a_support_that_misses_the_returns_clips_is_counted() -> None:
    """Eleven atoms, all probability on a next value of 0, a discount of 0.95."""
    for v_min, v_max, reward, atoms, share in SUPPORTS:
        head = Categorical(11, v_min, v_max)
        z = torch.where(head.support.abs() < 1e-6, 30.0, -30.0).expand(4, -1)
        metrics = head.loss(z, z, torch.full((4,), reward), torch.full((4,), 0.95)).metrics
        assert_allclose(metrics["q/clipped_atoms"], [atoms] * 4)
        assert_allclose(metrics["q/clipped_share"], [share] * 4, atol=1e-6)


def test_a_categorical_agent_logs_what_its_support_clips_and_others_do_not() -> None:
    logged = {head: make(head=head).learn(batch()).metrics for head in HEADS[1:]}
    assert logged["categorical"]["q/clipped_share"].shape == (SIZE,)
    assert "q/clipped_share" not in logged["quantile"]


def test_an_evaluator_uses_the_average_where_there_is_one() -> None:
    agent, plain = make(average=0.1), make()
    for each in (agent, plain):
        each.learn(batch())
        before = each.vector.flat("q").clone()
        each.use_average()
        assert torch.equal(each.vector.flat("q"), before) == (each is plain)
    assert torch.equal(agent.vector.flat("q"), agent.vector.flat("average"))


def test_dueling_advantages_have_mean_zero() -> None:
    for head in HEADS:
        agent = make(dueling=True, head=head)
        z = agent.online(batch().obs)
        value = agent.online.streams[0](agent.online.trunk(batch().obs))
        assert z.shape == (SIZE, ACTIONS, agent.head.size)
        assert_allclose(z.mean(1).detach(), value.detach(), atol=1e-5)
        assert (z - value[:, None]).abs().max() > 0.01


def test_an_update_draws_three_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    """For online(s), online(s') and target(s'): they must not be the same."""
    agent, seen = make(**PARTS["everything"]), []
    call = type(agent.online).__call__

    def spy(net: Any, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        assert noise is not None
        seen.append((net is agent.target, noise))
        return call(net, obs, noise)

    monkeypatch.setattr(type(agent.online), "__call__", spy)
    agent.learn(batch())
    assert [target for target, _ in seen] == [True, False, False]
    assert len({float(noise[0, 0]) for _, noise in seen}) == 3


def test_what_cannot_be_is_refused() -> None:
    for wrong, sentence in [
        ({"head": "mean"}, "choose value, categorical or quantile"),
        ({"head": "categorical", "v_min": 3.0, "v_max": 3.0}, "agent.v_min=3 must be below"),
        ({"hidden_sizes": ()}, "agent.hidden_sizes"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            dqn(SPEC, 0, **wrong)
