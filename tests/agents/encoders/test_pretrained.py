"""An autoencoder that was trained beforehand: what it learns, and what agents make of it."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
import torch

from agents.actor_critic import ActorCritic
from agents.dqn import DQN
from agents.encoders.fit import Epoch, fit, measure, reconstruct
from agents.encoders.trained import Trained
from agents.encoders.vae import VAE
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from tests.agents.encoders.test_vae import BOX, CHOICES, SIDE, batch, made
from tests.jobs import EVOLVED, PARADIGMS, SEEING, job, laid, run, world

SHAPE = (SIDE, SIDE, 3)
KINDS: dict[Any, Any] = {
    SAC: BOX, TD3: BOX, DQN: CHOICES, DiscreteSAC: CHOICES, PPO: CHOICES, ActorCritic: CHOICES,
}  # fmt: skip
OPTIONS: dict[str, Any] = {**SEEING, "encoder": "vae", "features": 5}


@functools.cache
def trained(latents: int = 5) -> Trained:
    return Trained.of(VAE(SHAPE, latents, generator=torch.Generator().manual_seed(7)), "FILE")


@functools.cache
def halves() -> torch.Tensor:
    """256 images whose halves are grey, each as it likes."""
    grey = np.random.default_rng(0).integers(256, size=(256, 1, 2, 1), dtype=np.uint8)
    return torch.from_numpy(np.broadcast_to(grey.repeat(8, 2), (256, 16, 16, 1)).copy())


def fitted(vae: VAE, epochs: int, beta: float = 1.0) -> list[Epoch]:
    images, held_out = halves()[:224], halves()[224:]
    options: dict[str, Any] = {"batch_size": 32, "lr": 2e-3, "seed": 0}
    return [*fit(vae, images, held_out, epochs=epochs, beta=beta, **options)]


def test_it_learns_to_show_images_that_it_has_not_seen() -> None:
    vae, held_out = made((16, 16, 1)), halves()[224:]
    before = measure(vae, held_out, torch.Generator().manual_seed(0)).loss(1.0)
    epochs = fitted(vae, 6)
    assert [epoch.number for epoch in epochs] == [*range(1, 7)]
    losses = [epoch.held_out.loss(1.0) for epoch in epochs]
    assert losses[-1] < losses[0] < before
    assert epochs[-1].train.loss(1.0) == pytest.approx(losses[-1], rel=0.2)
    shown, mean = held_out.float(), halves()[:224].float().mean(0)
    left, plain = ((shown - x).square().mean() for x in (reconstruct(vae, held_out), mean))
    assert float(left) < 0.6 * float(plain)


def test_a_larger_beta_leaves_less_divergence() -> None:
    low, high = (fitted(made((16, 16, 1)), 2, beta)[-1].held_out for beta in (0.1, 10.0))
    assert high.divergence < 0.5 * low.divergence
    assert high.loss(10.0) == high.entropy + 10 * high.divergence


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_agent_begins_with_it_and_trains_it_on_or_leaves_it_alone(kind: Any) -> None:
    agents = {
        frozen: laid(kind(KINDS[kind], 0, **OPTIONS, pretrained=trained(), frozen=frozen))
        for frozen in (False, True)
    }
    fresh = laid(kind(KINDS[kind], 0, **OPTIONS))
    for frozen, agent in agents.items():
        before = agent.vector.flat("encoder").clone()
        seeing = agent.slow["encoder"] if frozen else agent.groups["encoder"].tensors
        for tensor, array in zip(seeing, trained().weights, strict=False):
            np.testing.assert_array_equal(tensor.detach(), array)
        first = next(iter(agent.groups))
        assert torch.equal(agent.vector.flat(first), fresh.vector.flat(first)), "the same draws"
        assert agent.vector.span("encoder").stop <= agent.vector.size("act")
        agent.learn(batch(kind))
        assert torch.equal(agent.vector.flat("encoder"), before) == frozen
        assert ("decoder" in agent.groups) != frozen


@pytest.mark.parametrize("name", ["dcollect", "dupdate", "gossip", "es"])
def test_frozen_it_keeps_its_bits_in_every_way_that_parameters_travel(name: str) -> None:
    sac = functools.partial(SAC, **OPTIONS, pretrained=trained(), frozen=True)
    spot = world("Spot", kwargs={"size": SIDE, "length": 5})
    ended = run({**PARADIGMS, **EVOLVED}[name], job(spot, sac, workers=2, env_steps=96))
    agent = laid(sac(ended.job.spec, 0))
    acting = agent.vector.flat("actor").clone()
    agent.vector.load("all", ended.floats)
    for tensor, array in zip(agent.encoder.seeing, trained().weights, strict=False):
        np.testing.assert_array_equal(tensor, array)
    assert not torch.equal(agent.vector.flat("actor"), acting)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"pretrained": trained(3)},
        "agent.pretrained=FILE has 3 latents, not 5: set agent.features=3",
    ),
    (
        {"pretrained": Trained.of(made((16, 24, 3)), "FILE")},
        "agent.pretrained=FILE reads images of 16 x 24 x 3, but the env shows 16 x 16 x 3",
    ),
    (
        {"encoder": "conv", "frozen": True},
        "agent.frozen is for agent.encoder=vae, not for agent.en",
    ),
    ({"encoder": None, "pretrained": trained()}, "not for agent.encoder=null"),
]


def test_what_does_not_fit_is_refused_in_one_sentence(subtests: pytest.Subtests) -> None:
    for options, said in REFUSED:
        with subtests.test(said), pytest.raises(ValueError, match=f"^[^\n]*{re.escape(said)}"):
            SAC(BOX, 0, **{**OPTIONS, **options})


def test_weights_are_those_of_what_is_said_of_them() -> None:
    few = trained().weights
    with pytest.raises(ValueError, match="which are not those of 900000 latents"):
        Trained("FILE", SHAPE, 900_000, few)
    with pytest.raises(ValueError, match="of 65536 x 65536 x 3"):
        Trained("FILE", (65_536, 65_536, 3), 5, few)
    with pytest.raises(ValueError, match="not those of 5 latents of images of 8 x 16 x 3"):
        Trained("FILE", (8, 16, 3), 5, few)
    with pytest.raises(ValueError, match="its weights are not those of such an autoencoder"):
        Trained("FILE", SHAPE, 5, (*few[1:], few[0]))()
