"""The learner draws a batch and lets the agent learn, by number and not by time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Agent, Batch, Learned
from agents.sac import SAC
from paradigms.experience.uniform import Uniform
from paradigms.loop.learner import Learner
from tests.jobs import job, laid, sac

SPEC = job().spec


def replay(writers: int = 2, fragments: int = 5) -> Uniform:
    """Rewards are the rank, versions the number of the fragment."""
    made = Uniform(SPEC, capacity=1000, writers=writers, num_envs=1, rollout_length=8)
    for rank in range(writers):
        for number in range(fragments):
            fragment = made.layout.empty(rank)
            fragment.transitions["valid"] = True
            fragment.transitions["reward"], fragment.transitions["version"] = rank, number
            fragment.number, fragment.n_valid = number, 8
            made.add(fragment)
    return made


def learner(agent: Agent | None = None, **options: Any) -> Learner:
    agent = laid(sac(SPEC, 0)) if agent is None else agent
    return Learner(agent, replay(), **{"batch_size": 32, "seed": 0, **options})


def batch_of(number: int, *before: int, **options: Any) -> Batch:
    """The batch of update `number` after others."""
    batches: dict[int, Batch] = {}
    made = learner(seen=lambda batch, n: batches.update({n: batch}), **options)
    for other in (*before, number):
        assert made.update(other) == 1
    assert {*batches} == {number, *before}
    return batches[number]


def test_what_an_update_draws_depends_on_its_number_alone() -> None:
    first = batch_of(7)
    assert torch.equal(batch_of(7, 3, 12, 1).index, first.index)
    for other in (batch_of(8), batch_of(7, rank=1), batch_of(7, seed=1)):
        assert not torch.equal(other.index, first.index)


def test_what_an_agent_draws_while_learning_depends_on_the_number_alone() -> None:
    agents = [laid(sac(SPEC, 0)) for _ in range(2)]
    agents[1].rng.learn.manual_seed(99)
    for agent in agents:
        learner(agent).update(3)
    assert torch.equal(agents[0].vector.floats, agents[1].vector.floats)


def test_only_transitions_of_its_ranks_and_below_the_write_positions_are_drawn() -> None:
    assert {*batch_of(0, ranks=(1,)).reward.tolist()} == {1.0}
    assert {*batch_of(0).reward.tolist()} == {0.0, 1.0}
    seen: list[Batch] = []
    learner(seen=lambda batch, number: seen.append(batch)).update(0, heads=np.array([16, 8]))
    assert {*seen[0].version.tolist()} == {0, 1}


def test_the_replay_is_updated_with_the_agents_priorities() -> None:
    class WithPriorities(SAC):
        def learn(self, batch: Batch) -> Learned:
            return super().learn(batch)._replace(updates=3, priority=batch.reward + 1)

    updates: list[tuple[torch.Tensor, torch.Tensor]] = []
    seen: list[Batch] = []
    made = learner(laid(WithPriorities(SPEC, 0)), seen=lambda batch, number: seen.append(batch))
    made.replay.update = lambda *update: updates.append(update)  # type: ignore[method-assign]
    assert made.update(0) == 3
    ((index, priority),) = updates
    assert torch.equal(index, seen[0].index)
    assert torch.equal(priority, seen[0].reward + 1)


def test_the_agents_schedules_and_the_learning_rates_follow_the_progress() -> None:
    made = learner(lr_schedule=lambda progress: 1 - progress)
    made.reached(0.25)
    assert (made.agent.progress, made.agent.optim.lr_factor) == (0.25, 0.75)


def test_there_are_no_metrics_before_the_first_update() -> None:
    assert learner().metrics() == {}


def test_metrics_are_numbers_of_the_last_update() -> None:
    made = learner()
    made.update(0)
    logged = made.metrics()
    assert {"loss/critic", "loss/actor", "policy/entropy", "policy/norm"} < {*logged}
    assert all(type(value) is float and np.isfinite(value) for value in logged.values())
    # 40 transitions a stream, drawn uniformly: half a stream old on average, +- 4 / sqrt(32)
    assert logged["replay/age"] == pytest.approx(20, abs=4 * 40 / np.sqrt(12 * 32))
    actor = made.agent.vector.flat("actor")
    assert logged["policy/norm"] == pytest.approx(float(actor.norm()))
