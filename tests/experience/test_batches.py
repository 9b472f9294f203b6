"""Batches that the learner draws for workers, and the priorities that come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.parts.draws import reseed
from paradigms.experience.batches import DrawnBatches
from paradigms.experience.uniform import Uniform
from tests import jobs
from tests.jobs import AGENTS


class Noting(Uniform):
    """A replay that remembers its updates."""

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        self.updates = [*getattr(self, "updates", []), (index.tolist(), priority.tolist())]


def filled() -> tuple[Noting, DrawnBatches]:
    """Two writers of two envs, a fragment of each, and space for three batches of five."""
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
    return replay, DrawnBatches(replay, workers=2, batches=3, size=5, seed=7, device="cpu")


def test_a_worker_receives_the_batches_that_it_would_have_drawn() -> None:
    replay, sent = filled()
    heads = replay.heads()
    sent.send(1, 40, 3, heads=heads)
    received = sent.received(1)
    for number in (40, 41, 42):
        reseed(generator := torch.Generator(), 7, "sample", 0, number)
        drawn, got = replay.sample(5, generator, heads=heads), received.sample(5, torch.Generator())
        assert set(drawn) == set(got)
        for name in drawn:
            assert drawn[name].dtype == got[name].dtype
            assert torch.equal(drawn[name], got[name])
    assert sent.bytes_moved == 3 * 5 * replay.layout.sampled.itemsize


def test_every_source_begins_at_the_first_batch_and_rewinds_to_it() -> None:
    replay, sent = filled()
    sent.send(0, 0, 3, heads=replay.heads())
    one, other = sent.received(0), sent.received(0)
    first, _ = one.sample(5, torch.Generator()), one.sample(5, torch.Generator())
    assert torch.equal(other.sample(5, torch.Generator()).index, first.index)
    one.rewind()
    assert torch.equal(one.sample(5, torch.Generator()).index, first.index)


def test_the_replay_is_updated_with_one_tasks_priorities_in_the_order_of_its_batches() -> None:
    replay, sent = filled()
    received = sent.received(0)
    for task, learns in enumerate((3, 2)):
        sent.send(0, 10 * task, learns, heads=replay.heads())
        received.rewind()
        expected = []
        for k in range(learns):
            batch = received.sample(5, torch.Generator())
            expected.append((batch.index.tolist(), [float(task + k)] * 5))
            received.update(batch.index, torch.full((5,), float(task + k)))
        replay.updates = []
        sent.apply_priorities(0)
        assert replay.updates == expected
        sent.apply_priorities(1)
        assert replay.updates == expected, "the other worker has updated nothing"


def test_a_batch_is_a_copy() -> None:
    replay, sent = filled()
    sent.send(0, 0, 1, heads=replay.heads())
    batch = sent.received(0).sample(5, torch.Generator())
    before = batch.obs.clone()
    sent.table(0)["obs"] = 0
    assert torch.equal(batch.obs, before)


@pytest.mark.parametrize("agent", ["sac", "sac, elite", "sac, prioritized"])
def test_every_replay_that_keeps_transitions_fills_all_columns(agent: str) -> None:
    job = AGENTS[agent].job()
    replay = job.make_replay(job.spec, writers=1, num_envs=1, rollout_length=4, n_step=1, gamma=0.9)
    fragment = replay.layout.empty(0)
    fragment.transitions["valid"], fragment.n_valid = True, 4
    replay.add(fragment)
    columns = replay.columns(2, torch.Generator(), replay.heads())
    assert set(columns) == set(replay.layout.sampled.names)
