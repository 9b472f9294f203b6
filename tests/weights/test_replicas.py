"""Whole runs of allreduce: replicas with the same bits, and batches that are divided."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.base import Agent, Batch, Learned, Spec
from agents.ppo import PPO
from agents.sac import SAC
from paradigms.allreduce import AllReduce
from paradigms.weights.reduced import Together
from tests.jobs import AGENTS, ONCE, Pupil, job, run
from tests.weights.test_reduced import alike


def replicas(monkeypatch: pytest.MonkeyPatch) -> list[Agent]:
    """Every agent that a run puts under Together."""
    made: list[Agent] = []
    build = Together.__init__

    def noted(self: Together, agent: Agent, *args: Any, **options: Any) -> None:
        made.append(agent)
        build(self, agent, *args, **options)

    monkeypatch.setattr(Together, "__init__", noted)
    return made


def stops_early(spec: Spec, seed: int, device: str = "cpu") -> PPO:
    """Whose workers make different numbers of updates, and which has bounds and statistics."""
    return PPO(
        spec, seed, device, hidden_sizes=(16, 16), epochs=4, minibatches=2, lr=0.03,
        target_kl=0.01, normalise=True, scale_reward=True, max_log_std=-0.5,
    )  # fmt: skip


EARLY = Pupil(stops_early, replay=AGENTS["ppo"].replay, changes=ONCE)


@pytest.mark.parametrize("batches", ["split", "each"])
@pytest.mark.parametrize(
    "pupil",
    [AGENTS["sac"], AGENTS["sac, prioritized"], AGENTS["td3"], AGENTS["ppo"], EARLY],
    ids=["sac", "prioritized", "td3", "ppo", "ppo that stops early"],
)
def test_all_replicas_of_a_run_end_with_the_same_bits(
    pupil: Pupil, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, uneven = replicas(monkeypatch), list[bool]()
    finish = Together.finish

    def noted(self: Together) -> None:
        uneven.append(self._uneven)
        finish(self)

    monkeypatch.setattr(Together, "finish", noted)
    ended = run(AllReduce(batch=batches), pupil.job(workers=3))
    assert any(uneven) == (pupil is EARLY or (pupil is AGENTS["ppo"] and batches == "split"))
    assert len(made) == 3
    alike(made)
    assert torch.equal(ended.floats, made[0].vector.floats)
    assert ended.totals["updates"] == int(ended.result.final.counts[0]) > 8
    assert ended.totals["policy_lag_max"] <= (0 if pupil.changes is not ONCE else 8 * 2 * 3)


@pytest.mark.slow
def test_a_run_in_processes_depends_on_its_seed_alone() -> None:
    """Also where the workers stop early at different moments, and without lockstep."""
    for pupil in (AGENTS["sac"], EARLY):
        changes = {"workers": 2, "max_ahead": 64, "env_steps": 256}
        inline, one, two = (
            run(AllReduce(), pupil.job(crew=crew, **changes))
            for crew in ("inline", "process", "process")
        )
        one.same_as(two)
        inline.same_as(one)


@pytest.mark.parametrize(("batches", "expected"), [("split", {5, 6}), ("each", {16})])
def test_a_divided_batch_has_the_size_of_a_whole_one(
    batches: Any, expected: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    learn = SAC.learn

    def noted(self: SAC, taken: Batch) -> Learned:
        sizes.append(len(taken.reward))
        return learn(self, taken)

    monkeypatch.setattr(SAC, "learn", noted)
    ended = run(AllReduce(batch=batches), job(workers=3))
    assert {*sizes} == expected
    assert len(sizes) == 3 * ended.totals["updates"]


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match=r"replay\.batch_size=2 .* set paradigm\.batch=each"):
        run(AllReduce(), job(workers=3, batch_size=2))
    assert run(AllReduce(batch="each"), job(workers=3, batch_size=2)).totals["updates"] > 8
