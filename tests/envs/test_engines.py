"""EnvPool behind the same vector env as Gymnasium: a stand-in, and the real one if there."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hydra.utils import instantiate

from conf import check
from conf.compose import compose
from conf.sentences import Wrong
from envs import engines
from envs.make import describe, make_env, spread
from tests.covering import covering
from tests.envs.pool_stand_in import PoolStandIn

ROOT = Path(__file__).parents[2]
MODES = ("next_step", "same_step", "disabled")
INSTALLED = importlib.util.find_spec("envpool") is not None
KNOWN = ["CartPole-v0", "CartPole-v1", "LunarLanderContinuous-v3", "Pendulum-v1", "FrozenLake-v1"]
LANDER = {"id": "LunarLander-v3", "kwargs": {"continuous": True}}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("envpool")
    module.__spec__ = importlib.util.spec_from_loader("envpool", None)
    module.make, module.list_all_envs = PoolStandIn, lambda: KNOWN
    monkeypatch.setitem(sys.modules, "envpool", module)


@pytest.fixture(params=["stand-in", "real"])
def pools(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both, for what must be true of either."""
    if request.param == "real":
        if not INSTALLED:
            pytest.skip("pip install 'paceline[envpool]'")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("envpool")
    else:
        request.getfixturevalue("stand_in")
    yield request.param


def pool(id: str = "Pendulum-v1", **options: Any) -> engines.Pool:
    made = make_env(id, engine="envpool", **options)
    assert isinstance(made, engines.Pool)
    return made


def actions_for(env: gym.vector.VectorEnv, steps: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    if isinstance(env.single_action_space, gym.spaces.Discrete):
        return rng.integers(0, env.single_action_space.n, (steps, env.num_envs))
    return rng.uniform(-1.3, 1.3, (steps, *env.action_space.shape)).astype(np.float32)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("id", "mode", "repeat"),
    covering(itertools.product(("Pendulum-v1", "CartPole-v1"), MODES, (1, 3))),
)
def test_the_same_envs_give_the_same_steps_through_either_engine(
    id: str, mode: str, repeat: int
) -> None:
    options: dict[str, Any] = {"num_envs": 3, "seed": 4, "rank": 2, "max_episode_steps": 13}
    options |= {"autoreset": mode, "action_repeat": repeat}
    ours, plain = pool(id, **options), make_env(id, **options)
    for said in ("autoreset_mode", "action_repeat"):
        assert ours.metadata[said] == plain.metadata[said]
    np.testing.assert_array_equal(ours.reset()[0], plain.reset()[0])
    ends = 0
    for action in actions_for(ours, 60):
        mine, theirs = ours.step(action), list(plain.step(action))
        theirs[2] &= ~theirs[3]  # EnvPool tells one ending only
        for a, b in zip(mine[:4], theirs[:4], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6)
        over = mine[2] | mine[3]
        ends += over.sum()
        assert ("final_obs" in mine[4]) == ("final_obs" in theirs[4])
        for slot in np.flatnonzero(over) if "final_obs" in mine[4] else ():
            final = mine[4]["final_obs"][slot]
            np.testing.assert_array_equal(final, theirs[4]["final_obs"][slot])
            assert (final != mine[0][slot]).any()
        if mode == "disabled" and over.any():
            begun = [env.reset(options={"reset_mask": over})[0] for env in (ours, plain)]
            np.testing.assert_array_equal(*begun)
    assert ends > 9


def test_after_a_reset_of_all_slots_their_first_action_is_repeated(pools: str) -> None:
    """The pool's limit ends episodes with the first action; the next step would begin others."""
    env = pool(num_envs=2, max_episode_steps=3, action_repeat=3)
    for _ in range(2):
        env.reset()
        assert env.step(np.zeros((2, 1), np.float32))[3].all()
    env.close()


