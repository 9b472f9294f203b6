"""Agents that see images: whose loss trains the encoder, who gets it, and what is refused."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.testing import assert_allclose

from agents.actor_critic import ActorCritic
from agents.base import Agent, Batch, Group, Spec
from agents.dqn import DQN
from agents.encoders.make import make_encoder
from agents.parts.explore import Epsilon
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from envs.make import describe
from tests.agents.encoders.test_images import images
from tests.jobs import AGENTS, PARADIGMS, SEEING, job, laid, run, world

SIZE, TAU = 12, 0.1
BOX = describe(world("Spot", kwargs={"size": 8}))
CHOICES = describe(world("SpotDiscrete", kwargs={"size": 8}))
SPECS: dict[Any, Spec] = {
    SAC: BOX,
    TD3: BOX,
    DQN: CHOICES,
    PPO: BOX,
    DiscreteSAC: CHOICES,
    ActorCritic: CHOICES,
}
LAGGING = {
    DiscreteSAC: ("encoder", "target_encoder"),
    SAC: ("encoder", "target_encoder"),
    TD3: ("encoder", "target_encoder"),
    DQN: ("q", "target"),
}


def drawn(kind: Any) -> Batch:
    draws = torch.Generator().manual_seed(1)
    columns = {"obs": images(SIZE, 8, 8, 3), "next_obs": images(SIZE, 8, 8, 3, seed=1)}
    columns["action"] = 2 * torch.rand((SIZE, 2), generator=draws) - 1
    if SPECS[kind] is CHOICES:
        columns["action"] = torch.randint(5, (SIZE,), generator=draws)
    columns["reward"] = torch.randn(SIZE, generator=draws)
    return Batch(columns, discount=torch.full((SIZE,), 0.9), weight=torch.ones(SIZE))


def built(kind: Any, **options: Any) -> Any:
    return laid(kind(SPECS[kind], 0, **{**SEEING, "lr": 1e-3, **options}))


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_the_critics_train_the_encoder_and_the_actor_does_not(kind: Any) -> None:
    for still, moves in ({"critic_lr": 0.0}, False), ({"actor_lr": 0.0}, True):
        agent = built(kind, **still)
        before = {name: agent.vector.flat(name).clone() for name in ("actor", "encoder")}
        for _ in range(4):
            agent.learn(drawn(kind))
        assert torch.equal(agent.vector.flat("encoder"), before["encoder"]) != moves
        assert torch.equal(agent.vector.flat("actor"), before["actor"]) == moves
        assert int(agent.groups["encoder"].count[0]) == 4


@pytest.mark.parametrize("kind", LAGGING, ids=lambda kind: kind.__name__)
def test_the_targets_have_an_encoder_that_lags_behind(kind: Any) -> None:
    agent = built(kind, tau=TAU, **({"delay": 1} if kind is TD3 else {}))
    online, target = LAGGING[kind]
    start = agent.vector.flat(target).clone()
    assert torch.equal(start, agent.vector.flat(online))
    agent.learn(drawn(kind))
    moved = agent.vector.flat(online) - start
    assert float(moved.abs().max()) > 1e-4
    assert_allclose(agent.vector.flat(target) - start, TAU * moved, atol=1e-6)


def test_the_critics_of_discrete_sac_train_the_encoder_and_the_actor_does_not() -> None:
    agent, still = built(DiscreteSAC), built(DiscreteSAC)
    for each in (agent, still):
        for name in ("encoder", "critic") if each is still else ("actor",):
            each.groups[name].lr = 0.0
        before = {name: each.vector.flat(name).clone() for name in ("actor", "encoder")}
        for _ in range(4):
            each.learn(drawn(DiscreteSAC))
        assert torch.equal(each.vector.flat("encoder"), before["encoder"]) == (each is still)
        assert torch.equal(each.vector.flat("actor"), before["actor"]) != (each is still)


class Noted:
    """Notes the gradient of each group's first step, and moves nothing."""

    lr_factor = 1.0

    def __init__(self) -> None:
        self.grads: dict[int, torch.Tensor] = {}

    def apply(self, group: Group) -> None:
        self.grads.setdefault(id(group), group.grad.clone())

    def follow(self, target: torch.Tensor, source: torch.Tensor, tau: float) -> None:
        """Nothing lags behind."""


