"""Laws 1 to 3: with one worker in lockstep every paradigm is the sequential loop, bit for bit: all
floats, counts, and everything that the replay holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from agents.base import Batch, Learned
from agents.sac import SAC
from paradigms.allreduce import AllReduce
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.hogwild import Hogwild
from tests.jobs import AGENTS, PARADIGMS, Ended, job, laid, run, sac

WIRINGS = {
    name: paradigm for name, paradigm in PARADIGMS.items() if name not in ("sequential", "dupdate")
}
TAKEN_WHOLE = {
    "damped by 0": DUpdate(merge="damped", damping=0.0),
    "delta of scale 1": DUpdate(merge="delta", scale=1.0),
    "mean of one": DUpdate(merge="mean"),
}


@pytest.mark.parametrize("agent", [name for name in AGENTS if "plain Adam" not in name])
def test_one_worker_equals_sequential_and_sequential_itself(agent: str) -> None:
    """(Hogwild brings its own Adam, so the plain one is left out.)"""
    few = AGENTS[agent].job(env_steps=80)
    sequential = run(PARADIGMS["sequential"], few)
    assert sequential.totals["updates"] > 8
    sequential.same_as(run(PARADIGMS["sequential"], few))
    for paradigm in (*WIRINGS.values(), TAKEN_WHOLE["delta of scale 1"]):
        sequential.same_as(run(paradigm, few))


@pytest.fixture(scope="module")
def sequential() -> Ended:
    ended = run(PARADIGMS["sequential"], job())
    assert ended.totals["updates"] > 64
    return ended


def test_another_seed_is_another_run(sequential: Ended) -> None:
    other = run(PARADIGMS["sequential"], job(seed=1))
    assert not torch.equal(other.floats, sequential.floats)


def test_one_worker_whose_work_is_taken_whole_equals_sequential(sequential: Ended) -> None:
    for paradigm in TAKEN_WHOLE.values():
        sequential.same_as(run(paradigm, job()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dcollect", "hogwild", "locked", "dupdate", "allreduce", "a3c", "gorila"]
)
def test_one_worker_in_a_process_equals_sequential(name: str, sequential: Ended) -> None:
    paradigm = {**WIRINGS, "dupdate": TAKEN_WHOLE["delta of scale 1"]}[name]
    sequential.same_as(run(paradigm, job(crew="process")))


@pytest.mark.parametrize("sample_from", ["all", "own"])
def test_locked_equals_hogwild_where_nobody_interferes(sample_from: str) -> None:
    """Inline a step is never interrupted, so the lock changes nothing."""
    hogwild, locked = (
        run(Hogwild(locked=locked, sample_from=sample_from), job(workers=2))
        for locked in (False, True)
    )
    hogwild.same_as(locked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paradigm", "agent"),
    [
        (DCollect(), "sac"),
        (DCollect(), "sac, prioritized"),
        (DCollect(), "sac, elite"),
        (DCollect(), "reinforce, fifo"),
        (DUpdate(), "sac, prioritized"),
        (DUpdate(), "sac, elite"),
        (DUpdate(), "reinforce"),
        (DUpdate(merge="elastic"), "sac"),
        (DUpdate(merge="elastic"), "reinforce, fifo"),
        (AllReduce(), "sac"),
        (AllReduce(), "sac, prioritized"),
        (AllReduce(), "ppo"),
        (AllReduce(batch="each"), "reinforce, fifo"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_lockstep_in_processes_gives_the_bits_of_lockstep_inline(paradigm: Any, agent: str) -> None:
    inline, processes = (
        run(paradigm, AGENTS[agent].job(workers=3, crew=crew)) for crew in ("inline", "process")
    )
    assert inline.totals["updates"] > 8
    inline.same_as(processes)


def test_options_that_change_the_agent_change_nothing_in_the_law() -> None:
    def options(spec: Any, seed: int, device: str) -> SAC:
        return sac(
            spec, seed, device, n_step=3, average=0.01, layer_norm=True, noise="pink", clip=1.0
        )

    sequential = run(PARADIGMS["sequential"], job(agent=options, updates_per_env_step=0.5))
    for paradigm in (*WIRINGS.values(), TAKEN_WHOLE["delta of scale 1"]):
        sequential.same_as(run(paradigm, job(agent=options, updates_per_env_step=0.5)))


def test_samples_of_the_learner_are_those_that_workers_would_draw() -> None:
    for agent in ("sac", "sac, elite", "dqn with frames"):
        shared, sent = (
            run(DUpdate(sample_from=sample_from), AGENTS[agent].job(workers=3))
            for sample_from in ("all", "learner")
        )
        assert shared.totals["updates"] > 8
        shared.same_as(sent)


@pytest.mark.parametrize("crew", ["inline", pytest.param("process", marks=pytest.mark.slow)])
def test_the_td_errors_of_its_samples_come_back_to_the_learner(crew: str) -> None:
    """Sequential draws with the priorities of all earlier batches, as do tasks of one update."""
    few = AGENTS["sac, prioritized"].job(env_steps=160, crew=crew)
    sequential = run(PARADIGMS["sequential"], few)
    assert sequential.totals["updates"] > 64
    one = DUpdate(merge="delta", scale=1.0, sample_from="learner", task_updates=1)
    sequential.same_as(run(one, few))
    assert not torch.equal(run(replace(one, task_updates=4), few).floats, sequential.floats)


def test_damping_of_one_moves_nothing() -> None:
    ended = run(DUpdate(merge="damped", damping=1.0), job())
    assert ended.totals["updates"] > 64
    assert torch.equal(ended.floats, laid(sac(ended.job.spec, 0)).vector.floats)


class Poisoned(SAC):
    """Comes back from every update with a NaN."""

    def learn(self, batch: Batch) -> Learned:
        learned = super().learn(batch)
        self.vector.flat("critic")[0] = math.nan
        return learned


class PoisonedOnce(Poisoned):
    """Comes to a vector that is not finite in its third update."""

    def learn(self, batch: Batch) -> Learned:
        self.calls = getattr(self, "calls", 0) + 1
        return super().learn(batch) if self.calls == 3 else SAC.learn(self, batch)


def test_a_nan_moves_nothing_and_is_counted() -> None:
    for damping in (0.0, 0.8, 1.0):
        ended = run(DUpdate(merge="damped", damping=damping), job(agent=Poisoned))
        assert torch.equal(ended.floats, laid(Poisoned(ended.job.spec, 0)).vector.floats)
        assert ended.totals["lost"] == ended.totals["merges"] > 4
        assert ended.totals["updates"] == 0, "refused updates do not count"


def test_batches_whose_updates_were_refused_change_no_priority() -> None:
    poisoned = replace(AGENTS["sac, prioritized"].job(workers=2), make_agent=Poisoned)
    ended = run(DUpdate(sample_from="learner"), poisoned)
    assert ended.totals["lost"] == ended.totals["merges"] > 4


def test_an_elastic_worker_that_became_nan_begins_anew() -> None:
    ended = run(DUpdate(merge="elastic"), job(agent=PoisonedOnce))
    assert ended.totals["lost"] == 1
    assert ended.totals["updates"] > 64
