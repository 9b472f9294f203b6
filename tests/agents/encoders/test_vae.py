"""The variational autoencoder: its loss, what it learns, and who trains it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.distributions import Bernoulli, Normal, kl_divergence

from agents.actor_critic import ActorCritic
from agents.base import Batch
from agents.dqn import DQN
from agents.encoders.vae import VAE
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from envs.make import describe
from tests.agents.encoders.test_images import images
from tests.jobs import SEEING, laid, world

SIDE = 16
BOX, CHOICES = (describe(world(n, kwargs={"size": SIDE})) for n in ("Spot", "SpotDiscrete"))
KINDS: dict[Any, Any] = {
    SAC: BOX, TD3: BOX, DQN: CHOICES, DiscreteSAC: CHOICES, PPO: CHOICES, ActorCritic: CHOICES,
}  # fmt: skip


def made(shape: tuple[int, int, int], latents: int = 5) -> VAE:
    return VAE(shape, latents, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(16, 16, 1), (19, 30, 3), (64, 64, 4)])
def test_the_loss_is_minus_the_evidence_lower_bound(shape: tuple[int, int, int]) -> None:
    vae, obs = made(shape), images(3, *shape)
    loss = vae.loss(obs, torch.Generator().manual_seed(1)).detach()
    with torch.no_grad():
        planes = obs.permute(0, 3, 1, 2).float() / 255
        mean, log_var = vae.encode(planes)
        latents = Normal(mean, (0.5 * log_var).exp())
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
        shown = Bernoulli(logits=vae.logits(mean + latents.stddev * noise), validate_args=False)
        assert shown.logits.shape == planes.shape
        likelihood = shown.log_prob(planes).sum((1, 2, 3))
        divergence = kl_divergence(latents, Normal(0.0, 1.0)).sum(-1)
    assert_allclose(loss, (divergence - likelihood).mean(), rtol=1e-5)
    assert_allclose(vae(obs), mean, atol=1e-6)
    assert_allclose(vae.forward_numpy(obs.numpy()), mean, atol=1e-6)
    assert vae.reconstruct(obs).shape == obs.shape and vae.reconstruct(obs).dtype == torch.uint8


def test_it_learns_what_the_images_show() -> None:
    env = world("Spot", kwargs={"size": SIDE, "length": 1})(num_envs=64)
    obs = torch.from_numpy(env.reset(seed=0)[0])
    vae = made((SIDE, SIDE, 3))
    error = (vae.reconstruct(obs).float() - obs.float()).square().mean()
    tensors = [t for held in vae.own.values() for t in held]
    optim, draws = torch.optim.Adam(tensors, 1e-3), torch.Generator().manual_seed(0)
    for _ in range(120):
        optim.zero_grad()
        vae.loss(obs, draws).backward()
        optim.step()
    after = (vae.reconstruct(obs).float() - obs.float()).square().mean()
    assert float(after) < 0.1 * float(error)


def batch(kind: Any) -> Batch:
    draws = torch.Generator().manual_seed(1)
    lead = (4, 2) if kind in (PPO, ActorCritic) else (8,)
    columns = {n: images(*lead, SIDE, SIDE, 3, seed=s) for s, n in enumerate(("obs", "next_obs"))}
    columns["action"] = 2 * torch.rand((*lead, 2), generator=draws) - 1
    if KINDS[kind] is CHOICES:
        columns["action"] = torch.randint(5, lead, generator=draws)
    never = torch.zeros(lead, dtype=torch.bool)
    columns |= dict.fromkeys(("terminated", "truncated", "is_first"), never)
    columns |= {"reward": torch.randn(lead, generator=draws), "logp": torch.full(lead, -1.6)}
    return Batch(columns, discount=torch.full(lead, 0.9), weight=torch.ones(lead))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nobody_but_its_own_loss_trains_it(kind: Any) -> None:
    options: dict[str, Any] = {**SEEING, "encoder": "vae"}
    agent = laid(functools.partial(kind, **options)(KINDS[kind], 0))
    still = laid(functools.partial(kind, **options)(KINDS[kind], 0))
    names = ("encoder", "decoder")
    before = {name: agent.vector.flat(name).clone() for name in names}
    for name in names:
        still.groups[name].lr = 0.0
    for each in (agent, still):
        assert "loss/encoder" in each.learn(batch(kind)).metrics
        for name in names:
            assert torch.equal(each.vector.flat(name), before[name]) == (each is still)
    assert agent.vector.span("encoder").stop <= agent.vector.size("act")
    assert agent.vector.span("decoder").start >= agent.vector.size("act")
    first = next(iter(agent.groups))
    assert torch.equal(agent.vector.flat(first), still.vector.flat(first))
    state, obs = agent.initial_state(2), np.asarray(images(2, SIDE, SIDE, 3))
    assert len(agent.act(obs, state, None).action) == 2


def test_without_latents_there_is_nothing_to_see() -> None:
    with pytest.raises(ValueError, match=r"^agent\.features=0: the latents"):
        SAC(BOX, 0, **{**SEEING, "encoder": "vae", "features": 0})
