"""Images: what the convolutions compute, whose loss trains them, who gets them, and what is
refused."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.testing import assert_allclose

from agents.base import Agent, Batch, Spec
from agents.dqn import DQN
from agents.encoders.convolutions import Conv, Nature
from agents.encoders.make import make_encoder
from agents.encoders.residual import Residual
from agents.parts.explore import Epsilon
from agents.ppo import PPO
from agents.sac import SAC
from agents.td3 import TD3
from envs.make import describe
from tests.jobs import AGENTS, PARADIGMS, SEEING, job, laid, run, world

SIZE, TAU = 12, 0.1
BOX = describe(world("Spot", kwargs={"size": 8}))
CHOICES = describe(world("SpotDiscrete", kwargs={"size": 8}))
SPECS: dict[Any, Spec] = {SAC: BOX, TD3: BOX, DQN: CHOICES, PPO: BOX}
LAGGING = {
    SAC: ("encoder", "target_encoder"),
    TD3: ("encoder", "target_encoder"),
    DQN: ("q", "target"),
}


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=draws, dtype=torch.uint8)


def drawn(kind: Any) -> Batch:
    draws = torch.Generator().manual_seed(1)
    columns = {"obs": images(SIZE, 8, 8, 3), "next_obs": images(SIZE, 8, 8, 3, seed=1)}
    columns["action"] = 2 * torch.rand((SIZE, 2), generator=draws) - 1
    if kind is DQN:
        columns["action"] = torch.randint(5, (SIZE,), generator=draws)
    columns["reward"] = torch.randn(SIZE, generator=draws)
    return Batch(columns, discount=torch.full((SIZE,), 0.9), weight=torch.ones(SIZE))


def built(kind: Any, **options: Any) -> Any:
    return laid(kind(SPECS[kind], 0, **{**SEEING, "lr": 1e-3, **options}))


@pytest.mark.parametrize("shape", [(42, 144, 3), (84, 84, 4), (24, 24, 3), (8, 8, 1), (9, 15, 2)])
@pytest.mark.parametrize("kind", [Conv, Nature, Residual])
def test_images_of_many_sizes_become_features(kind: Any, shape: tuple[int, int, int]) -> None:
    if min(shape[:2]) < kind.least:
        shape = (36, 37, shape[-1])
    conv = kind(shape, 50, generator=torch.Generator().manual_seed(0))
    obs = images(2, 3, *shape)
    seen = conv(obs)
    assert seen.shape == (2, 3, 50) and seen.dtype == torch.float32
    if kind is Conv:
        assert bool((seen.abs() < 1).all()) and float(seen.detach().std()) > 0.3
    elif shape != (8, 8, 1):
        assert bool((seen >= 0).all()) and float(seen.detach().std()) > 0.05
    assert_allclose(seen[1, 2].detach(), conv(obs[1, 2]).detach(), atol=1e-4)
    assert_allclose(conv.forward_numpy(obs.numpy()), seen.detach(), atol=1e-5)
    assert not torch.allclose(seen[0, 0], seen[0, 1], atol=1e-2)


def biased(kind: Any, shape: tuple[int, int, int], features: int) -> Any:
    """An encoder whose biases are not 0."""
    made = kind(shape, features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for bias in made.tensors[1::2]:
            bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    return made


@pytest.mark.parametrize("kind", [Conv, Nature])
def test_the_layers_are_those_of_the_papers(kind: Any) -> None:
    """Against loops over places, in float64."""
    shape = (9, 11, 2) if kind is Conv else (36, 41, 2)
    conv, flat = biased(kind, shape, 6), biased(kind, shape, 0)
    obs = images(*shape)
    tensors = [t.detach().double().numpy() for t in conv.tensors]
    x = obs.double().numpy().transpose(2, 0, 1) / 255
    for i, (channels, kernel, stride, pad) in enumerate(kind.layers):
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        rows, columns = ((n - kernel) // stride + 1 for n in x.shape[1:])
        out = np.zeros((channels, rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = x[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                out[:, r, c] = (tensors[2 * i] * patch).sum((1, 2, 3)) + tensors[2 * i + 1]
        x = np.maximum(out, 0)
    y = tensors[-2] @ x.ravel() + tensors[-1]
    expected = np.maximum(y, 0)
    if kind is Conv:
        expected = np.tanh((y - y.mean()) / np.sqrt(y.var() + 1e-5))
    assert_allclose(conv(obs).detach(), expected, atol=1e-4)
    assert flat.size == x.size and len(flat.tensors) == 6
    assert_allclose(flat(obs).detach(), x.ravel(), atol=1e-4)


def test_the_residual_blocks_are_those_of_the_paper() -> None:
    """Against torch's modules, put together as figure 3 of arXiv:1802.01561 shows them."""
    nn = torch.nn
    made = biased(Residual, (13, 10, 2), 7)
    held = iter(made.tensors)

    def filled(module: Any) -> Any:
        with torch.no_grad():
            module.weight.copy_(next(held))
            module.bias.copy_(next(held))
        return module

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            convs = [filled(nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(2)]
            self.inner = nn.Sequential(nn.ReLU(), convs[0], nn.ReLU(), convs[1])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    modules: list[Any] = []
    for before, after in ((2, 16), (16, 32), (32, 32)):
        first = filled(nn.Conv2d(before, after, 3, padding=1))
        modules += [first, nn.MaxPool2d(3, 2, 1), Block(after), Block(after)]
    modules += [nn.ReLU(), nn.Flatten(), filled(nn.Linear(32 * 2 * 2, 7)), nn.ReLU()]
    obs = images(4, 13, 10, 2)
    expected = nn.Sequential(*modules)(obs.permute(0, 3, 1, 2) / 255)
    assert next(held, None) is None
    assert_allclose(made(obs).detach(), expected.detach(), atol=1e-5)
    assert biased(Residual, (13, 10, 2), 0).size == 32 * 2 * 2


def test_without_a_number_of_features_an_encoder_has_that_of_its_paper() -> None:
    dqn = functools.partial(DQN, hidden_sizes=(4,))
    for name, size in {"conv": 50, "nature": 512, "impala": 256}.items():
        agent = dqn(spec(Box(0, 255, (36, 36, 1), np.uint8), DQN), 0, encoder=name)
        assert agent.online.encoder.size == size
    flat = dqn(spec(Box(0, 255, (84, 84, 4), np.uint8), DQN), 0, encoder="nature", features=0)
    assert flat.online.encoder.size == 7 * 7 * 64


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


def test_both_encoders_of_ppo_learn() -> None:
    pupil = AGENTS["ppo with images"]
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
    if not name.startswith("ppo"):
        (stream, *_) = ended.stored()
        assert stream["obs"].dtype == np.uint8 and int(stream["obs"].max()) > 200


def spec(obs: Any, kind: Any) -> Spec:
    return Spec(obs, Discrete(3) if kind is DQN else Box(-1.0, 1.0, (2,), np.float32))


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
