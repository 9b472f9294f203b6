"""Agents that see a Dict: vectors as they are, and an encoder for each image."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.testing import assert_allclose, assert_array_equal

from agents.actor_critic import ActorCritic
from agents.base import ROW, Key, Spec
from agents.dqn import DQN
from agents.encoders.combined import Combined
from agents.encoders.convolutions import Conv
from agents.encoders.make import ENCODERS
from agents.packed import Packed
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from paradigms.experience.rollout import Rollout
from tests.agents.test_packed import filled
from tests.jobs import ONCE, PARADIGMS, RAINBOW, SEEING, job, laid, run, world

SPACE = Packed({"speed": 2, "gear": 3}, {"left": (36, 36, 1), "right": (37, 40, 3)})
DICT = world("IdentityDict", kwargs={"size": 8})
BOX = world("IdentityDict", kwargs={"size": 8, "choices": 0})
KINDS: dict[str, tuple[Any, Any]] = {
    "dqn": (DQN, DICT),
    "rainbow": (functools.partial(DQN, **RAINBOW), DICT),
    "sac": (SAC, BOX),
    "td3": (TD3, BOX),
    "sac_discrete": (DiscreteSAC, DICT),
    "ppo": (functools.partial(PPO, epochs=2, minibatches=2), DICT),
    "actor_critic": (functools.partial(ActorCritic, lstm=3), DICT),
}


def spec(space: Any = SPACE) -> Spec:
    keys = {**ROW, "obs": Key(space.shape, "uint8"), "action": Key(dtype="int64")}
    return Spec(space, Discrete(3), keys=keys)


def obs(*leading: int, space: Packed = SPACE, seed: int = 0) -> np.ndarray:
    """Packed ones, with numbers near 0."""
    arrays, draws = filled(space, leading, seed), np.random.default_rng(seed)
    arrays |= {name: draws.normal(size=(*leading, n)) for name, n in space.vectors.items()}
    return space.pack(arrays)


@pytest.mark.parametrize("name", ENCODERS)
def test_features_are_the_vectors_and_what_encoders_make_of_images(name: str) -> None:
    agent = laid(DQN(spec(), 0, encoder=name, features=4, hidden_sizes=(5,)))
    encoder, shown = agent.online.encoder, obs(2, 3)  # type: ignore[attr-defined]
    arrays = SPACE.split(shown)
    seen = encoder(torch.from_numpy(shown)).detach()
    assert seen.shape == (2, 3, encoder.size) == (2, 3, 5 + 2 * 4)
    assert_array_equal(seen[..., :5], np.concatenate((arrays["speed"], arrays["gear"]), -1))
    for each, image, at in zip(encoder.encoders, SPACE.images, (5, 9), strict=True):
        alone = each(torch.from_numpy(arrays[image].copy())).detach()
        assert float(alone.std()) > 0 and torch.equal(seen[..., at : at + 4], alone)
    assert not torch.equal(seen[..., 5:9], seen[..., 9:])
    by_name = {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
    assert torch.equal(encoder(by_name).detach(), seen)
    assert_allclose(encoder.forward_numpy(shown), seen, atol=1e-6)


def test_a_copy_has_tensors_of_its_own() -> None:
    draws = torch.Generator().manual_seed(0)
    encoder = Combined(SPACE, [Conv(s, 4, generator=draws) for s in SPACE.images.values()])
    other, shown = encoder.copy(), torch.from_numpy(obs(2))
    before = other(shown)
    with torch.no_grad():
        for tensor in encoder.tensors:
            tensor += 0.1
    assert len(other.tensors) == len(encoder.tensors) == 2 * 8
    assert torch.equal(other(shown), before) and not torch.equal(encoder(shown), before)


def test_autoencoders_of_all_images_learn_from_the_sum_of_their_losses() -> None:
    agent = laid(DQN(spec(), 0, encoder="vae", features=4, hidden_sizes=(5,)))
    encoder, shown = agent.online.encoder, torch.from_numpy(obs(2))  # type: ignore[attr-defined]
    losses, draws = [], torch.Generator().manual_seed(0)
    for each, name in zip(encoder.encoders, SPACE.images, strict=True):
        losses.append(each.loss(encoder.split(shown)[name], draws))
    assert torch.equal(encoder.loss(shown, draws.manual_seed(0)), losses[0] + losses[1])
    assert len(agent.groups["encoder"].tensors) == 2 * len(encoder.encoders[0].own["encoder"])
    assert not encoder.tensors


@pytest.mark.parametrize("name", KINDS)
def test_every_agent_learns_from_a_dict_and_hands_its_encoder_to_who_acts(name: str) -> None:
    kind, shows = KINDS[name]
    make: Any = functools.partial(kind, **SEEING)
    changes: Any = {"warmup": 16, "batch_size": 8}
    if name in ("ppo", "actor_critic"):
        changes = {**ONCE, "make_replay": Rollout}
    ended = run(PARADIGMS["sequential"], job(shows, make, env_steps=48, **changes))
    learned, fresh = (laid(make(ended.job.spec, 0)) for _ in range(2))
    learned.vector.load("all", ended.floats)
    acting = slice(0, learned.vector.size("act"))
    assert not torch.equal(learned.vector.floats[acting], fresh.vector.floats[acting])
    other = laid(make(ended.job.spec, 1))
    other.vector.load("act", learned.vector.floats[acting])
    space = ended.job.spec.observation_space
    assert isinstance(space, Packed)
    shown, state = obs(5, space=space), learned.initial_state(5)
    actions = [each.act(shown, state, None).action for each in (learned, other)]
    assert_array_equal(*actions)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"encoder": None}, r"needs vectors .* has Dict\(speed: .*\]\); .* set agent\.encoder=conv"),
    (
        {"encoder": "nature"},
        r"of 36 x 36 pixels or more, but the env has Dict\(speed: .* agent\.encoder=conv$",
    ),
]


def test_what_cannot_be_read_is_refused_in_one_sentence(subtests: pytest.Subtests) -> None:
    small = Packed({"speed": 2}, {"left": (36, 36, 1), "right": (35, 40, 3)})
    for options, said in REFUSED:
        with subtests.test(said), pytest.raises(ValueError, match=f"^DQN [^\n]*{said}"):
            DQN(spec(small), 0, **options)
    with pytest.raises(ValueError, match=r"^agent\.normalise=true is for vectors: with agent\.enc"):
        PPO(spec(), 0, encoder="conv", normalise=True)
    vectors = Spec(Box(-1.0, 1.0, (2,), np.float32), Discrete(3))
    with pytest.raises(ValueError, match=r"set agent\.encoder=null for vectors"):
        DQN(vectors, 0, encoder="conv")