@pytest.mark.parametrize("mode", MODES)
def test_short_episodes_end_and_begin_where_they_should(pools: str, mode: str) -> None:
    """A Pendulum of 3 steps: its speed cannot jump within an episode, its start is random."""
    env = pool(num_envs=2, max_episode_steps=3, autoreset=mode)
    obs, period = env.reset()[0], 4 if mode == "next_step" else 3
    starts = [obs]
    for step in range(1, 13):
        before = obs.copy()
        obs, reward, terminated, truncated, info = env.step(np.zeros((2, 1), np.float32))
        reset_step = mode == "next_step" and step % period == 0
        over = step % period == (3 % period)
        assert not terminated.any() and (truncated == over).all()
        assert (reward == 0).all() if reset_step else (reward < 0).all()
        successor = info["final_obs"] if mode == "same_step" and over else obs
        speed = np.abs(successor[:, 2] - before[:, 2])
        assert reset_step or (speed < 1).all()
        if mode == "disabled" and over:
            obs = env.reset(options={"reset_mask": truncated})[0]
        if reset_step or (over and mode != "next_step"):
            starts.append(obs)
    found = np.concatenate(starts)
    assert len(np.unique(found, axis=0)) == len(found) == 2 * (12 // period + 1)
    env.close()


def test_a_mask_begins_only_its_own_slots(pools: str) -> None:
    env = pool(num_envs=3, autoreset="disabled")
    env.reset()
    before = env.step(np.ones((3, 1), np.float32))[0].copy()
    after = env.reset(options={"reset_mask": np.array([False, True, False])})[0]
    np.testing.assert_array_equal((after == before).all(1), [True, False, True])
    assert after.shape == before.shape


def test_a_pool_looks_like_gymnasiums_vector_env(pools: str) -> None:
    made = [make_env(**LANDER, num_envs=4, engine=e) for e in ("gymnasium", "envpool")]
    plain, ours = made
    for name in ("single_observation_space", "single_action_space", "observation_space"):
        assert getattr(ours, name) == getattr(plain, name), name
    assert ours.action_space == plain.action_space and ours.num_envs == plain.num_envs
    assert ours.spec.max_episode_steps == plain.spec.max_episode_steps
    for env in made:
        obs, info = env.reset()
        assert obs.dtype == np.float32 and obs.shape == (4, 8) and not info
        assert env.observation_space.contains(obs) and (obs < 0).any()
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        kinds = [array.dtype for array in (obs, reward, terminated, truncated)]
        assert kinds == [np.float32, np.float64, bool, bool]
        env.close()
        assert env.closed


def test_actions_in_the_unit_box_reach_the_envs_own_bounds(pools: str) -> None:
    """A torque of 2 adds 3 * 2 * 0.05 to the pendulum's speed; more is clipped."""
    env = pool(num_envs=4, seed=1)
    obs = env.reset()[0]
    pulls = np.array([[0.0], [0.5], [1.0], [7.0]], np.float32)
    speed = env.step(pulls)[0][:, 2]
    gravity = 0.05 * 15 * obs[:, 1]
    np.testing.assert_allclose(speed - obs[:, 2] - gravity, [0, 0.15, 0.3, 0.3], atol=1e-4)


def test_every_slot_worker_and_seed_has_its_own_stream(pools: str) -> None:
    def starts(**options: Any) -> np.ndarray:
        env = pool(num_envs=3, **options)
        return np.concatenate([env.reset()[0], env.reset()[0]])

    once = starts(seed=1, rank=0)
    np.testing.assert_array_equal(once, starts(seed=1, rank=0))
    rows = np.concatenate([once, starts(seed=1, rank=1), starts(seed=2, rank=0)])
    assert len(np.unique(rows, axis=0)) == len(rows) == 18


def test_a_seed_given_to_reset_wins(pools: str) -> None:
    env = pool(num_envs=2, seed=1)
    first = env.reset(seed=9)[0].copy()
    assert (env.reset()[0] != first).any()
    np.testing.assert_array_equal(env.reset(seed=[9, 10])[0], first)
    other = pool(num_envs=2, seed=2)
    np.testing.assert_array_equal(other.reset(seed=9)[0], first)
    own = pool(num_envs=2, seed=2)
    np.testing.assert_array_equal(own.reset(seed=[9, None])[0][0], first[0])
    assert own.seeds == [9, int(spread(2, 0, 2)[1, 0])]


def test_one_thread_steps_a_pool_by_default(stand_in: None) -> None:
    assert pool().pool.threads == 1
    assert pool(threads=3).pool.threads == 3


def test_the_reference_env_is_gymnasiums_whatever_the_engine(
    stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules["envpool"], "make")
    make = instantiate(compose(["env=lander", "env.engine=envpool"]).values["env"]["make"])
    assert not isinstance(make(num_envs=2, rank=None), engines.Pool)
    assert describe(make).observation_space.shape == (8,)
    with pytest.raises(AttributeError):
        make(num_envs=2, rank=0)


NOT_POOLS = [
    ({"id": "paceline/Identity-v0"}, ["has no paceline/Identity-v0", "engine=gymnasium"]),
    ({"id": "CliffWalking-v1"}, ["has no CliffWalking-v1"]),
    ({"id": "LunarLander-v3"}, ["it has LunarLanderContinuous-v3"]),
    ({"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}, ["sutton_barto_reward"]),
    ({"id": "FrozenLake-v1"}, ["no vectors of Discrete(16)"]),
]


@pytest.mark.usefixtures("stand_in")
def test_what_a_pool_cannot_be_is_said_in_one_sentence(subtests: pytest.Subtests) -> None:
    for options, words in NOT_POOLS:
        with subtests.test(str(options)):
            with pytest.raises(ValueError) as caught:
                pool(**options)
            message = str(caught.value)
            assert all(word in message for word in [*words, "env.engine=envpool"]), message
            assert "\n" not in message and len(message) < 200


def test_an_env_of_another_shape_is_refused(
    stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys.modules["envpool"], "make", lambda id, **config: PoolStandIn("CartPole-v1", **config)
    )
    with pytest.raises(ValueError, match=r"shows Box\(4,\) and takes Discrete\(2\), not Box\(3,\)"):
        pool("Pendulum-v1")


def test_a_keyword_may_be_an_id_of_its_own() -> None:
    def known(id: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        env = gym.make(id, **kwargs)
        env.close()
        return engines.known_as(env)

    assert known("LunarLander-v3", continuous=True) == ("LunarLanderContinuous-v3", {})
    assert known("LunarLanderContinuous-v3") == ("LunarLanderContinuous-v3", {})
    assert known("BipedalWalker-v3", hardcore=True) == ("BipedalWalkerHardcore-v3", {})
    assert known("CartPole-v1") == ("CartPole-v1", {}), "not CartPole-v0, whose class is the same"
    assert known("LunarLander-v3", gravity=-8.0) == ("LunarLander-v3", {"gravity": -8.0})


@pytest.mark.skipif(INSTALLED, reason="needs EnvPool to be missing")
def test_a_missing_package_is_named_on_the_command_line() -> None:
    with pytest.raises(Wrong, match=r"pip install 'paceline\[envpool\]'") as caught:
        check.command_line(["env=lander", "env.engine=envpool"])
    assert "\n" not in str(caught.value)


def test_an_engine_that_is_none_is_refused() -> None:
    with pytest.raises(Wrong, match="one of gymnasium, envpool"):
        check.command_line(["env=lander", "env.engine=mujoco"])
    with pytest.raises(ValueError, match="one of gymnasium, envpool"):
        make_env("CartPole-v1", engine="mujoco")  # type: ignore[arg-type]


@pytest.mark.slow
def test_gymnasium_runs_import_no_envpool() -> None:
    code = (
        "import sys; from envs.make import make_env; make_env('CartPole-v1').reset();"
        "sys.exit('envpool' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=50).returncode == 0
