from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.counting import Counting, Fault
from envs.played import flat
from envs.toys import TOYS


def make(toy: str, **kwargs: object) -> gym.Env:
    return gym.make(f"paceline/{toy}-v0", disable_env_checker=True, **kwargs).unwrapped


def play(env: gym.Env, policy, seed: int | None = 0) -> tuple[list[np.ndarray], list[float], str]:
    """One episode: its observations, rewards, and how it ended."""
    obs, rewards = [env.reset(seed=seed)[0]], []
    while True:
        shown, reward, terminated, truncated, _ = env.step(policy(obs))
        obs.append(shown)
        rewards.append(reward)
        if terminated or truncated:
            return obs, rewards, "terminated" if terminated else "truncated"


@pytest.mark.filterwarnings("ignore:.*WARN")
def test_a_toy_is_a_proper_gymnasium_env(subtests: pytest.Subtests) -> None:
    for toy in TOYS:
        with subtests.test(toy):
            check_env(make(toy), skip_render_check=True)


def test_a_toy_is_deterministic_given_its_seed(subtests: pytest.Subtests) -> None:
    def three_episodes(toy: str) -> list:
        env = make(toy)
        env.action_space.seed(1)
        return [play(env, lambda _: env.action_space.sample(), s) for s in (7, None, None)]

    for toy in TOYS:
        with subtests.test(toy):
            for one, other in zip(three_episodes(toy), three_episodes(toy), strict=True):
                space = make(toy).observation_space
                for mine, theirs in zip(one[0], other[0], strict=True):
                    np.testing.assert_array_equal(flat(space, mine), flat(space, theirs))
                assert one[1:] == other[1:]


BEST = [
    ("Identity", {"dims": 3}, lambda obs: obs[-1], 0.0),
    ("Identity", {"length": 1}, lambda obs: obs[-1], 0.0),
    ("IdentityDiscrete", {}, lambda obs: obs[-1].argmax(), 0.0),
    ("Corridor", {"length": 5}, lambda _: 1, 1.0),
    ("Chain", {"length": 3}, lambda _: 1, 12.0),
    ("Chain", {"length": 50}, lambda _: 1, 12.0),
    ("Recall", {"delay": 12}, lambda obs: obs[0][:-1].argmax(), 1.0),
    ("Recall", {"delay": 0}, lambda obs: obs[0][:-1].argmax(), 1.0),
    ("Loop", {"reward": 0.5, "limit": 6}, lambda _: [0.3], 3.0),
    ("Quadratic", {"dims": 3}, lambda _: [-0.5, 0.0, 0.5], 0.0),
]


def test_the_optimal_policy_gets_the_documented_return(subtests: pytest.Subtests) -> None:
    for toy, kwargs, policy, best in BEST:
        with subtests.test(toy, **kwargs):
            for seed in range(5):
                assert sum(play(make(toy, **kwargs), policy, seed)[1]) == best


def test_identity_charges_for_the_distance_to_what_is_shown() -> None:
    obs, rewards, ending = play(make("Identity", dims=2), lambda obs: [0.5, -0.5], 3)
    expected = [-np.mean((np.array([0.5, -0.5]) - shown) ** 2) for shown in obs[:-1]]
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    assert len(rewards) == 10 and ending == "terminated"
    obs, rewards, _ = play(make("IdentityDiscrete"), lambda obs: 2, 3)
    assert rewards == [0.0 if shown[2] else -1.0 for shown in obs[:-1]]


def test_a_chain_lures_to_the_left_and_ends_by_its_time_limit() -> None:
    obs, rewards, ending = play(make("Chain", length=5), lambda _: 0)
    assert rewards == [0.001] * 14 and ending == "truncated"
    assert [list(shown) for shown in obs[:2]] == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    obs, rewards, _ = play(make("Chain", length=5, small=0.5), lambda obs: len(obs) % 2)
    assert rewards == [0, 0] * 7, "to and fro between the third and the second cell"
    with pytest.raises(ValueError, match="length=2 must be a whole number of at least 3"):
        make("Chain", length=2)


