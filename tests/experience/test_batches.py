"""What the learner draws, sends and hears: copies of its batches, a task at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.parts.draws import reseed
from paradigms.experience.batches import Samples
from paradigms.experience.uniform import Uniform
from tests import jobs
from tests.jobs import AGENTS


class Noting(Uniform):
    """A replay that remembers what it is told."""

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        self.told = [*getattr(self, "told", []), (index.tolist(), priority.tolist())]


def filled() -> tuple[Noting, Samples]:
    """Two writers of two envs, some turns of each, and room for three batches of five."""
    job = jobs.job(workers=2)
    replay = Noting(job.spec, capacity=1_000, writers=2, num_envs=2, rollout_length=4, n_step=2)
    for rank in (0, 1):
        fragment = replay.layout.empty(rank)
        for name in ("obs", "action", "reward"):
            fragment.transitions[name] = np.random.default_rng(rank).normal(
                size=fragment.transitions[name].shape
            )
        fragment.transitions["valid"], fragment.n_valid = True, 8
        replay.add(fragment)
    return replay, Samples(replay, workers=2, batches=3, size=5, seed=7, device="cpu")


def test_a_worker_gets_what_it_would_have_drawn() -> None:
    replay, samples = filled()
    heads = replay.heads()
    samples.send(1, 40, 3, heads=heads)
    sent = samples.of(1)
    for number in (40, 41, 42):
        reseed(generator := torch.Generator(), 7, "sample", 0, number)
        drawn, got = replay.sample(5, generator, heads=heads), sent.sample(5, torch.Generator())
        assert set(drawn) == set(got)
        for name in drawn:
            assert drawn[name].dtype == got[name].dtype
            assert torch.equal(drawn[name], got[name])
    assert samples.bytes_moved == 3 * 5 * replay.layout.sampled.itemsize


def test_a_task_is_begun_anew_by_whoever_takes_it_over() -> None:
    replay, samples = filled()
    samples.send(0, 0, 3, heads=replay.heads())
    died, heir = samples.of(0), samples.of(0)
    first, _ = died.sample(5, torch.Generator()), died.sample(5, torch.Generator())
    assert torch.equal(heir.sample(5, torch.Generator()).index, first.index)
    died.rewind()
    assert torch.equal(died.sample(5, torch.Generator()).index, first.index)


def test_the_replay_hears_of_the_batches_of_one_task_in_their_order() -> None:
    replay, samples = filled()
    sent = samples.of(0)
    for task, learns in enumerate((3, 2)):
        samples.send(0, 10 * task, learns, heads=replay.heads())
        sent.rewind()
        said = []
        for k in range(learns):
            batch = sent.sample(5, torch.Generator())
            said.append((batch.index.tolist(), [float(task + k)] * 5))
            sent.update(batch.index, torch.full((5,), float(task + k)))
        replay.told = []
        samples.apply_priorities(0)
        assert replay.told == said
        samples.apply_priorities(1)
        assert replay.told == said, "the other worker has said nothing"


def test_a_batch_is_a_copy() -> None:
    replay, samples = filled()
    samples.send(0, 0, 1, heads=replay.heads())
    batch = samples.of(0).sample(5, torch.Generator())
    before = batch.obs.clone()
    samples.table(0)["obs"] = 0
    assert torch.equal(batch.obs, before)


@pytest.mark.parametrize("agent", ["sac", "sac, elite", "sac, prioritized"])
def test_every_replay_that_keeps_rows_fills_all_columns(agent: str) -> None:
    job = AGENTS[agent].job()
    replay = job.make_replay(job.spec, writers=1, num_envs=1, rollout_length=4, n_step=1, gamma=0.9)
    fragment = replay.layout.empty(0)
    fragment.transitions["valid"], fragment.n_valid = True, 4
    replay.add(fragment)
    columns = replay.columns(2, torch.Generator(), replay.heads())
    assert set(columns) == set(replay.layout.sampled.names)
