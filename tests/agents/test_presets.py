"""Presets that carry a paper's name have the paper's values, written here a second time."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.utils import instantiate

from agents.dqn import DQN
from agents.sac import SAC
from agents.td3 import TD3
from conf import check
from conf.compose import compose, flatten
from envs.make import describe
from tests.jobs import DISCRETE, world

PAPERS: dict[str, dict[str, Any]] = {
    # Hessel et al. 2018, table 1; a step is 4 frames, an update 4 steps; the norm is dqn_zoo's
    "rainbow": {
        "warmup": 80_000 // 4,
        "updates_per_env_step": 1 / 4,
        "replay.batch_size": 32,
        "replay.alpha": 0.5,
        "replay.beta": 0.4,
        "agent.lr": 0.0000625,
        "agent.eps": 1.5e-4,
        "agent.clip": 10,
        "agent.gamma": 0.99,
        "agent.n_step": 3,
        "agent.period": 32_000 // 4 // 4,
        "agent.atoms": 51,
        "agent.v_min": -10,
        "agent.v_max": 10,
        "agent.sigma": 0.5,
        "explore.start": 0,
        "explore.final": 0,
    },
    # Kuznetsov et al. 2020, appendix; structures.py of the authors' code
    "tqc": {
        "agent.hidden_sizes": [256, 256],
        "agent.critic_hidden_sizes": [512, 512, 512],
        "agent.critics": 5,
        "agent.quantiles": 25,
        "agent.drop": 2,
        "agent.lr": 3e-4,
        "agent.tau": 0.005,
        "replay.batch_size": 256,
    },
    # Lillicrap et al. 2016, section 7
    "ddpg": {
        "agent.hidden_sizes": [400, 300],
        "agent.actor_lr": 1e-4,
        "agent.critic_lr": 1e-3,
        "agent.tau": 0.001,
        "agent.gamma": 0.99,
        "agent.critics": 1,
        "agent.smoothing": 0,
        "agent.delay": 1,
        "replay.batch_size": 64,
        "replay.capacity": 1_000_000,
    },
    # the defaults of spinup/algos/pytorch/sac/sac.py
    "sac_spinningup": {
        "explore.steps": 10_000,  # start_steps
        "warmup": 1_000,  # update_after
        "rollout_length": 50,  # update_every
        "num_envs": 1,
        "updates_per_env_step": 1,
        "replay.batch_size": 100,
        "replay.capacity": 1_000_000,
        "agent.hidden_sizes": [256, 256],
        "agent.lr": 1e-3,
        "agent.gamma": 0.99,
        "agent.tau": 0.005,  # 1 - polyak
        "agent.temperature": 0.2,
    },
}
WORLDS = {"rainbow": ("identity_discrete", DISCRETE)}


@pytest.mark.parametrize("name", PAPERS)
def test_a_preset_has_the_values_of_its_paper(name: str) -> None:
    env, _ = WORLDS.get(name, ("identity", None))
    setup = compose([f"agent={name}", f"env={env}"])
    check.values(setup)
    found = dict(flatten(setup.values))
    assert {key: found[key] for key in PAPERS[name]} == PAPERS[name]


def test_the_weights_of_rainbow_are_exact_at_the_end_of_the_default_budget() -> None:
    v = compose(["agent=rainbow", "env=identity_discrete"]).values
    drawn = (v["budget"]["env_steps"] - v["warmup"]) * v["updates_per_env_step"]
    assert v["replay"]["beta_samples"] == drawn * v["replay"]["batch_size"]


def built(name: str) -> Any:
    env, worlds = WORLDS.get(name, ("identity", world()))
    node = compose([f"agent={name}", f"env={env}"]).values["agent"]
    return instantiate(node, _convert_="all")(describe(worlds), seed=0)


def test_the_critics_of_tqc_have_three_layers_of_512_and_its_actor_two_of_256() -> None:
    agent: SAC = built("tqc")
    assert [tuple(w.shape) for w in agent.critic.weights] == [
        (5, 2, 512),
        (5, 512, 512),
        (5, 512, 512),
        (5, 512, 25),
    ]
    assert [tuple(w.shape)[-1] for w in agent.actor.weights] == [256, 256, 2]


def test_the_actor_and_the_critic_of_ddpg_have_rates_of_their_own() -> None:
    agent: TD3 = built("ddpg")
    assert (agent.groups["actor"].lr, agent.groups["critic"].lr) == (1e-4, 1e-3)
    assert agent.follows["target"][1] == pytest.approx(0.001)


def test_rainbow_builds() -> None:
    agent: DQN = built("rainbow")
    assert agent.head.size == 51 and agent.online.dueling and any(agent.online.widths)
