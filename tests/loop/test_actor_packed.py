"""What an actor stores of a Dict with images, whatever it is made of, and what is drawn of it:
the bits that the env showed."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Spec
from agents.packed import Packed
from envs.make import describe
from envs.wrappers import standard
from paradigms.errors import NotFinite
from paradigms.experience.layout import Layout
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.actor import Actor
from tests.idler import Idler
from tests.jobs import laid

SLOTS, LENGTH = 2, 4
MODES = {mode.name.lower(): mode for mode in AutoresetMode}
IMAGES = st.builds(
    lambda h, w, c: spaces.Box(0, 255, (h, w, c), np.uint8),
    st.integers(8, 11), st.integers(8, 11), st.integers(1, 3),
)  # fmt: skip
OTHERS = st.one_of(
    st.builds(lambda n: spaces.Box(-np.inf, np.inf, (n,), np.float32), st.integers(1, 3)),
    st.just(spaces.Box(-np.inf, np.inf, (2, 2), np.float32)),
    st.just(spaces.Box(0, 255, (2, 3, 1), np.uint8)),
    st.just(spaces.Discrete(3, start=-1)),
)
ANY = st.one_of(IMAGES, OTHERS)
NESTED = st.dictionaries(st.sampled_from("ab"), ANY, min_size=1).map(spaces.Dict)
DICTS = st.builds(
    lambda image, others: spaces.Dict(others | {"m": image}),
    IMAGES,
    st.dictionaries(st.sampled_from("kno"), st.one_of(ANY, NESTED), max_size=3),
)
DRIVER = spaces.Dict(
    camera=spaces.Box(0, 255, (8, 9, 1), np.uint8),
    speed=spaces.Box(-np.inf, np.inf, (2,), np.float32),
)


def some(space: gym.Space, draws: np.random.Generator) -> Any:
    """An observation of random bits; floats are finite."""
    if isinstance(space, spaces.Dict):
        return {key: some(part, draws) for key, part in space.items()}
    if isinstance(space, spaces.Discrete):
        return int(draws.integers(space.n)) + int(space.start)
    if space.dtype == np.uint8:
        return draws.integers(0, 256, space.shape, np.uint8)
    bits = draws.integers(2**32, size=space.shape, dtype=np.uint32).view(np.float32)
    return np.where(np.isfinite(bits), bits, np.float32(-0.0))


class Album(gym.Env):
    """Shows `some` observations and remembers them, by episode, in `shown`; episodes of 1 to 5
    steps terminate or are truncated. At its step `bad` a number of "speed" is a NaN."""

    def __init__(self, space: gym.Space, seed: int, bad: int | None = None) -> None:
        self.observation_space, self.bad = space, bad
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.draws, self.steps = np.random.default_rng(seed), 0
        self.shown: list[list[Any]] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.shown.append([some(self.observation_space, self.draws)])
        self.left = int(self.draws.integers(1, 6))
        return self.shown[-1][-1], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.shown[-1].append(some(self.observation_space, self.draws))
        self.left, self.steps = self.left - 1, self.steps + 1
        if self.steps == self.bad:
            self.shown[-1][-1]["speed"][0] = np.nan
        over, terminates = self.left == 0, len(self.shown) % 2 == 0
        return self.shown[-1][-1], 1.0, over and terminates, over and not terminates, {}

    def transitions(self) -> list[tuple[Any, Any]]:
        """(obs, next obs) of every step."""
        return [pair for episode in self.shown for pair in pairwise(episode)]


def acting(
    space: gym.Space, mode: str, *, bad: int | None = None, alone: bool = False
) -> tuple[Actor, list[Album]]:
    """An actor, and its envs."""
    albums = [Album(space, seed, bad) for seed in range(SLOTS)]
    envs = [functools.partial(standard, album) for album in albums]
    env = SyncVectorEnv(envs, autoreset_mode=MODES[mode])  # type: ignore[arg-type]
    agent = laid(Idler(describe(lambda **_: SyncVectorEnv(envs[:1])), 0))  # type: ignore[arg-type]
    layout = Layout(agent.spec, LENGTH, SLOTS, alone=alone)
    return Actor(env, agent, layout, explore=lambda *_: 1.0, seed=0), albums


def bits(space: Any, obs: Any, name: str) -> bytes:
    """Those of the array that is called so."""
    for key in name.split("."):
        space, obs = space[key], obs[key]
    if space.dtype != np.uint8 or space.shape[0] < 8:
        obs = spaces.flatten(space, obs).astype(np.float32)
    return np.asarray(obs).tobytes()


def same(spec: Spec, space: gym.Space, packed: torch.Tensor, obs: Any) -> None:
    """Asserts that a packed observation has the bits of one that an env showed."""
    assert isinstance(spec.observation_space, Packed)
    split = spec.observation_space.split(packed.numpy())
    assert sum(x.nbytes for x in split.values()) > len(packed) - 4
    for name, array in split.items():
        assert array.tobytes() == bits(space, obs, name), name


@settings(max_examples=25, deadline=None)
@given(DICTS, st.sampled_from([*MODES]))
def test_what_is_stored_and_drawn_has_the_bits_that_the_env_showed(
    space: spaces.Dict, mode: str
) -> None:
    actor, albums = acting(space, mode)
    sizes = {"capacity": 100, "writers": 1, "num_envs": SLOTS, "rollout_length": LENGTH}
    replay = Uniform(actor.agent.spec, **sizes)  # type: ignore[arg-type]
    for _ in range(5):
        replay.add(actor.collect(0))
    batch = replay.sample(30, torch.Generator().manual_seed(0))
    for row, index in enumerate(batch.index.tolist()):
        serial, slot = divmod(index, SLOTS)
        obs, next_obs = albums[slot].transitions()[serial]
        same(actor.agent.spec, space, batch.obs[row], obs)
        same(actor.agent.spec, space, batch.next_obs[row], next_obs)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_consumed_has_the_bits_that_the_env_showed(mode: str) -> None:
    actor, albums = acting(DRIVER, mode, alone=True)
    replay = Rollout(actor.agent.spec, writers=1, num_envs=SLOTS, rollout_length=LENGTH)
    read = [0] * SLOTS
    for _ in range(6):
        replay.add(actor.collect(0))
        batch = replay.sample(0, torch.Generator())
        for t, slot in np.argwhere(batch["valid"].numpy()):
            obs, next_obs = albums[slot].transitions()[read[slot]]
            same(actor.agent.spec, DRIVER, batch.obs[t, slot], obs)
            same(actor.agent.spec, DRIVER, batch.next_obs[t, slot], next_obs)
            read[slot] += 1
    assert min(read) > 12


@pytest.mark.parametrize("mode", MODES)
def test_a_nan_in_a_vector_beside_an_image_ends_the_run(
    mode: str, subtests: pytest.Subtests
) -> None:
    for bad in range(1, 6):  # within an episode, and at an end of one
        with subtests.test(bad=bad):
            actor, _ = acting(DRIVER, mode, bad=bad)
            with pytest.raises(NotFinite, match="the env of worker 0 returned a NaN"):
                for _ in range(3):
                    actor.collect(0)
