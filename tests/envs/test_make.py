from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from agents.base import ROW, Key
from conf.compose import compose
from conf.nodes import made
from envs.counting import Counting
from envs.make import describe, make_env, spread

CONF = Path(__file__).parents[2] / "conf" / "env"
MODES = ("next_step", "same_step", "disabled")


def some_actions(env: gym.vector.VectorEnv, steps: int) -> np.ndarray:
    shape = (steps, *env.action_space.shape)
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
def test_an_env_equals_gymnasiums_sync_vector_env_step_for_step(mode: str) -> None:
    ours = make_env("Pendulum-v1", num_envs=3, seed=4, max_episode_steps=7, autoreset=mode)
    assert ours.metadata["autoreset_mode"].name.lower() == mode
    plain = SyncVectorEnv(
        [lambda: gym.make("Pendulum-v1", max_episode_steps=7)] * 3,
        autoreset_mode=ours.metadata["autoreset_mode"],
    )
    seeds = [int(seed) for seed in spread(4, 0, 3)[:, 0]]
    np.testing.assert_array_equal(ours.reset()[0], plain.reset(seed=seeds)[0])
    for action in some_actions(ours, 20):
        a, b = ours.step(action), plain.step(action * np.float32(2))
        for mine, theirs in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert a[4].keys() == b[4].keys()
        if "final_obs" in a[4]:
            np.testing.assert_array_equal(np.stack(a[4]["final_obs"]), np.stack(b[4]["final_obs"]))
        if mode == "disabled" and (over := a[2] | a[3]).any():
            ours.reset(options={"reset_mask": over})
            plain.reset(options={"reset_mask": over})


@pytest.mark.parametrize("mode", MODES)
def test_counting_shows_its_law_through_every_autoreset_mode(mode: str) -> None:
    for copy in [True, False]:
        env = make_env("paceline/Counting-v0", num_envs=4, autoreset=mode, copy=copy)
        obs, resetting = env.reset()[0].copy(), np.zeros(4, bool)
        seen = []
        for action in some_actions(env, 60):
            shown, reward, terminated, truncated, info = env.step(action)
            over, valid = terminated | truncated, ~resetting
            next_obs = shown.copy()
            for slot in np.flatnonzero(over) if mode == "same_step" else ():
                next_obs[slot] = info["final_obs"][slot]
            expected = Counting.follow(obs, action)
            for have, law in zip((reward, next_obs, terminated, truncated), expected, strict=True):
                np.testing.assert_array_equal(have[valid], law[valid])
            seen.append(obs[valid][:, [2, 0, 1]])
            if mode == "next_step":
                resetting = over
            elif mode == "disabled" and over.any():
                shown = env.reset(options={"reset_mask": over})[0]
            obs = shown.copy()
        rows = np.concatenate(seen)
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert len(np.unique(rows[:, 0])) == 4


def test_a_plain_reset_uses_the_seeds_and_the_next_one_goes_on() -> None:
    def first_and_second(**options: object) -> np.ndarray:
        env = make_env("Pendulum-v1", num_envs=2, **options)
        return np.stack([env.reset()[0], env.reset()[0]])

    once = first_and_second(seed=1, rank=2)
    np.testing.assert_array_equal(once, first_and_second(seed=1, rank=2))
    others = [first_and_second(seed=s, rank=r) for s, r in ((1, None), (1, 0), (1, 3), (2, 2))]
    starts = np.concatenate([once, *others]).reshape(-1, 3)
    assert len(np.unique(starts, axis=0)) == len(starts)


def test_a_seed_given_to_reset_wins() -> None:
    env, other = make_env("Pendulum-v1", seed=1), make_env("Pendulum-v1", seed=2)
    np.testing.assert_array_equal(env.reset(seed=9)[0], other.reset(seed=9)[0])
    assert (env.reset()[0] == other.reset()[0]).all(), "the seeds given first were still pending"


def test_no_two_slots_of_any_workers_share_a_seed() -> None:
    blocks = [spread(s, r, 8) for s, r in product(range(5), (None, *range(16)))]
    words = np.concatenate(blocks).ravel()
    assert len(np.unique(words)) == len(words) and words.max() < 2**31
    np.testing.assert_array_equal(spread(3, 1, 8)[:2], spread(3, 1, 2))


def test_spaces_are_seeded_apart_from_the_envs() -> None:
    env, twin = (make_env("paceline/Identity-v0", num_envs=2, seed=3) for _ in range(2))
    action = env.action_space.sample()
    np.testing.assert_array_equal(action, twin.action_space.sample())
    assert not np.allclose(action, env.reset()[0])
    assert env.envs[0].action_space.sample() != env.envs[1].action_space.sample()


def test_workers_get_keyword_arguments_of_their_own_and_the_reference_env_none() -> None:
    worlds = [{}, {"gravity": -8.0}, {"gravity": -6.0, "enable_wind": True}]
    make = partial(
        make_env, "LunarLander-v3", kwargs={"continuous": True, "gravity": -9.0}, per_worker=worlds
    )
    gravity = {}
    for rank in (None, 0, 1, 2, 4):
        world = make(rank=rank).envs[0].unwrapped
        gravity[rank] = world.gravity
        assert world.continuous and world.enable_wind == (rank == 2)
    assert gravity == {None: -9.0, 0: -9.0, 1: -8.0, 2: -6.0, 4: -8.0}


def test_training_envs_carry_no_checking_wrappers() -> None:
    text = str(make_env("CartPole-v1").envs[0])
    assert "OrderEnforcing" not in text and "PassiveEnvChecker" not in text
    assert gym.spec("CartPole-v1").order_enforce, "the registry was changed"


