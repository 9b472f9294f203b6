"""A setting out of its range is refused in one sentence that names the key, the value and what is
allowed: by constructors, and on the command line before anything is trained."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import train
from agents.actor_critic import ActorCritic
from agents.base import Agent, above, at_least, within
from agents.dqn import DQN
from agents.parts.explore import Epsilon, Warmup
from agents.parts.schedule import Geometric, Linear
from agents.parts.vector import Vector
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from conf import check
from conf.compose import compose
from conf.nodes import made
from conf.sentences import Wrong
from envs.make import describe
from paradigms.experience.prioritized import Prioritized
from tests.jobs import DISCRETE, SMALL, world

BOX, CHOICES = describe(world()), describe(DISCRETE)
SPECS = {SAC: BOX, TD3: BOX, PPO: BOX, ActorCritic: BOX, DQN: CHOICES, DiscreteSAC: CHOICES}

ALL = [
    ({"lr": -1e-3}, "agent.lr=-0.001 must be 0 or more"),
    ({"lr": math.nan}, "agent.lr=nan must be 0 or more"),
    ({"gamma": 1.5}, "agent.gamma=1.5 must lie in [0, 1]"),
    ({"gamma": -0.1}, "agent.gamma=-0.1 must lie in [0, 1]"),
]
ADAM = [
    ({"clip": 0.0}, "agent.clip=0.0 must be above 0"),
    ({"eps": 0.0}, "agent.eps=0.0 must be above 0"),
]
BETAS = [
    ({"betas": [0.9, 1.0]}, "agent.betas=[0.9, 1.0] must be two numbers in [0, 1)"),
    ({"betas": [-0.1, 0.9]}, "agent.betas=[-0.1, 0.9] must be two numbers in [0, 1)"),
    ({"betas": [0.9]}, "agent.betas=[0.9] must be two numbers in [0, 1)"),
]
N_STEP = [({"n_step": 0}, "agent.n_step=0 must be 1 or more")]
TAU = [
    ({"tau": 1.5}, "agent.tau=1.5 must lie in [0, 1]"),
    ({"tau": -0.1}, "agent.tau=-0.1 must lie in [0, 1]"),
]
AVERAGE = [({"average": -0.1}, "agent.average=-0.1 must lie in [0, 1]")]
HOLD = [({"action_hold": 0}, "agent.action_hold=0 must be 1 or more")]
TEMPERATURE = [
    ({"temperature": 0.0}, "agent.temperature=0.0 must be auto or a number above 0"),
    ({"temperature": "atuo"}, "agent.temperature=atuo must be auto or a number above 0"),
    ({"initial_temperature": 0.0}, "agent.initial_temperature=0.0 must be above 0"),
]
CRITIC_LR = [({"critic_lr": -1.0}, "agent.critic_lr=-1.0 must be 0 or more")]
LAM = [({"lam": 1.01}, "agent.lam=1.01 must lie in [0, 1]")]

REFUSED: dict[type[Agent], list[tuple[dict[str, Any], str]]] = {
    SAC: [
        *(*ALL, *ADAM, *BETAS, *N_STEP, *TAU, *AVERAGE, *HOLD, *TEMPERATURE, *CRITIC_LR),
        ({"actor_lr": -1.0}, "agent.actor_lr=-1.0 must be 0 or more"),
        ({"temperature_lr": -1.0}, "agent.temperature_lr=-1.0 must be 0 or more"),
        ({"critics": 0}, "agent.critics=0 must be 1 or more"),
        ({"quantiles": -1}, "agent.quantiles=-1 must be 0 or more"),
    ],
    DiscreteSAC: [*ALL, *N_STEP, *TAU, *TEMPERATURE],
    TD3: [
        *(*ALL, *N_STEP, *TAU, *HOLD),
        ({"actor_lr": -1.0}, "agent.actor_lr=-1.0 must be 0 or more"),
        *CRITIC_LR,
        ({"delay": 0}, "agent.delay=0 must be 1 or more"),
        ({"critics": 0}, "agent.critics=0 must be 1 or more"),
        ({"smoothing": -0.1}, "agent.smoothing=-0.1 must be 0 or more"),
        ({"smoothing_clip": -0.1}, "agent.smoothing_clip=-0.1 must be 0 or more"),
        ({"noise_std": -0.1}, "agent.noise_std=-0.1 must be 0 or more"),
    ],
    DQN: [
        *(*ALL, *ADAM, *BETAS, *N_STEP, *TAU, *AVERAGE),
        ({"period": 0}, "agent.period=0 must be 1 or more"),
        ({"huber": 0.0}, "agent.huber=0.0 must be above 0"),
        ({"head": "categorical", "atoms": 1}, "agent.atoms=1 must be 2 or more"),
        ({"head": "quantile", "atoms": 0}, "agent.atoms=0 must be 1 or more"),
    ],
    PPO: [
        *(*ALL, *ADAM, *CRITIC_LR, *LAM),
        ({"clip_reward": 0}, "agent.clip_reward=0 must be above 0"),
        ({"clip_reward": Linear(1.0, 0.0)}, "agent.clip_reward.end=0.0 must be above 0"),
        ({"gamma": Linear(0.9, 1.5)}, "agent.gamma.end=1.5 must lie in [0, 1]"),
        ({"gamma": "high"}, "agent.gamma=high must be a number or a schedule"),
        ({"entropy": -0.1}, "agent.entropy=-0.1 must be 0 or more"),
        ({"entropy": Linear(-1.0, 0.0)}, "agent.entropy.start=-1.0 must be 0 or more"),
        ({"max_log_std": 3.0}, "agent.max_log_std=3.0 must lie in [-20, 2]"),
        ({"max_log_std": Linear(0.0, -21.0)}, "agent.max_log_std.end=-21.0 must lie in [-20, 2]"),
        ({"epochs": 0}, "agent.epochs=0 must be 1 or more"),
        ({"minibatches": 0}, "agent.minibatches=0 must be 1 or more"),
        ({"clip_ratio": 0.0}, "agent.clip_ratio=0.0 must be above 0"),
        ({"clip_value": 0.0}, "agent.clip_value=0.0 must be above 0"),
        ({"target_kl": 0.0}, "agent.target_kl=0.0 must be above 0"),
    ],
    ActorCritic: [
        *(*ALL, *ADAM, *BETAS, *CRITIC_LR, *LAM),
        ({"n": 0}, "agent.n=0 must be 1 or more"),
        ({"rho_bar": 0.0}, "agent.rho_bar=0.0 must be above 0"),
        ({"c_bar": 0.0}, "agent.c_bar=0.0 must be above 0"),
        ({"lstm": -1}, "agent.lstm=-1 must be 0 or more"),
    ],
}
OTHERS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (Warmup, {"steps": -1}, "explore.steps=-1 must be 0 or more"),
    (Warmup, {"steps": 0, "min_random": 1.5}, "explore.min_random=1.5 must lie in [0, 1]"),
    (Epsilon, {"warmup": 0, "steps": -1}, "explore.steps=-1 must be 0 or more"),
    (Epsilon, {"warmup": -1, "steps": 1}, "explore.warmup=-1 must be 0 or more"),
    (Epsilon, {"warmup": 0, "steps": 1, "start": 2.0}, "explore.start=2.0 must lie in [0, 1]"),
    (Epsilon, {"warmup": 0, "steps": 1, "final": -1.0}, "explore.final=-1.0 must lie in [0, 1]"),
    (
        Epsilon,
        {"warmup": 0, "steps": 1, "epsilon_spread": -2.0},
        "explore.epsilon_spread=-2.0 must be 0 or more",
    ),
]
REPLAYS = [
    ({"alpha": -1.0}, "replay.alpha=-1.0 must be 0 or more"),
    ({"beta": 1.5}, "replay.beta=1.5 must lie in [0, 1]"),
    ({"epsilon": 0.0}, "replay.epsilon=0.0 must be above 0"),
    ({"beta_samples": 0}, "replay.beta_samples=0 must be 1 or more"),
]


def built(kind: Any, **options: Any) -> Agent:
    agent: Agent = kind(SPECS[kind], 0, **{**SMALL, **options})
    Vector(agent)
    return agent


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_an_agent_refuses_what_is_out_of_range(
    kind: type[Agent], subtests: pytest.Subtests
) -> None:
    for options, said in REFUSED[kind]:
        with subtests.test(said), pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            built(kind, **options)


def test_exploration_refuses_what_is_out_of_range(subtests: pytest.Subtests) -> None:
    for make, options, said in OTHERS:
        with subtests.test(said):
            with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
                make(**options)


def test_a_prioritized_replay_refuses_what_is_out_of_range(subtests: pytest.Subtests) -> None:
    for options, said in REPLAYS:
        with subtests.test(said):
            with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
                Prioritized(BOX, capacity=100, writers=1, num_envs=1, rollout_length=4, **options)


ALLOWED = [
    (SAC, {"gamma": 0.0, "tau": 0.0, "average": 1.0, "critics": 1, "temperature": 1e-9}),
    (SAC, {"lr": 0.0, "betas": [0.0, 0.0], "clip": None, "quantiles": 1, "drop": 0}),
    (DiscreteSAC, {"gamma": 1.0, "tau": 1.0, "temperature": 5}),
    (TD3, {"tau": 1.0, "delay": 1, "smoothing_clip": 0.0, "noise_std": 0.0, "action_hold": 1}),
    (DQN, {"period": 1, "head": "categorical", "atoms": 2}),
    (DQN, {"period": None, "head": "quantile", "atoms": 1, "huber": 1e-9}),
    (PPO, {"gamma": 1.0, "entropy": 0.0, "clip_reward": Geometric(1.0, 1e-9)}),
    (PPO, {"lam": 0.0, "epochs": 1, "minibatches": 1, "target_kl": None, "clip": None}),
    (ActorCritic, {"lam": 1.0, "n": 1, "rho_bar": 1e-9, "lstm": 0}),
]


def test_the_ends_of_the_ranges_are_allowed(subtests: pytest.Subtests) -> None:
    for kind, options in ALLOWED:
        with subtests.test(kind=kind.__name__, **options):
            built(kind, **options)


RATES = [
    (SAC, "actor"),
    (SAC, "critic"),
    (SAC, "temperature"),
    (TD3, "actor"),
    (TD3, "critic"),
    (PPO, "critic"),
    (ActorCritic, "critic"),
]


def test_a_rate_of_its_own_may_be_0_and_null_is_lr() -> None:
    for kind, group in RATES:
        for own, rate in ((0.0, 0.0), (0.25, 0.25), (None, 0.5)):
            assert built(kind, lr=0.5, **{f"{group}_lr": own}).groups[group].lr == rate


def test_an_agent_of_the_users_own_is_checked_as_its_vector_is_laid_out() -> None:
    agent = SAC(BOX, 0, **SMALL)
    agent.follows["target"] = ("critic", 2.0)
    with pytest.raises(ValueError, match=r"agent\.follows\.target=2\.0 must lie in \[0, 1\]"):
        Vector(agent)


def test_none_passes_and_nan_does_not() -> None:
    for passes in (at_least, above):
        passes(0, x=None)
        with pytest.raises(ValueError, match=r"part\.x=nan"):
            passes(0, "part", x=math.nan)
    within(0, 1, x=None)
    with pytest.raises(ValueError, match=r"agent\.x=nan must lie in \[0, 1\]"):
        within(0, 1, x=math.nan)


TYPED = [
    ("agent.gamma=2", "agent.gamma=2 must be a number in [0, 1]"),
    ("agent=td3 agent.tau=2", "agent.tau=2 must be a number in [1e-06, 1]"),
    ("explore.min_random=2", "explore.min_random=2 must be a number in [0, 1]"),
    ("agent=dqn env=cartpole explore.final=2", "explore.final=2 must be a number in [0, 1]"),
    ("lr_schedule.hold=0.9 lr_schedule.until=0.5", "must lie in [0, lr_schedule.until=0.5]"),
    ("lr_schedule.end=-1", "lr_schedule.end=-1 must be a number in [0, 1000]"),
    ("agent=ppo env=walker agent.gamma.end=1", "schedule.end=1 must lie in [0, 1)"),
    ("agent=ppo env=walker agent.entropy.hold=1", "schedule.hold=1 must lie in [0, schedule.until"),
    ("agent=ppo env=pendulum agent.gamma=high", "agent.gamma=high must be a number"),
    (
        "replay=prioritized replay.beta_samples=0",
        "replay.beta_samples=0 must be a whole number of at least 1",
    ),
    ("paradigm=dupdate paradigm.merge=nonsense", "must be one of delta, damped, elastic, mean"),
]


def test_what_was_typed_is_refused_before_anything_is_started(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for typed, said in TYPED:
        with subtests.test(typed):
            setup = compose([*typed.split(), "crew=inline"])
            with pytest.raises(Wrong) as caught:
                check.values(setup)
                train.build(setup, tmp_path, 0.0, first=False)
            assert said in str(caught.value)
            assert "\n" not in str(caught.value)


def test_what_is_wrong_within_a_constructor_keeps_its_traceback() -> None:
    with pytest.raises(TypeError, match="unsupported type"):
        made({"_target_": "datetime.timedelta", "days": "many"})
