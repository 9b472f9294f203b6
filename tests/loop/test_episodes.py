"""Greedy episodes count once each, and playing them does not change what is learned."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.parts.vector import Vector
from envs.make import describe, make_env
from paradigms.base import Progress
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.loop.episodes import EvaluationTask, Sample, play
from tests.jobs import job, run
from tests.session.test_evaluator import Constant


def built(slots: int = 1, **options: Any) -> tuple[Agent, VectorEnv[Any, Any, Any]]:
    env = functools.partial(make_env, id="paceline/Identity-v0", **options)
    agent = Constant(describe(env), seed=0)
    Vector(agent)
    return agent, env(num_envs=slots, seed=0, rank=None)


def test_every_slot_plays_one_episode_and_stops_counting() -> None:
    class Uneven:
        """Slot i ends after i + 1 steps of reward 1, and goes on with the next episode."""

        num_envs = 3

        def reset(self, *, seed: list[int]) -> tuple[np.ndarray, dict[str, Any]]:
            self.seeds, self.steps = seed, 0
            return np.zeros((3, 1), np.float32), {}

        def step(self, action: np.ndarray) -> tuple[Any, ...]:
            self.steps += 1
            ended = self.steps % (np.arange(3) + 1) == 0
            return np.zeros((3, 1), np.float32), np.ones(3), ended, np.zeros(3, bool), {}

    world: Any = Uneven()
    agent, _ = built()
    played = play(agent, world, [7, 8, 9])
    assert played is not None
    assert played.returns.tolist() == [1.0, 2.0, 3.0]
    assert played.lengths.tolist() == [1, 2, 3]
    assert world.steps == 3, "it went on after the longest episode"
    fewer = play(agent, world, [7])
    assert fewer is not None
    assert fewer.lengths.tolist() == [1]


def test_lengths_are_env_steps_with_repeated_actions() -> None:
    agent, world = built(slots=2, action_repeat=5)
    played = play(agent, world, [7, 8])
    assert played is not None
    assert played.lengths.tolist() == [10, 10]


@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()])
def test_workers_that_evaluate_learn_the_same(
    paradigm: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paradigms.loop.tasks.COLLECTS_PER_EVALUATION", 4)
    logged: dict[bool, tuple[float, int]] = {}
    ended, played = {}, list[float]()
    run_one = EvaluationTask.run

    def noted(self: EvaluationTask) -> tuple[float, int]:
        gained, length = run_one(self)
        played.append(gained)
        return gained, length

    monkeypatch.setattr(EvaluationTask, "run", noted)
    for evaluate in (True, False):

        def look(progress: Progress, evaluate: bool = evaluate) -> None:
            logged[evaluate] = progress.means["evaluation/worker_return"]

        ended[evaluate] = run(paradigm, job(where="worker" if evaluate else "inline"), look)
    assert logged[True] == (pytest.approx(sum(played)), len(played))
    assert len(played) > 1 and all(-40 <= gained <= 0 for gained in played)
    assert logged[False] == (0.0, 0)
    ended[True].same_as(ended[False])


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (8, 8), (9, 5), (16, 8), (17, 5), (1000, 8)])
def test_a_sample_is_evenly_spaced_over_all_steps(steps: int, kept: int) -> None:
    sample = Sample(8)
    for step in range(steps):
        sample.add(np.full((2, 3), step))
    times = [int(obs[0, 0]) for obs in sample.kept]
    assert len(times) == kept and times[0] == 0
    assert len({*np.diff(times)}) <= 1
    assert steps - times[-1] <= sample.every