@pytest.mark.parametrize("mode", MODES)
def test_a_repeated_action_is_as_many_steps_and_the_sum_of_their_rewards(mode: str) -> None:
    options: dict[str, Any] = {"num_envs": 3, "seed": 4, "max_episode_steps": 7}
    options["autoreset"] = mode
    ours = make_env("Pendulum-v1", action_repeat=3, **options)
    plain = make_env("Pendulum-v1", **options)
    np.testing.assert_array_equal(ours.reset()[0], plain.reset()[0])
    resetting, ends = False, 0
    for action in some_actions(ours, 20):
        obs, reward, _, over, info = ours.step(action)
        total, last, steps = np.zeros(3), False, 0
        while steps < (1 if resetting else 3) and not last:
            shown, more, _, ended, its_info = plain.step(action)
            total, last, steps = total + more, bool(ended.all()), steps + 1
        np.testing.assert_array_equal(obs, shown)
        np.testing.assert_array_equal(reward, total)
        assert (over == last).all() and ("final_obs" in info) == ("final_obs" in its_info)
        assert (steps, last) in {(3, False), (1, True), (1, False)}  # 7 = 3 + 3 + 1
        resetting, ends = last and mode == "next_step", ends + last
        if last and mode == "disabled":
            begun = [env.reset(options={"reset_mask": over})[0] for env in (ours, plain)]
            np.testing.assert_array_equal(*begun)
    assert ends >= 5


def test_describe_reads_spaces_time_limit_and_keys() -> None:
    spec = describe(partial(make_env, id="MountainCarContinuous-v0"), threshold=90)
    assert spec.action_space == gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    assert (spec.threshold, spec.max_episode_steps) == (90, 999)
    assert spec.keys == {**ROW, "obs": Key((2,)), "action": Key((1,))}
    spec = describe(partial(make_env, id="CartPole-v1", max_episode_steps=30))
    assert spec.max_episode_steps == 30 and spec.keys["action"] == Key((), "int64")
    assert spec.action_repeat == 1
    assert describe(partial(make_env, id="paceline/Recall-v0")).max_episode_steps is None
    assert describe(partial(make_env, id="CartPole-v1", action_repeat=4)).action_repeat == 4


def test_an_id_may_name_its_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "worlds_elsewhere.py").write_text(
        "import gymnasium\ngymnasium.register('elsewhere/Loop-v0', 'envs.toys:Loop')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = make_env("worlds_elsewhere:elsewhere/Loop-v0", num_envs=2)
    assert env.spec is not None and env.spec.id == "elsewhere/Loop-v0"
    del gym.registry["elsewhere/Loop-v0"]


WRONG = [
    ({"id": "LunarLander-v2"}, ["'LunarLander-v2'", "LunarLander-v3"]),
    ({"id": "pendulum"}, ["did you mean Pendulum-v1"]),
    ({"id": "nothing like it"}, ["module:EnvId"]),
    ({"id": "no_such_module:Env-v0"}, ["'no_such_module'", "install"]),
    ({"id": "LunarLander-v3", "kwargs": {"wnd": 1}}, ["'wnd'", "enable_wind"]),
    ({"id": "LunarLander-v3", "kwargs": {"gravity": 3}}, ["-12 and 0"]),
    ({"id": "paceline/Fault-v0", "kwargs": {"kind": "rust"}}, ["'rust'", "hang"]),
    ({"id": "CartPole-v1", "autoreset": "never"}, ["never", "same_step"]),
    ({"id": "CartPole-v1", "num_envs": 0}, ["num_envs=0"]),
    ({"id": "CartPole-v1", "action_repeat": 0}, ["env.action_repeat=0", "at least 1"]),
]


def test_what_does_not_work_is_said_in_one_sentence(subtests: pytest.Subtests) -> None:
    for options, words in WRONG:
        with subtests.test(str(options)):
            with pytest.raises(ValueError) as caught:
                make_env(**options)
            message = str(caught.value)
            assert all(word in message for word in words), message
            assert "\n" not in message and len(message) < 300


def test_a_missing_package_is_named() -> None:
    def world() -> gym.Env:
        raise gym.error.DependencyNotInstalled("run `pip install physics`")

    gym.register("test/Heavy-v0", world)
    with pytest.raises(ValueError, match=r"test/Heavy-v0 needs a package .* install physics"):
        make_env("test/Heavy-v0")
    del gym.registry["test/Heavy-v0"]


def test_every_env_yaml_makes_its_env(subtests: pytest.Subtests) -> None:
    for path in sorted(CONF.glob("*.yaml")):
        with subtests.test(path.stem):
            given = {"gym": ["env.id=Acrobot-v1"], "atari": ["env.kwargs.game=pong"]}
            more = given.get(path.stem, [])
            node = compose([f"env={path.stem}", "env.action_repeat=3", *more]).values["env"]
            if "Atari" in node["id"] and importlib.util.find_spec("ale_py") is None:
                pytest.skip("pip install 'paceline[atari]'")
            make = made(node["make"])
            spec = describe(make, threshold=node["threshold"])
            env = make(num_envs=2, seed=3, rank=1)
            assert env.single_observation_space == spec.observation_space
            assert spec.action_repeat == env.metadata["action_repeat"] == 3
            assert node["name"] == path.stem
            least = -np.inf if node["random_return"] is None else node["random_return"]
            assert node["threshold"] is None or node["threshold"] > least
            env.close()


@pytest.mark.slow
def test_making_envs_needs_no_torch() -> None:
    code = "import sys, envs.make; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0
