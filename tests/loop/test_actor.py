"""The actor gives the same transitions in all autoreset modes: those of the Counting world's own
rules."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from agents.base import Acted, Agent, State
from envs.counting import Counting
from envs.make import describe
from paradigms.experience.layout import Fragment, Layout
from paradigms.loop.actor import Actor
from tests.counting import Counter, life, rule
from tests.jobs import job, laid, sac, world

MODES = ("next_step", "same_step", "disabled")


class Looker(Counter):
    """Also remembers what it was shown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.explored: list[list[float]] = []
        self.states: list[np.ndarray] = []

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        assert isinstance(explore, np.ndarray) and explore.dtype == np.float32
        self.explored.append(explore.tolist())
        self.states.append(state["age"].copy())
        return super().act(obs, state, explore)


def make(
    mode: str = "next_step",
    *,
    rollout_length: int = 8,
    num_envs: int = 2,
    agent: type[Counter] = Counter,
    worlds: Any = None,
    **options: Any,
) -> Actor:
    worlds = world("Counting", autoreset=mode) if worlds is None else worlds
    spec = describe(worlds)
    made = agent(spec, 0, streams=num_envs)
    layout = Layout(spec.with_extras(made.extras), rollout_length, num_envs)
    rank = options.get("rank", 0)
    settings = {"explore": lambda steps, index, count: 0.0, "seed": 0, **options}
    return Actor(worlds(num_envs=num_envs, seed=0, rank=rank), made, layout, **settings)


def collected(actor: Actor, fragments: int, version: int = 0) -> list[Fragment]:
    """Copies of some fragments, as the actor overwrites its own."""
    return [Fragment(actor.rank, actor.collect(version + k).data.copy()) for k in range(fragments)]


def streams(fragments: list[Fragment]) -> list[np.ndarray]:
    """The valid transitions of each slot, in order."""
    transitions = np.concatenate([fragment.transitions for fragment in fragments])
    return [
        transitions[:, slot][transitions["valid"][:, slot]] for slot in range(transitions.shape[1])
    ]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(MODES), st.integers(1, 13), st.integers(1, 3), st.integers(1, 8))
def test_valid_rows_are_the_worlds_own_transitions(
    mode: str, rollout_length: int, num_envs: int, fragments: int
) -> None:
    actor = make(mode, rollout_length=rollout_length, num_envs=num_envs)
    for transitions in streams(collected(actor, fragments)):
        for name, column in life(transitions["obs"][0, 2], len(transitions)).items():
            assert_array_equal(transitions[name], column, name)
        assert_array_equal(transitions["age"], transitions["obs"][:, 1])
    actor.env.close()


@pytest.mark.parametrize("mode", MODES)
def test_each_end_has_its_own_last_observation(mode: str) -> None:
    actor = make(mode)
    seen = 0
    for fragment in collected(actor, 12):
        ended = fragment.transitions["terminated"] | fragment.transitions["truncated"]
        transitions = fragment.transitions[ended]
        obs = transitions["obs"].reshape(-1, 4)
        assert_array_equal(
            fragment.final_obs[ended].reshape(-1, 4), Counting.follow(obs, rule(obs))[1]
        )
        seen += int(ended.sum())
    assert seen > 20


@pytest.mark.parametrize("mode", MODES)
def test_next_obs_is_what_the_envs_show_after_the_last_step(mode: str) -> None:
    fragments = collected(make(mode, rollout_length=3), 20)
    for one, two in itertools.pairwise(fragments):
        assert_array_equal(one.next_obs, two.transitions["obs"][0])


def test_only_next_step_makes_steps_up_and_they_do_not_count() -> None:
    made_up = {}
    for mode in MODES:
        actor = make(mode)
        fragments = collected(actor, 10)
        valid = sum(fragment.transitions["valid"].sum() for fragment in fragments)
        made_up[mode] = 10 * 8 * 2 - valid
        assert sum(fragment.n_valid for fragment in fragments) == actor.steps == valid
        for fragment in fragments:
            invalid = fragment.transitions[~fragment.transitions["valid"]]
            for name in ("terminated", "truncated", "is_first"):
                assert not invalid[name].any()
    assert made_up["same_step"] == made_up["disabled"] == 0 < made_up["next_step"]


@pytest.mark.parametrize("mode", MODES)
def test_the_state_starts_anew_with_every_episode(mode: str) -> None:
    actor = make(mode, agent=Looker)
    fragments = collected(actor, 10)
    ages = np.array(actor.agent.states).reshape(10, 8, 2)  # type: ignore[attr-defined]
    for fragment, age in zip(fragments, ages, strict=True):
        valid = fragment.transitions["valid"]
        assert_array_equal(age[valid], fragment.transitions["obs"][valid][:, 1])