def test_counting_ends_by_both_kinds_after_every_length() -> None:
    env = make("Counting")
    env.reset(seed=1)
    endings, lengths = [], []
    for episode in range(44):
        _, rewards, _ = played = play(env, lambda _: [0.25], None)
        assert rewards[0] == 16 * (episode + 1)
        endings.append(played[2])
        lengths.append(len(rewards))
    assert lengths == [int(Counting.length(episode)) for episode in range(1, 45)]
    assert set(lengths) == set(range(1, 12))
    assert set(endings) == {"terminated", "truncated"}


def test_follow_predicts_every_transition_of_a_counting_env() -> None:
    env = make("CountingDiscrete")
    stream = None
    obs, _ = env.reset(seed=2)
    for k in range(200):
        action = k % 3
        shown, *rest = env.step(action)
        reward, next_obs, terminated, truncated = Counting.follow(obs[None], np.array([action]))
        np.testing.assert_array_equal(shown, next_obs[0])
        assert rest[:3] == [reward[0], terminated[0], truncated[0]]
        assert stream in (None, shown[2])
        stream, obs = shown[2], shown
        if terminated[0] or truncated[0]:
            obs = env.reset()[0]
            assert obs[1] == 0 and obs[3] == 0


def test_counting_tells_seeds_apart_and_starts_anew_with_each() -> None:
    env = make("Counting")
    starts = [env.reset(seed=seed)[0] for seed in (1, None, 2, 1)]
    assert [start[0] for start in starts] == [0, 1, 0, 0]
    assert starts[0][2] == starts[1][2] == starts[3][2] != starts[2][2]


def test_corridor_gives_nothing_on_the_way_and_has_a_limit() -> None:
    assert play(make("Corridor"), lambda _: 1)[1:] == ([0.0] * 6 + [1.0], "terminated")
    assert play(make("Corridor"), lambda _: 0)[1:] == ([0.0] * 32, "truncated")


@pytest.mark.parametrize("toy", ["Spot", "SpotDiscrete"])
def test_a_spot_is_shown_where_it_is_and_goes_where_it_is_moved(toy: str) -> None:
    env = make(toy)

    def places(image: np.ndarray) -> np.ndarray:
        """[x, y] of the spot and of the mark, by their centres of mass."""
        weights = image[:, :, :2].astype(float) / image[:, :, :2].sum((0, 1))
        centres = (np.arange(len(image)) + 0.5) / len(image)
        return np.stack([weights.sum(0).T @ centres, weights.sum(1).T @ centres], 1)

    def towards(obs: list[np.ndarray]) -> Any:
        spot, mark = places(obs[-1])
        if env.choices:
            return np.linalg.norm(spot + env.MOVES - mark, axis=1).argmin()
        return np.clip((mark - spot) / 0.15, -1, 1)

    returns = []
    for seed in range(20):
        obs, rewards, ending = play(env, towards, seed)
        assert len(rewards) == 25 and ending == "truncated"
        for image, reward in zip(obs[1:], rewards, strict=True):
            spot, mark = places(image)
            np.testing.assert_allclose(-np.linalg.norm(spot - mark), reward, atol=0.05)
        returns.append(sum(rewards))
    assert np.mean(returns) > (-3.0 if env.choices else -1.0)
    with pytest.raises(ValueError, match="choices=4 must be 0, for a Box, or 5"):
        make(toy, choices=4)


