"""The stack of observations against Gymnasium's, one env at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation
from hypothesis import given
from hypothesis import strategies as st

from agents.packed import Packed
from envs.make import describe, make_env, spread
from envs.wrappers import ActionRepeat, standard

MODES = ("next_step", "same_step", "disabled")
SMALL = {"size": 8, "length": 4}
SPOT = {"id": "paceline/Spot-v0", "kwargs": {"size": 8, "length": 5}}


def naive(env: gym.Env, count: int) -> gym.Env:
    """Gymnasium's stack [count, ..., n], its first axis laid along the last one."""
    env = FrameStackObservation(env, count, padding_type="reset")
    shape = env.observation_space.shape
    assert shape is not None

    def flat(obs: np.ndarray) -> np.ndarray:
        return np.moveaxis(obs, 0, -2).reshape(*shape[1:-1], -1)

    bounds = (0, 255) if env.observation_space.dtype == np.uint8 else (-1e9, 1e9)
    box = gym.spaces.Box(*bounds, flat(np.zeros(shape)).shape, env.observation_space.dtype.type)
    return gym.wrappers.TransformObservation(env, flat, box)


def other(id: str, mode: str, count: int, repeat: int, kwargs: dict[str, Any]) -> SyncVectorEnv:
    def one() -> gym.Env:
        return naive(standard(ActionRepeat(gym.make(id, **kwargs), repeat)), count)

    modes = {m.name.lower(): m for m in gym.vector.AutoresetMode}
    return SyncVectorEnv([one] * 3, autoreset_mode=modes[mode])


@pytest.mark.parametrize("mode", MODES)
@given(count=st.integers(1, 4), repeat=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_stack_is_gymnasiums_whatever_ends(mode: str, count: int, repeat: int, seed: int) -> None:
    id, kwargs = ("paceline/Counting-v0", {}) if seed % 2 else (SPOT["id"], SPOT["kwargs"])
    ours = make_env(
        id, num_envs=3, seed=seed, kwargs=kwargs, stack=count, action_repeat=repeat, autoreset=mode
    )
    plain = other(id, mode, count, repeat, kwargs)
    seeds = [int(s) for s in spread(seed, 0, 3)[:, 0]]
    np.testing.assert_array_equal(ours.reset()[0], plain.reset(seed=seeds)[0])
    shape = (25, *(ours.action_space.shape or ()))
    for action in np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32):
        a, b = ours.step(action), plain.step(action)
        for mine, theirs in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        over = a[2] | a[3]
        if mode == "same_step":
            for slot in np.flatnonzero(over):
                np.testing.assert_array_equal(a[4]["final_obs"][slot], b[4]["final_obs"][slot])
        elif mode == "disabled" and over.any():
            shown = [e.reset(options={"reset_mask": over})[0] for e in (ours, plain)]
            np.testing.assert_array_equal(*shown)


@pytest.mark.parametrize("mode", MODES)
def test_each_array_of_a_dict_is_stacked_by_itself(mode: str) -> None:
    """As Gymnasium stacks an env that shows the image alone, and one that shows the vector."""
    ours = make_env("paceline/IdentityDict-v0", num_envs=2, stack=3, autoreset=mode, kwargs=SMALL)
    space = ours.single_observation_space
    assert space == Packed({"vector": 6}, {"image": (8, 8, 3)})
    assert ours.metadata["stack"] == describe(partial(make_env, ours.spec.id, stack=3)).stack == 1

    def alone(key: str) -> gym.Env:
        bare = gym.make("paceline/IdentityDict-v0", disable_env_checker=True, **SMALL)
        picked = gym.wrappers.TransformObservation(
            bare, lambda obs: obs[key], bare.observation_space[key]
        )
        return naive(picked, 3)

    modes = {m.name.lower(): m for m in gym.vector.AutoresetMode}
    envs = {
        key: SyncVectorEnv([partial(alone, key)] * 2, autoreset_mode=modes[mode])
        for key in ("image", "vector")
    }
    seeds = [int(s) for s in spread(0, 0, 2)[:, 0]]
    shown, apart = ours.reset()[0], {key: env.reset(seed=seeds)[0] for key, env in envs.items()}
    ends = 0
    for action in np.random.default_rng(0).integers(4, size=(20, 2)):
        for key, array in space.split(shown).items():
            np.testing.assert_array_equal(array, apart[key])
        shown, _, terminated, _, info = ours.step(action)
        steps = {key: env.step(action) for key, env in envs.items()}
        apart = {key: step[0] for key, step in steps.items()}
        for slot in np.flatnonzero(terminated):
            ends += 1
            if mode == "same_step":
                for key, array in space.split(info["final_obs"][slot]).items():
                    np.testing.assert_array_equal(array, steps[key][4]["final_obs"][slot])
        if mode == "disabled" and terminated.any():
            mask = {"reset_mask": terminated}
            shown = ours.reset(options=mask)[0]
            apart = {key: env.reset(options=mask)[0] for key, env in envs.items()}
    assert ends > 4


def test_what_a_step_has_shown_stays_as_it_was() -> None:
    env = make_env(num_envs=2, stack=3, copy=False, **SPOT)
    shown = [env.reset()[0]]
    kept = [shown[0].copy()]
    for _ in range(12):
        shown.append(env.step(np.ones((2, 2), np.float32))[0])
        kept.append(shown[-1].copy())
    np.testing.assert_array_equal(shown, kept)


def test_the_spec_of_a_stack_has_its_shape_and_the_env_says_how_many() -> None:
    make = partial(make_env, stack=4, **SPOT)
    assert describe(make).keys["obs"].shape == (8, 8, 12)
    assert make().metadata["stack"] == 4
    assert describe(partial(make_env, "Pendulum-v1", stack=2)).keys["obs"].shape == (6,)


def test_what_cannot_be_stacked_is_refused_in_a_sentence() -> None:
    class Flat(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (8, 8), np.uint8)
        action_space = gym.spaces.Discrete(2)

    gym.register("test/Flat-v0", Flat)
    with pytest.raises(ValueError, match=r"env.stack=4 is for pictures .* set env.stack=1"):
        make_env("test/Flat-v0", stack=4)
    with pytest.raises(ValueError, match=r"env.stack=0 must be at least 1"):
        make_env("Pendulum-v1", stack=0)
    del gym.registry["test/Flat-v0"]


def test_workers_see_the_signs_of_rewards_and_the_reference_env_the_rewards() -> None:
    make = partial(make_env, "Pendulum-v1", action_repeat=3, sign_rewards=True)
    for rank, expected in ((0, [-1.0]), (None, None)):
        env = make(rank=rank)
        env.reset()
        reward = env.step(np.ones((1, 1), np.float32))[1]
        assert reward.tolist() == expected if expected else reward[0] not in (-1.0, 0.0)
