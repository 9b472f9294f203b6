"""The actor gives the same transitions in all autoreset modes: those that the rules of the
Counting env say."""

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
    """Also remembers the arguments of `act`."""

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
def test_valid_transitions_are_those_of_the_env(
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


def test_only_next_step_has_reset_steps_and_they_do_not_count() -> None:
    reset_steps = {}
    for mode in MODES:
        actor = make(mode)
        fragments = collected(actor, 10)
        valid = sum(fragment.transitions["valid"].sum() for fragment in fragments)
        reset_steps[mode] = 10 * 8 * 2 - valid
        assert sum(fragment.n_valid for fragment in fragments) == actor.steps == valid
        for fragment in fragments:
            invalid = fragment.transitions[~fragment.transitions["valid"]]
            for name in ("terminated", "truncated", "is_first"):
                assert not invalid[name].any()
    assert reset_steps["same_step"] == reset_steps["disabled"] == 0 < reset_steps["next_step"]


@pytest.mark.parametrize("mode", MODES)
def test_the_agents_state_is_reset_with_every_episode(mode: str) -> None:
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


def test_transitions_have_the_version_and_fragments_are_numbered() -> None:
    fragments = collected(make(rank=0), 3, version=40)
    assert [fragment.number for fragment in fragments] == [0, 1, 2]
    for fragment, version in zip(fragments, (40, 41, 42), strict=True):
        assert (fragment.transitions["version"] == version).all()


def test_explore_is_called_with_the_index_of_every_env_among_all() -> None:
    calls: list[tuple[int, int, int]] = []

    def explore(steps: int, index: int, count: int) -> float:
        calls.append((steps, index, count))
        return index / 10

    actor = make("same_step", rollout_length=4, agent=Looker, explore=explore, rank=2, workers=3)
    collected(actor, 2)
    assert calls == [(0, 4, 6), (0, 5, 6), (3 * 8, 4, 6), (3 * 8, 5, 6)]
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


def test_a_replaced_actor_continues_the_counts() -> None:
    actor = make()
    actor.resume(7, 100)
    (fragment,) = collected(actor, 1)
    assert fragment.number == 7
    assert actor.steps == 100 + fragment.n_valid
    assert fragment.transitions["is_first"][0].all()


def test_episodes_are_truncated_and_envs_renewed_every_so_many_env_steps() -> None:
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