def test_half_of_the_answer_is_in_the_image_and_half_in_the_vector() -> None:
    def answer(obs: list[Any]) -> list[int]:
        image, vector = (obs[-1][key] for key in ("image", "vector"))
        halves = (image[:, :4] == 255).all(), (image[:, 4:] == 255).all()
        assert sum(halves) == vector.sum() == 1 and image.sum() == 255 * 32
        return [int(halves[1]), int(vector[1])]

    def pair(obs: list[Any]) -> int:
        return 2 * answer(obs)[0] + answer(obs)[1]

    asked = {pair(play(make("IdentityDict", size=8), pair, seed)[0]) for seed in range(40)}
    assert asked == {0, 1, 2, 3}
    obs, rewards, ending = play(make("IdentityDict", size=8), lambda _: 2, 3)
    assert rewards == [float(pair([shown]) == 2) - 1 for shown in obs[:-1]]
    assert len(rewards) == 10 and ending == "terminated" and {*rewards} == {0.0, -1.0}
    box: dict[str, Any] = {"size": 8, "choices": 0}
    assert sum(play(make("IdentityDict", **box), lambda obs: np.array(answer(obs)) - 0.5)[1]) == 0
    assert play(make("IdentityDict", **box), lambda _: np.full(2, 0.5))[1][0] in (0, -0.5, -1)
    with pytest.raises(ValueError, match="choices=3 must be 0, for a Box, or 4"):
        make("IdentityDict", choices=3)


def test_recall_shows_the_cue_once_and_flags_the_question() -> None:
    obs, rewards, ending = play(make("Recall", cues=3, delay=4), lambda _: 0, 1)
    assert len(rewards) == 5 and ending == "terminated" and rewards[:-1] == [0.0] * 4
    assert obs[0][:3].sum() == 1 and not np.any(obs[1:], axis=0)[:3].any()
    assert [float(shown[3]) for shown in obs[:5]] == [0, 0, 0, 0, 1]
    cues = {int(play(make("Recall"), lambda _: 0, seed)[0][0].argmax()) for seed in range(40)}
    assert cues == {0, 1, 2, 3}


@pytest.mark.parametrize("terminates", [True, False])
def test_a_loop_ends_as_configured_where_the_loop_closes(terminates: bool) -> None:
    env = make("Loop", terminates=terminates, choices=2)
    obs, rewards, ending = play(env, lambda _: 1)
    assert rewards == [1.0, 1.0]
    assert ending == ("terminated" if terminates else "truncated")
    np.testing.assert_array_equal(obs, [[1, 0], [0, 1], [1, 0]])


def test_a_fault_happens_at_its_step_over_all_episodes() -> None:
    env = make("Fault", kind="raise", at=12)
    env.reset(seed=0)
    for _ in range(11):
        if any(env.step([0.0])[2:4]):
            env.reset()
    with pytest.raises(RuntimeError, match="step 12"):
        env.step([0.0])


def test_a_nan_fault_spoils_one_step() -> None:
    env = make("Fault", kind="nan", at=2)
    env.reset(seed=0)
    env.episode, env.obs[0] = 3, 3
    assert not np.isnan(env.step([0.0])[0]).any()
    obs, reward, *_ = env.step([0.0])
    assert np.isnan(obs).all() and np.isnan(reward)
    assert not np.isnan(env.step([0.0])[0]).any()


def test_a_fault_with_a_marker_happens_once(tmp_path: Path) -> None:
    marker = tmp_path / "happened"
    for attempt in range(2):
        env = Fault("raise", at=1, once=str(marker))
        env.reset(seed=0)
        if attempt == 0:
            with pytest.raises(RuntimeError):
                env.step([0.0])
        else:
            env.step([0.0])
    assert marker.exists()


def test_a_hang_never_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    class StillThere(Exception):
        pass

    naps = iter([None, None])

    def sleep(seconds: float) -> None:
        if next(naps, "woken") == "woken":
            raise StillThere

    monkeypatch.setattr(time, "sleep", sleep)
    env = make("Fault", kind="hang")
    env.reset(seed=0)
    with pytest.raises(StillThere):
        env.step([0.0])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [("exit", 13), ("kill", -9)])
def test_exit_and_kill_end_the_process(kind: str, status: int) -> None:
    code = f"from envs.counting import Fault; e = Fault({kind!r}); e.reset(seed=0); e.step([0.0])"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == status
