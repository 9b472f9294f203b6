"""PPO and actor-critic in small: agents, the batches that they collect, and short runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.wrappers.vector import TransformObservation
from torch import Tensor
from torch.distributions import Categorical, Normal

from agents.base import Agent, Batch, Spec
from agents.parts.optim import Local
from agents.ppo import PPO
from envs.make import describe
from paradigms.experience.rollout import Rollout
from paradigms.loop.actor import Actor
from paradigms.sequential import Sequential
from tests.jobs import Ended, job, laid, run, world

ROLLOUT, ENVS = 24, 3
GAMMA, LAM = 0.9, 0.8
ADAMS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
KINDS = pytest.mark.parametrize("name", ["Counting", "CountingDiscrete"])


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
    replay = Rollout(spec, writers=1, num_envs=ENVS, rollout_length=ROLLOUT, gamma=agent.gamma)
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


def tanh_net(tensors: list[Tensor], x: Tensor) -> Tensor:
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