def fragments() -> Batch:
    """Four steps of two slots, of a random policy."""
    draws = torch.Generator().manual_seed(2)
    never = torch.zeros(4, 2, dtype=torch.bool)
    columns = {"obs": images(4, 2, 8, 8, 3), "next_obs": images(4, 2, 8, 8, 3, seed=1)}
    columns |= {"action": torch.randint(5, (4, 2), generator=draws), "is_first": never}
    columns |= {name: never for name in ("terminated", "truncated")}
    columns["reward"] = torch.randn(4, 2, generator=draws)
    columns |= {"logp": torch.full((4, 2), -1.6), "discount": torch.full((4, 2), 0.9)}
    return Batch(columns, weight=torch.ones(4, 2), memory=torch.zeros(2, 4))


@pytest.mark.parametrize("kind", [PPO, ActorCritic])
def test_a_shared_encoder_moves_down_the_losses_of_actor_and_critic(kind: Any) -> None:
    options = {"epochs": 1, "minibatches": 1} if kind is PPO else {"lstm": 2}
    grads = {}
    for weight in (None, 0.0, 0.5, 1.0):
        agent = laid(kind(CHOICES, 0, critic_weight=weight, **{**SEEING, **options}))
        agent.optim = noted = Noted()
        assert agent.learn(fragments()).updates == 1
        grads[weight] = {name: noted.grads[id(group)] for name, group in agent.groups.items()}
    alone, by_critic = grads[0.0]["actor"], grads[1.0]["actor"] - grads[0.0]["actor"]
    assert float(by_critic.abs().max()) > 1e-4 and float(alone.abs().max()) > 1e-4
    assert_allclose(grads[0.5]["actor"], alone + 0.5 * by_critic, atol=1e-5)
    assert_allclose(grads[0.5]["critic"], 0.5 * grads[1.0]["critic"], atol=1e-6)
    if kind is ActorCritic:  # the critic without a weight reads what the actor sees
        assert_allclose(grads[None]["actor"], alone, atol=1e-6)
        assert_allclose(grads[None]["critic"], grads[1.0]["critic"], atol=1e-6)


def test_both_encoders_of_ppo_learn() -> None:
    pupil = AGENTS["ppo with a dict"]
    ended = run(PARADIGMS["sequential"], pupil.job(env_steps=64))
    before, after = (laid(pupil.make(ended.job.spec, 0)) for _ in range(2))
    after.vector.load("all", ended.floats)
    for name in ("actor_encoder", "critic_encoder"):
        first, last = (getattr(agent, name).tensors[0] for agent in (before, after))
        assert not torch.equal(first, last), name


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_whoever_acts_gets_the_encoder(kind: Any) -> None:
    """And, of an actor and a critic, not the critic."""
    agent, obs = built(kind), images(5, 8, 8, 3).numpy()
    other = laid(kind(SPECS[kind], 1, **SEEING))
    state = agent.initial_state(5)
    other.vector.load("act", agent.vector.floats[: agent.vector.size("act")])
    said = [each.act(obs, state, None).action for each in (agent, other)]
    np.testing.assert_array_equal(*said)
    if kind is not DQN:
        assert agent.vector.span("critic").start >= agent.vector.size("act")


@pytest.mark.parametrize("name", [name for name in AGENTS if "images" in name])
def test_stored_images_keep_their_dtype(name: str) -> None:
    ended = run(PARADIGMS["dcollect"], AGENTS[name].job(env_steps=32))
    assert ended.job.spec.keys["obs"].dtype == "uint8"
    assert ended.totals["updates"] == 0 or ended.floats.isfinite().all()
    if ended.job.updates_per_env_step is not None:
        (stream, *_) = ended.stored()
        assert stream["obs"].dtype == np.uint8 and int(stream["obs"].max()) > 200