@pytest.mark.parametrize("mode", MODES)
def test_returns_and_lengths_are_those_of_finished_episodes(mode: str) -> None:
    actor = make(mode, num_envs=1)
    collected(actor, 10)
    episodes = actor.take_episodes()
    assert len(episodes) > 8
    for episode, (total, length) in enumerate(episodes):
        steps = Counting.length(episode)
        assert length == steps
        assert total == sum(16 * episode + step for step in range(steps))
    assert actor.take_episodes() == []


def test_rows_have_the_version_and_fragments_are_numbered() -> None:
    fragments = collected(make(rank=0), 3, version=40)
    assert [fragment.number for fragment in fragments] == [0, 1, 2]
    for fragment, version in zip(fragments, (40, 41, 42), strict=True):
        assert (fragment.transitions["version"] == version).all()


def test_exploration_is_asked_for_every_env_by_its_place_among_all() -> None:
    asked: list[tuple[int, int, int]] = []

    def explore(steps: int, index: int, count: int) -> float:
        asked.append((steps, index, count))
        return index / 10

    actor = make("same_step", rollout_length=4, agent=Looker, explore=explore, rank=2, workers=3)
    collected(actor, 2)
    assert asked == [(0, 4, 6), (0, 5, 6), (3 * 8, 4, 6), (3 * 8, 5, 6)]
    looker: Any = actor.agent
    assert looker.explored == [[pytest.approx(0.4), pytest.approx(0.5)]] * 8


def sac_actor(seed: int = 0, rank: int = 0) -> Actor:
    agent: Agent = laid(sac(job().spec, 0))
    layout = Layout(job().spec, 4, 2)
    return Actor(
        world("Quadratic")(num_envs=2, seed=0),
        agent,
        layout,
        explore=lambda *_: 0.5,
        seed=seed,
        rank=rank,
    )


def test_draws_depend_on_seed_rank_and_number_of_the_fragment_alone() -> None:
    def actions(actor: Actor, number: int) -> np.ndarray:
        actor.resume(number, 0)
        return collected(actor, 1)[0].transitions["action"].copy()

    plain, late = sac_actor(), sac_actor()
    late.agent.rng.act.manual_seed(12345)
    first = actions(plain, 3)
    assert_array_equal(first, actions(late, 3))
    others = [actions(sac_actor(), 4), actions(sac_actor(rank=1), 3), actions(sac_actor(seed=1), 3)]
    for other in others:
        assert not np.isin(first, other).any()


def test_whoever_takes_over_goes_on_counting() -> None:
    actor = make()
    actor.resume(7, 100)
    (fragment,) = collected(actor, 1)
    assert fragment.number == 7
    assert actor.steps == 100 + fragment.n_valid
    assert fragment.transitions["is_first"][0].all()


def test_episodes_are_given_up_and_worlds_renewed_when_it_is_due() -> None:
    worlds, built = world("Counting", autoreset="same_step"), [0]

    def renew() -> Any:
        built[0] += 1
        return worlds(num_envs=2, seed=1000 + built[0])

    actor = make("same_step", rollout_length=4, renew=renew, every_env_steps=20)
    fragments = collected(actor, 9)  # 8 steps each: more than 20, 40 and 60 after 3, 5 and 8
    assert built == [3]
    lives = [{*fragment.transitions["obs"][:, 0, 2].tolist()} for fragment in fragments]
    assert [len(life) for life in lives] == [1] * 9
    assert [one == two for one, two in itertools.pairwise(lives)] == [
        True, True, False, True, False, True, True, False,
    ]  # fmt: skip
    for at in (0, 3, 5, 8):
        assert fragments[at].transitions["is_first"][0].all()


def test_a_nan_is_an_error_that_names_the_worker_and_the_setting() -> None:
    worlds = world("Fault", kwargs={"kind": "nan", "at": 5})
    actor = make(worlds=worlds, rank=3, workers=4)
    with pytest.raises(FloatingPointError, match=r"worker 3 returned a NaN .* check env.id"):
        actor.collect(0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [4, 7], ids=["in the middle", "at the last step of a turn"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_nan_observation_alone_is_noticed(
    ends: bool, at: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be bootstrapped from: as an episode's last one or at the write head."""
    actor = make(mode, num_envs=1)
    plain, steps = actor.env.step, itertools.count()

    def step(action: Any) -> Any:
        obs, reward, terminated, truncated, info = plain(action)
        if next(steps) != at:
            return obs, reward, terminated, truncated, info
        bad = np.full_like(obs, np.nan)
        if ends and mode == "same_step":
            return obs, reward, terminated, truncated | True, {"final_obs": bad}
        return bad, reward, terminated, truncated | ends, info

    monkeypatch.setattr(actor.env, "step", step)
    with pytest.raises(FloatingPointError):
        actor.collect(0)
