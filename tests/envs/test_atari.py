"""Atari's pictures, lives and rewards; skipped where ale-py is not installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from envs.atari import Atari, shares
from envs.make import make_env
from envs.wrappers import ActionRepeat

installed = pytest.mark.skipif(
    importlib.util.find_spec("ale_py") is None, reason="pip install 'paceline[atari]'"
)


def test_pixels_are_shared_out_by_area() -> None:
    np.testing.assert_allclose(
        shares(5, 2), np.array([[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]]) / 2.5, atol=1e-7
    )
    for size, smaller in ((210, 84), (160, 84), (7, 7)):
        np.testing.assert_allclose(shares(size, smaller).sum(1), 1, atol=1e-6)


@installed
def test_pictures_are_those_of_ale_py_but_for_roundings() -> None:
    """ale-py prepares pictures in C++, by OpenCV; a game without chance is the same in both."""
    from ale_py.vector_env import AtariVectorEnv

    options: dict[str, Any] = {"noop_max": 1, "use_fire_reset": False, "reward_clipping": False}
    theirs = AtariVectorEnv("breakout", num_envs=1, num_threads=1, **options)
    ours = make_env("paceline/Atari-v0", kwargs={"game": "breakout", "noops": 0}, action_repeat=4)
    obs, its = ours.reset()[0], theirs.reset(seed=np.array([5]))[0]
    most, score, differ, steps = 0, 0.0, 0, 0
    for action in np.random.default_rng(0).integers(0, 4, (1000, 1)):
        gap = np.abs(obs[0, ..., 0].astype(int) - its[0, -1])
        most, differ, steps = max(most, int(gap.max())), differ + int((gap > 0).sum()), steps + 1
        a, b = ours.step(action), theirs.step(action)
        obs, its, score = a[0], b[0], score + float(a[1][0])
        assert a[1][0] == b[1][0] and (a[2] == b[2]).all()
        if a[2][0]:
            break
    assert a[2][0] and score > 0 and steps > 100
    assert most <= 1 and differ <= 1e-3 * 84 * 84 * steps  # none where this was written


@installed
def test_a_lost_life_ends_an_episode_of_a_worker_and_the_game_goes_on() -> None:
    env = Atari(game="breakout", fire=True, life_loss=True)
    env.reset(seed=2)
    lives = []
    while True:
        _, _, over, _, info = env.step(0)
        if over:
            lives.append(info["lives"])
            env.reset()
            if len(lives) == 6:
                break
    assert lives == [4, 3, 2, 1, 0, 4]
    env.reset(seed=2)
    assert env.lives == 5, "a seed begins a new game"


@installed
def test_the_reference_env_plays_all_lives_and_says_the_score() -> None:
    from conf.compose import compose
    from conf.nodes import made

    make = made(compose(["env=breakout", "env.max_episode_steps=3000"]).values["env"]["make"])
    rewards = {}
    for rank in (None, 0):
        env, rng = make(num_envs=1, seed=1, rank=rank), np.random.default_rng(4)
        env.reset()
        seen = [env.step(rng.integers(0, 4, 1)) for _ in range(300)]
        first = next(i for i, step in enumerate(seen) if step[2][0])
        rewards[rank] = {float(step[1][0]) for step in seen}
        assert (first < 60) == (rank == 0)
    assert rewards[0] <= {0.0, 1.0} < rewards[None] or rewards[None] == rewards[0]


@installed
def test_fire_serves_by_itself() -> None:
    for fire in (True, False):
        env = Atari(game="breakout", fire=fire)
        env.reset(seed=2)
        over = [env.step(0)[2] for _ in range(800)]
        assert any(over) == fire, "without a ball no life is lost"


@installed
def test_seeds_choose_the_number_of_frames_before_a_game() -> None:
    env = Atari(game="breakout", noops=30)
    frames = []
    for seed in (1, 1, 2, 3, None, None):
        env.reset(seed=seed)
        frames.append(env.ale.getEpisodeFrameNumber())
    assert frames[0] == frames[1] and len(set(frames)) > 3
    assert 1 <= min(frames) and max(frames) <= 30


@installed
def test_of_a_repeated_action_the_last_two_frames_are_read() -> None:
    bare = Atari(game="breakout", noops=1)
    env = ActionRepeat(Atari(game="breakout", noops=1), 4)
    for world in (bare, env):
        world.reset(seed=1)
    for action in (1, 2, 3, 0, 2):
        shown = env.step(action)[0]
        frames = []
        for _ in range(4):
            bare.step(action)
            frames.append(bare.frames[0].copy())
        bare.frames[1], bare.flickers = frames[-2], True
        np.testing.assert_array_equal(shown, bare.look())


@installed
def test_colours_and_other_games() -> None:
    env = make_env("paceline/Atari-v0", stack=2, kwargs={"game": "ms_pacman", "grey": False})
    obs, _ = env.reset()
    assert obs.shape == (1, 84, 84, 6) and obs.std() > 0
    with pytest.raises(ValueError, match=r"env.kwargs.game='MsPacman'.*ms_pacman"):
        make_env("paceline/Atari-v0", kwargs={"game": "MsPacman"})