def spec(obs: Any, kind: Any) -> Spec:
    return Spec(obs, Discrete(3) if SPECS[kind] is CHOICES else Box(-1.0, 1.0, (2,), np.float32))


REFUSED: list[tuple[dict[str, Any], Any, str]] = [
    ({"encoder": "conv"}, Box(-1.0, 1.0, (3,), np.float32), "set agent.encoder=null for vectors"),
    ({"encoder": "conv"}, Box(0, 255, (7, 9, 3), np.uint8), "of 8 x 8 pixels or more, but"),
    ({"encoder": "nature"}, Box(0, 255, (84, 35, 3), np.uint8), "of 36 x 36 pixels or more, but"),
    ({"encoder": "conv"}, Box(0, 255, (8, 8), np.uint8), "[height, width, channels]"),
    ({"encoder": "conv"}, Box(0.0, 1.0, (8, 8, 3), np.float32), "needs uint8 images"),
    ({"encoder": None}, Box(0, 255, (8, 8, 3), np.uint8), "set agent.encoder=conv for images"),
    ({"encoder": "cnn"}, Box(0, 255, (8, 8, 3), np.uint8), "agent.encoder=cnn is unknown; choose"),
    (
        {"encoder": "conv", "features": -1},
        Box(0, 255, (8, 8, 3), np.uint8),
        "agent.features=-1 must be 0 or more",
    ),
]


def test_without_a_number_of_features_an_encoder_has_that_of_its_paper() -> None:
    dqn = functools.partial(DQN, hidden_sizes=(4,))
    for name, size in {"conv": 50, "nature": 512, "impala": 256}.items():
        agent = dqn(spec(Box(0, 255, (36, 36, 1), np.uint8), DQN), 0, encoder=name)
        assert agent.online.encoder.size == size
    flat = dqn(spec(Box(0, 255, (84, 84, 4), np.uint8), DQN), 0, encoder="nature", features=0)
    assert flat.online.encoder.size == 7 * 7 * 64


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_what_cannot_be_read_is_refused_in_one_sentence(
    kind: type[Agent], subtests: pytest.Subtests
) -> None:
    for options, obs, said in REFUSED:
        with subtests.test(said), pytest.raises(ValueError, match=f"^[^\n]*{re.escape(said)}"):
            kind(spec(obs, kind), 0, **options)


def test_ppo_does_not_normalise_images() -> None:
    with pytest.raises(ValueError, match=r"^agent\.normalise=true is for vectors: with agent\.enc"):
        built(PPO, normalise=True)


def test_vectors_pass_through_and_draw_nothing() -> None:
    draws = torch.Generator().manual_seed(0)
    before = draws.get_state()
    sac = functools.partial(SAC, hidden_sizes=(4,))(describe(world()), 0)
    through = make_encoder(None, sac, 50, draws)
    x = torch.randn(3, 1)
    assert through(x) is x and through.size == 1 and not through.tensors
    assert torch.equal(draws.get_state(), before)
    assert [*sac.groups] == ["critic", "actor", "temperature"] and [*sac.slow] == ["target"]


@pytest.mark.slow
def test_dqn_learns_from_images() -> None:
    """The best return is -1.9, a uniform policy's -10.9."""
    small = world("SpotDiscrete", kwargs={"size": 12})
    dqn = functools.partial(DQN, encoder="conv", lr=1e-3, gamma=0.9)
    learning = {"explore": Epsilon(200, 1500), "warmup": 200, "num_envs": 4, "batch_size": 64}
    ended = run(PARADIGMS["sequential"], job(small, dqn, env_steps=3000, **learning))
    learned = laid(dqn(ended.job.spec, 0))
    learned.vector.load("all", ended.floats)
    env = small(num_envs=20)
    obs, total = env.reset(seed=7)[0], 0.0
    for _ in range(25):
        obs, reward, *_ = env.step(learned.act(obs, {}, None).action)
        total += float(reward.mean())
    assert total > -5
