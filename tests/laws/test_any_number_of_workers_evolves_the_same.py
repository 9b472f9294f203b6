"""Laws 21 to 22, of the paradigms without gradients: any number of workers ends with the bits of
one worker; and what travels does not depend on the number of parameters."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from agents.base import Agent, Spec
from agents.ppo import PPO
from envs.make import make_env
from paradigms.base import Progress
from paradigms.errors import Failed
from paradigms.evolution import ARS, ES
from paradigms.loop.ledger import COUNTS
from tests.jobs import AGENTS, EVOLVED, Ended, Idler, job, laid, run, sac, world

EVERY = pytest.mark.parametrize("name", EVOLVED)
LENGTH = 10  # env steps of an episode of Identity
GENERATION = 3 * 2 * 2 * LENGTH  # pairs, halves, slots


def same(one: Ended, two: Ended) -> None:
    one.same_as(two)
    assert one.totals["bytes_moved"] == two.totals["bytes_moved"]
    assert one.totals["episode_length_mean"] == two.totals["episode_length_mean"]


@EVERY
def test_any_number_of_workers_gives_the_bits_of_one(name: str) -> None:
    one = run(EVOLVED[name], job(env_steps=4 * GENERATION))
    assert one.totals["updates"] == 4 and one.totals["env_steps"] == 4 * GENERATION
    start = laid(sac(one.job.spec, 0)).vector
    assert not torch.equal(one.floats, start.floats)
    for workers in (2, 3, 5):  # with 5 two of them have no pair
        same(one, run(EVOLVED[name], job(workers=workers, env_steps=4 * GENERATION)))
    assert not torch.equal(one.floats, run(EVOLVED[name], job(seed=1, env_steps=480)).floats)


@pytest.mark.slow
@EVERY
def test_processes_give_the_bits_of_one_worker_inline(name: str) -> None:
    inline = run(EVOLVED[name], job(env_steps=4 * GENERATION))
    same(inline, run(EVOLVED[name], job(workers=2, crew="process", env_steps=4 * GENERATION)))


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_can_be_evolved(agent: str) -> None:
    """And nothing but the groups that act is moved."""
    pupil = AGENTS[agent]
    few = pupil.job(num_envs=1, workers=2, env_steps=200)
    ended = run(ES(pairs=2, sigma=1.0), few)
    assert ended.totals["updates"] >= 1
    start = laid(pupil.make(few.spec, 0))
    acting = {n for n in start.parts["act"] if n in start.groups}
    for group in start.groups:
        span = start.vector.span(group)
        moved = not torch.equal(ended.floats[span], start.vector.flat(group))
        assert moved == (group in acting), group
    for entry in start.slow:
        assert torch.equal(ended.floats[start.vector.span(entry)], start.vector.flat(entry))


@EVERY
def test_all_workers_hold_the_same_bits_after_a_hundred_generations(name: str) -> None:
    made: list[Agent] = []

    def noted(*args: Any, **options: Any) -> Agent:
        made.append(sac(*args, **options))
        return made[-1]

    pairs = replace(EVOLVED[name], **({"pairs": 2} if name == "es" else {"pairs": 2, "top": 1}))
    few = job(agent=noted, workers=2, num_envs=1, env_steps=100 * 4 * LENGTH)
    ended = run(pairs, few)
    assert ended.totals["updates"] == 100
    assert len(made) == 3, "the driver's and the workers'"
    for agent in made[1:]:
        assert torch.equal(agent.vector.floats, ended.floats)
        assert torch.equal(agent.vector.counts, ended.result.final.counts)


@pytest.mark.parametrize("hidden", [(16,), pytest.param((1000, 1000), marks=pytest.mark.slow)])
def test_what_travels_does_not_depend_on_the_number_of_parameters(hidden: tuple[int, ...]) -> None:
    """A return and a length of 8 bytes each an episode, for a thousand parameters as for a million;
    shared memory holds no parameter but in the copy that the evaluator reads."""
    wide = functools.partial(sac, hidden_sizes=hidden, critic_hidden_sizes=(8,))
    ended = run(ES(pairs=3), job(agent=wide, workers=3, num_envs=1, env_steps=2 * 60))
    size = laid(wide(ended.job.spec, 0)).vector.size("act")
    assert (size > 1_000_000) == (hidden == (1000, 1000))
    assert ended.totals["bytes_moved"] == ended.totals["updates"] * 3 * 2 * 16 == 192


def normalising(spec: Spec, seed: int, device: str = "cpu") -> PPO:
    return PPO(spec, seed, device, hidden_sizes=(8,), normalise=True)


@pytest.mark.parametrize("crew", ["inline", pytest.param("process", marks=pytest.mark.slow)])
@EVERY
def test_statistics_of_observations_are_the_same_for_any_number_of_workers(
    name: str, crew: str
) -> None:
    """They grow between generations, by every step of short episodes, and travel as rows."""
    one = run(EVOLVED[name], job(agent=normalising, env_steps=3 * GENERATION))
    same(one, run(EVOLVED[name], job(agent=normalising, workers=3, crew=crew, env_steps=360)))
    vector = laid(normalising(one.job.spec, 0)).vector
    sums = one.floats[vector.span("normal")]
    assert float(sums[0]) == 360 == one.totals["env_steps"]
    numbers = one.job.spec.observation_space.shape[0]
    assert one.totals["bytes_moved"] == 3 * 3 * 2 * 16 + 360 * numbers * 4


@EVERY
def test_equal_returns_move_nothing(name: str) -> None:
    """Law 6: the first episode of Counting has one step and a return of 0, whatever one does."""
    ended = run(EVOLVED[name], job(world("Counting"), env_steps=5 * 3 * 2 * 2))
    assert ended.totals["updates"] == 5
    start = laid(sac(ended.job.spec, 0)).vector
    assert torch.equal(ended.floats[: start.size("act")], start.floats[: start.size("act")])


class Watched:
    """A factory of envs that notes the seeds of every reset."""

    def __init__(self) -> None:
        self.seeds: list[list[int]] = []

    def __call__(self, **options: Any) -> Any:
        env = make_env(id="paceline/Identity-v0", **options)
        reset = env.reset

        def noted(*, seed: Any = None, options: Any = None) -> Any:
            self.seeds.append(seed)
            return reset(seed=seed, options=options)

        env.reset = noted  # type: ignore[method-assign]
        return env


@EVERY
def test_halves_share_their_seeds_and_nobody_else_does(name: str) -> None:
    worlds = Watched()
    run(EVOLVED[name], replace(job(env_steps=4 * GENERATION), make_env=worlds))
    halves = [*zip(worlds.seeds[::2], worlds.seeds[1::2], strict=True)]
    assert len(halves) == 4 * 3 and all(one == two for one, two in halves)
    seeds = [seed for one, _ in halves for seed in one]
    assert len({*seeds}) == len(seeds) == 4 * 3 * 2
    assert all(0 <= seed < 2**31 for seed in seeds), "EnvPool's are 32 bits"


@EVERY
def test_every_episode_counts_once_in_the_mean(name: str) -> None:
    """Law 18: whole episodes, each counted once, and env steps only with the update they are in."""
    means: list[dict[str, tuple[float, int]]] = []

    def look(progress: Progress) -> None:
        means.append(progress.means)
        assert progress.env_steps == progress.updates * GENERATION

    ended = run(EVOLVED[name], job(workers=2, env_steps=4 * GENERATION), look)
    assert means[-1]["episode/length"] == (4 * GENERATION, 4 * 12)
    assert ended.totals["episodes"] == 4 * 12 and ended.totals["dropped"] == 0
    assert means[-1]["policy_lag/mean"][0] == 0 == ended.totals["policy_lag_max"]
    assert -LENGTH < means[-1]["episode/return"][0] / (4 * 12) <= 0


@EVERY
def test_a_repeated_action_counts_as_many_env_steps(name: str) -> None:
    one, two = (
        run(
            EVOLVED[name],
            job(
                world(action_repeat=repeat, kwargs={"length": 12 * repeat}),
                env_steps=288 * repeat,
            ),
        )
        for repeat in (1, 2)
    )
    assert two.totals["env_steps"] == 2 * one.totals["env_steps"] == 576
    assert two.totals["updates"] == one.totals["updates"] == 2
    assert torch.equal(one.result.final.counts, two.result.final.counts)


@pytest.mark.parametrize("workers", [1, 2])
@EVERY
def test_a_resumed_run_is_the_unbroken_run(name: str, workers: int) -> None:
    """Law 19, wherever the run is broken off: what is half done is played again."""

    def made(**changes: Any) -> Any:
        return job(workers=workers, env_steps=6 * GENERATION, **changes)

    unbroken = run(EVOLVED[name], made())
    states = [p.save() for p in EVOLVED[name].run(made())]
    middles = [s for s in states if 0 < s["ledger"]["counts"][0, COUNTS.index("updates")] < 6]
    assert middles
    for state in middles[:: max(1, len(middles) // 4)]:
        resumed = run(EVOLVED[name], made(resume=state))
        assert torch.equal(resumed.floats, unbroken.floats)
        assert torch.equal(resumed.result.final.counts, unbroken.result.final.counts)
        assert resumed.totals["env_steps"] == unbroken.totals["env_steps"]
        assert resumed.totals["updates"] == unbroken.totals["updates"] == 6


def test_the_learning_rate_follows_its_schedule() -> None:
    def frozen(progress: float) -> float:
        assert 0 < progress <= 1
        return 0.0

    ended = run(ARS(pairs=3, top=2), job(env_steps=480, lr_schedule=frozen))
    assert torch.equal(ended.floats, laid(sac(ended.job.spec, 0)).vector.floats)


@EVERY
def test_a_run_that_is_stopped_ends_with_its_last_whole_generation(name: str) -> None:
    constant = {"workers": 2, "lr_schedule": lambda progress: 1.0}
    endless = job(env_steps=10**9, **constant)
    ended = run(EVOLVED[name], endless, lambda p: p.updates >= 3 and p.stop())
    assert ended.totals["env_steps"] == ended.totals["updates"] * GENERATION >= 3 * GENERATION
    again = run(EVOLVED[name], job(env_steps=ended.totals["env_steps"], **constant))
    assert torch.equal(ended.floats, again.floats)


def test_a_policy_that_is_moved_to_infinity_names_the_learning_rate() -> None:
    with pytest.raises(Failed, match=r"PolicyNotFinite: generation 0 .* lower paradigm\.lr"):
        run(ARS(pairs=3, top=2), job(env_steps=480, lr_schedule=lambda progress: math.inf))


def test_a_reward_that_is_not_finite_names_the_env() -> None:
    broken = world("Fault", kwargs={"kind": "nan", "at": 1})
    with pytest.raises(Failed, match=r"NotFinite: the env of worker 0 .* check env\.id"):
        run(ES(pairs=3), job(broken, Idler, env_steps=10**6))
