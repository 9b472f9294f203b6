"""Agents learn from images within seconds: the way of a dot that only two of them tell (the best
return is 7.25, one image alone gives 2), and a spot to be moved onto a mark (-0.4; -11 at
random)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from agents.actor_critic import ActorCritic
from agents.base import Agent
from agents.dqn import DQN
from agents.parts.explore import Epsilon, Warmup
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from paradigms.experience.rollout import Rollout
from tests.jobs import PARADIGMS, job, laid, run, world

pytestmark = pytest.mark.slow

KEPT: dict[str, Any] = {"num_envs": 4, "warmup": 200, "batch_size": 32}
ONCE = {"updates_per_env_step": None, "warmup": 0, "batch_size": None, "make_replay": Rollout}
EPSILON = {**KEPT, "explore": Epsilon(200, 1000), "updates_per_env_step": 0.5}


def drift(size: int, stack: int = 2) -> Callable[..., Any]:
    return world("Drift", kwargs={"size": size}, stack=stack)


def spot(size: int) -> Callable[..., Any]:
    return world("Spot", kwargs={"size": size})


def returned(worlds: Callable[..., Any], agent: Agent, length: int) -> float:
    """The mean return of the greedy policy's first 40 episodes."""
    env = worlds(num_envs=40)
    (obs, _), state, total = env.reset(seed=7), agent.initial_state(40), 0.0
    for _ in range(length):
        action, state, _ = agent.act(obs, state, None)
        obs, reward, *_ = env.step(action)
        total += float(reward.mean())
    env.close()
    return total


def learned(make: Any, worlds: Callable[..., Any], length: int, **changes: Any) -> float:
    ended = run(PARADIGMS["sequential"], job(worlds, make, **changes))
    agent = laid(make(ended.job.spec, 0))
    agent.vector.load("all", ended.floats)
    return returned(worlds, agent, length)


def test_dqn_with_the_convolutions_of_its_paper_sees_motion_in_two_images_and_none_in_one() -> None:
    dqn = functools.partial(
        DQN, encoder="nature", features=0, hidden_sizes=(256,), lr=1e-3, gamma=0.0
    )
    assert learned(dqn, drift(36), 8, env_steps=2000, **EPSILON) > 5
    assert learned(dqn, drift(36, stack=1), 8, env_steps=1000, **EPSILON) < 4


@pytest.mark.parametrize(("encoder", "size", "steps"), [("nature", 36, 8000), ("impala", 16, 4000)])
def test_ppo_with_a_shared_encoder_sees_motion(encoder: str, size: int, steps: int) -> None:
    ppo = functools.partial(
        PPO, encoder=encoder, features=64, hidden_sizes=(), critic_weight=0.5, lr=1e-3, gamma=0.0,
        epochs=4, minibatches=8,
    )  # fmt: skip
    few = {**ONCE, "num_envs": 8, "rollout_length": 32}
    assert learned(ppo, drift(size), 8, env_steps=steps, **few) > 5


DICT = world("IdentityDict", kwargs={"size": 8})  # who sees one of both gets -5, none -7.5


def test_dqn_reads_an_image_and_a_vector_together() -> None:
    dqn = functools.partial(DQN, encoder="conv", features=8, hidden_sizes=(32,), lr=2e-3, gamma=0.0)
    assert learned(dqn, DICT, 10, env_steps=1200, **EPSILON) > -0.5


def test_ppo_reads_an_image_and_a_vector_together() -> None:
    ppo = functools.partial(
        PPO, encoder="conv", features=8, hidden_sizes=(32,), critic_weight=0.5, lr=2e-3, gamma=0.0,
        epochs=4, minibatches=4,
    )  # fmt: skip
    few = {**ONCE, "num_envs": 8, "rollout_length": 16}
    assert learned(ppo, DICT, 10, env_steps=2500, **few) > -0.5


def test_actor_critic_sees_motion() -> None:
    a2c = functools.partial(
        ActorCritic, encoder="conv", critic_weight=0.5, lr=1e-3, gamma=0.0, returns="n_step", n=1
    )
    few = {**ONCE, "num_envs": 16, "rollout_length": 8}
    assert learned(a2c, drift(16), 8, env_steps=60_000, **few) > 5


def test_sac_moves_a_spot_that_it_sees() -> None:
    sac = functools.partial(
        SAC, encoder="nature", features=50, hidden_sizes=(64, 64), lr=1e-3, gamma=0.0,
        temperature=0.01, action_hold=1,
    )  # fmt: skip
    few = {**KEPT, "explore": Warmup(200)}
    assert learned(sac, spot(36), 25, env_steps=2000, **few) > -5


def test_discrete_sac_sees_motion() -> None:
    sac = functools.partial(
        DiscreteSAC, encoder="conv", hidden_sizes=(64, 64), lr=1e-3, gamma=0.0, temperature=0.01
    )
    few = {**KEPT, "explore": Warmup(200)}
    assert learned(sac, drift(16), 8, env_steps=1500, **few) > 5
