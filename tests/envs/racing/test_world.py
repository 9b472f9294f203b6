"""The world as a vector env: episodes, laps, rewards, seeds, autoreset, and its laws."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from envs.make import describe, make_env
from envs.racing import rules
from envs.racing.road import Place
from envs.racing.world import Race

GRID = {"start": "grid", "seconds": 300.0}


def centred(race: Race, speed: float) -> np.ndarray:
    """Actions [N, 2] that follow the centreline at a constant speed."""
    bends = race.roads.ahead(race.referee.which, race.index)[0][1]
    at = race.roads.offset[race.referee.which] + race.index
    angle = race.roads.heading[at] - race.cars.yaw
    angle = np.arctan2(np.sin(angle), np.cos(angle))
    wheel = 3.0 * bends + 0.9 * angle - 0.06 * race.lateral
    limit = np.minimum(0.35, 42.0 / np.maximum(race.cars.speed, 1.0) ** 2 + 0.08)
    return np.stack([wheel / limit, 0.5 * (speed - race.cars.vx)], axis=1).clip(-1, 1)


def drive(race: Race, speed: float, steps: int) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {name: [] for name in ("obs", "reward", "over", "info")}
    for _ in range(steps):
        obs, reward, terminated, truncated, info = race.step(centred(race, speed))
        for name, value in zip(kept, (obs, reward, terminated | truncated, info), strict=True):
            kept[name].append(value)
        if (terminated | truncated).all():
            break
    return kept


def test_a_lap_of_the_oval_takes_its_length_over_the_speed() -> None:
    race = Race(2, track="oval", start="grid", seconds=300.0, laps=2, metrics=True)
    race.reset(seed=0)
    kept = drive(race, 20.0, 3000)
    first, flying = race.referee.lap_times[0]
    length = race.tracks[0].length
    assert flying == pytest.approx(length / 20.0, rel=0.01)
    assert first > flying + 1.0, "the first lap begins at rest"
    assert kept["over"][-1].all()
    metrics = kept["info"][-1]["metrics"]
    assert metrics["laps_completed"].tolist() == [2, 2]
    assert metrics["total_distance"] == pytest.approx(2 * length, rel=0.01)
    assert np.sum(kept["reward"], axis=0) == pytest.approx(0.1 * 2 * length, rel=0.01)


def test_who_begins_between_the_lines_has_a_lap_when_all_of_it_is_driven() -> None:
    race = Race(1, track="oval", seconds=300.0)
    race.reset(seed=0)
    referee, length, here, zero = race.referee, race.tracks[0].length, np.array([300]), np.zeros(1)
    roads = race.roads
    race.cars.place(np.array([0]), roads.x[here], roads.y[here], roads.heading[here], zero + 20.0)
    referee.begin(np.array([0]), np.array([0]), Place(here, zero, zero), zero > 0)
    begun = 300 * race.tracks[0].spacing
    while referee.laps[0] == 0:
        assert not drive(race, 20.0, 1)["over"][0].any()
    assert referee.metres[0] == pytest.approx(2 * length - begun, abs=2.5)
    assert referee.lap_times[0][0] == pytest.approx(length / 20.0, rel=0.01)


def test_the_start_line_pays_nothing_to_who_goes_to_and_fro() -> None:
    race = Race(1, track="oval", start="grid", reward="granturismo")
    race.reset(seed=0)
    race._place(np.array([0]), np.zeros(1), np.zeros(1), race.roads.heading[:1], np.array([-10.0]))
    paid, there = 0.0, 0.0
    race.cars.x[:], race.cars.y[:] = race.roads.x[:1], race.roads.y[:1]
    for _ in range(8):
        reward = race.step(np.array([[0.0, 0.0]]))[1]
        paid, there = paid + reward[0], race.referee.metres[0]
    assert there < -2.0, "it rolled back over the line"
    assert paid == pytest.approx(there / rules.SOURCE_INDEX)
    assert race.referee.laps[0] == 0


def test_two_corners_outside_end_an_episode_and_one_does_not() -> None:
    race = Race(2, track="oval", start="grid")
    race.reset(seed=0)
    roads, size, zero = race.roads, race.vehicle, np.zeros(2)
    yaw = roads.heading[0] + np.array([0.3, 0.0])
    # the front left corner of the first car, and both left corners of the second, 0.1 m outside
    corner = 0.5 * size.length * np.sin(0.3) + 0.5 * size.width * np.cos(0.3)
    lateral = roads.left[0] + 0.1 - np.array([corner, 0.5 * size.width])
    x, y = roads.x[0] - lateral * roads.sin[0], roads.y[0] + lateral * roads.cos[0]
    race.cars.place(np.arange(2), x, y, yaw, zero)
    race.referee.follow(race.cars, race.steps)
    assert race.referee.outside.tolist() == [1, 2]
    race.cars.place(np.arange(2), x, y, yaw, zero)
    _, reward, terminated, truncated, _ = race.step(np.array([[0.0, -1.0]] * 2))
    assert terminated.tolist() == [False, True] and not truncated.any()
    assert reward[1] < -4.9 < reward[0]


def test_who_stands_still_is_out_and_the_creep_prevents_it() -> None:
    stand = np.array([[0.0, -1.0]])
    for action, stuck in (("source", True), ("assisted", False)):
        race = Race(1, track="oval", start="grid", action=action, seconds=6.0)
        race.reset(seed=0)
        ends = [race.step(stand) for _ in range(60)]
        assert any(end[2][0] for end in ends) == stuck
        worth = sum(end[1][0] for end in ends[:52])
        assert (worth == pytest.approx(-10.0)) == stuck


def test_time_limits_truncate() -> None:
    race = Race(3, track="oval", start="grid", seconds=1.0)
    race.reset(seed=0)
    ends = [race.step(np.zeros((3, 2)))[2:4] for _ in range(10)]
    assert [bool(end[1].any()) for end in ends] == [False] * 9 + [True]
    assert not any(end[0].any() for end in ends)
    assert describe(lambda **_: race).max_episode_steps == 10


@pytest.mark.parametrize("track", ["chicane", "oval"])
def test_a_mirrored_track_gives_the_mirrored_run_to_the_bit(track: str) -> None:
    one, other = Race(8, track=track), Race(8, track=f"{track}_mirrored")
    assert (one.tracks[0].y == -other.tracks[0].y).all()
    for race in (one, other):
        race.reset(seed=5)
    sign = np.array([1, -1, -1, 1, -1, -1])[:, None]
    other.cars.state[:] = sign * one.cars.state
    other.referee.place.lateral[:] = -one.lateral
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.uniform([-0.6, -0.4], [0.6, 0.8], (8, 2))
        a, b = one.step(actions), other.step(actions * [-1, 1])
        for mine, theirs in zip(a[1:4], b[1:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        going = ~(one.ended | (one.steps < 2))
        assert (sign * one.cars.state == other.cars.state)[:, going].all()
        if one.ended.any():
            break
    assert one.steps[0] > 5


def test_the_same_seed_gives_the_same_lap() -> None:
    laps = []
    for _ in range(2):
        race = Race(4, track="random", circuits=[3, 6], start="grid", seconds=120.0, laps=1)
        race.reset(seed=7)
        kept = drive(race, 9.0, 1200)
        laps.append((np.array(kept["obs"]), race.referee.lap_times))
    np.testing.assert_array_equal(laps[0][0], laps[1][0])
    assert laps[0][1] == laps[1][1]


def test_slots_go_round_the_tracks_and_seeds_start_them_again() -> None:
    race = Race(2, track=["oval", "chicane", "oval_mirrored"])
    names = []
    for _ in range(3):
        race.reset(seed=None if names else 0)
        names.append(race.referee.which.tolist())
    assert names == [[0, 1], [1, 2], [2, 0]]
    assert race.reset(seed=0) and race.referee.which.tolist() == [0, 1]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_autoreset_mode_gives_the_same_transitions(mode: AutoresetMode) -> None:
    """A car that crashes, as each mode shows it, against a race that is never reset."""
    plain = Race(2, track="oval", start="grid", autoreset_mode=AutoresetMode.DISABLED)
    race = Race(2, track="oval", start="grid", autoreset_mode=mode)
    first = plain.reset(seed=[1, 2])[0]
    np.testing.assert_array_equal(race.reset(seed=[1, 2])[0], first)
    actions = np.array([[0.9, 1.0], [0.0, 1.0]])
    while True:
        a, b = plain.step(actions), race.step(actions)
        for mine, theirs in zip(a[1:4], b[1:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        over = a[2] | a[3]
        final = b[4].get("final_obs", b[0])
        np.testing.assert_array_equal(final[over], a[0][over])
        if over.any():
            break
    assert over.tolist() == [True, False], "the first car leaves the road"
    if mode == AutoresetMode.NEXT_STEP:
        obs, reward, terminated, truncated, _ = race.step(actions)
        assert reward[0] == 0 and not terminated[0] and not truncated[0]
        assert obs[0, 0] == 0, "at rest on the grid"
    elif mode == AutoresetMode.SAME_STEP:
        assert b[0][0, 0] == 0 and b[4]["_final_obs"].tolist() == over.tolist()
    else:
        obs = race.reset(options={"reset_mask": over})[0]
        assert obs[0, 0] == 0
        np.testing.assert_array_equal(obs[1], a[0][1])


def test_a_repeated_action_is_that_many_control_steps() -> None:
    once = Race(4, track="chicane")
    twice = Race(4, track="chicane", action_repeat=2, autoreset_mode=AutoresetMode.DISABLED)
    once.reset(seed=1), twice.reset(seed=1)
    for _ in range(5):
        action = np.tile([0.02, 0.5], (4, 1))
        total = once.step(action)[1] + once.step(action)[1]
        obs, reward, *_ = twice.step(action)
        np.testing.assert_array_equal(total, reward)
        np.testing.assert_array_equal(once.observe(), obs)
    assert describe(lambda **_: twice).action_repeat == 2


def test_an_action_that_is_repeated_ends_with_its_episode() -> None:
    race = Race(1, track="oval", start="grid", seconds=0.3, action_repeat=2)
    race.reset(seed=0)
    assert not race.step(np.zeros((1, 2)))[3][0]
    assert race.step(np.zeros((1, 2)))[3][0] and race.steps[0] == 3


@pytest.mark.slow
def test_a_million_random_steps_without_a_nan() -> None:
    race = Race(256, track=["chicane", "oval", "random", "random_mirrored"], action="source")
    rng, most, ended = np.random.default_rng(0), 0.0, 0
    race.reset(seed=0)
    for step in range(4000):
        actions = rng.uniform(-1, 1, (256, 2))
        obs, reward, terminated, truncated, _ = race.step(np.sign(actions) if step % 3 else actions)
        assert np.isfinite(obs).all() and np.isfinite(reward).all()
        most, ended = max(most, float(np.abs(obs).max())), ended + (terminated | truncated).sum()
    assert most < 30 and ended > 1000


def test_gymnasium_makes_one_car_and_many() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it advises bounded observation spaces
        env = gym.make("paceline/Race-v0", track="oval", metrics=True, **GRID | {"seconds": 2.0})
        check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=1)
    end = [env.step(np.zeros(2, np.float32)) for _ in range(20)][-1]
    assert end[3] and end[4]["metrics"]["total_time"] == pytest.approx(2.0)
    many = gym.make_vec(
        "paceline/Race-v0", 3, vectorization_mode="vector_entry_point", track="oval"
    )
    assert many.reset(seed=1)[0].shape == (3, 42)


def test_make_env_gives_workers_streams_of_their_own_and_the_reference_env_its_keywords() -> None:
    def make(**keywords: Any) -> Any:
        return make_env(
            "paceline/Race-v0",
            engine="vector",
            kwargs={"track": "oval"},
            reference=GRID,
            per_worker=[{}, {"track": "chicane"}],
            num_envs=4,
            **keywords,
        )

    starts = [
        make(rank=rank, seed=seed).reset()[0] for rank, seed in ((0, 0), (0, 0), (2, 0), (0, 1))
    ]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0] != starts[2]).any() and (starts[0] != starts[3]).any()
    assert make(rank=1).unwrapped.tracks[0].name == "chicane"
    reference = make(rank=None).unwrapped
    assert (reference.start, reference.limit) == ("grid", 3000)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"track": "monza"}, "is not one of|choose"),
        ({"start": "pits"}, "start='pits' is not one of anywhere, grid"),
        ({"reward": "money"}, "is not one of progress, granturismo, custom"),
        ({"circuits": [3]}, "must be two seeds"),
        ({"track": []}, "must name a track"),
        ({"colour": "red"}, "it takes num_envs, track,"),
    ],
)
def test_wrong_keywords_are_refused_in_one_sentence(keywords: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        make_env("paceline/Race-v0", engine="vector", kwargs=keywords)
    assert "env.kwargs" in str(caught.value)


def test_only_an_id_with_a_vector_env_of_its_own_has_the_engine_vector() -> None:
    for id in ("Pendulum-v1", "CartPole-v1"):  # the second's takes no autoreset_mode
        with pytest.raises(ValueError, match=r"env\.engine=vector: .* choose env\.engine="):
            make_env(id, engine="vector")
