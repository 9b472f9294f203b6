"""Law 23: a population of one member is the wrapped paradigm to the bit; a larger one ends with the
same bits inline and in processes; who copies takes the donor's whole vector, and keeps its own
transitions and counters, with settings of its own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Agent, Spec
from agents.ppo import PPO
from conf import trust
from conf.compose import compose
from conf.sentences import Wrong
from paradigms import pbt
from paradigms.base import Snapshot
from paradigms.dcollect import DCollect
from paradigms.errors import Failed
from paradigms.evolution import ES
from paradigms.hogwild import Hogwild
from paradigms.pbt import PBT
from paradigms.runtime.crew import Crew
from paradigms.sequential import Sequential
from paradigms.weights.population import Population
from tests.jobs import AGENTS, job, laid, run, sac, world

LR = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}


@pytest.mark.parametrize("agent", ["sac", "ppo", "reinforce, fifo"])
def test_one_member_is_the_run_itself(agent: str) -> None:
    few = AGENTS[agent].job(env_steps=112)
    for of in (Sequential(), DCollect(), Hogwild()):
        alone, one = run(of, few), run(PBT(of, members=1, ready=40), few)
        assert torch.equal(alone.floats, one.floats)
        assert torch.equal(alone.result.final.counts, one.result.final.counts)
        for key in ("env_steps", "updates", "episodes", "episode_length_mean"):
            assert alone.totals[key] == one.totals[key], key


def test_a_member_evolves_too() -> None:
    alone, one = run(ES(pairs=2), job(env_steps=300)), run(PBT(ES(pairs=2), 1), job(env_steps=300))
    assert torch.equal(alone.floats, one.floats)


def population(crew: str, **changes: Any) -> tuple[Any, list[str]]:
    notes: list[str] = []
    made = PBT(Sequential(), members=4, ready=60, search=LR)
    ended = run(
        made,
        job(env_steps=800, crew=crew, updates_per_env_step=0.1, **changes),
        lambda progress: notes.extend(words for words, _ in progress.notes),
    )
    return ended, notes


@pytest.mark.slow
def test_a_population_has_the_same_bits_inline_and_in_processes() -> None:
    (inline, said), (processes, also) = (population(crew) for crew in ("inline", "process"))
    assert torch.equal(inline.floats, processes.floats)
    assert inline.totals["env_steps"] == processes.totals["env_steps"] >= 800
    assert inline.totals["updates"] == processes.totals["updates"]
    assert sorted(said) == sorted(also)
    assert 1 <= len(said) <= 3 and "goes on from member-" in said[0] and "lr " in said[0]


class Noted:
    """A factory of agents that notes the learning rates and the weights they go on from."""

    def __init__(self) -> None:
        self.made: list[tuple[float, Agent]] = []

    def __call__(self, spec: Spec, seed: int, device: str = "cpu", *, lr: float = 1e-3) -> Agent:
        self.made.append((lr, sac(spec, seed, device, lr=lr)))
        return self.made[-1][1]


def test_who_copies_does_not_take_the_donors_learning_rate() -> None:
    factory = Noted()
    _, notes = population("inline", make_agent=factory)
    rates = [lr for lr, _ in factory.made]
    assert len({*rates[2:]}) == 4 + len(notes), "survivors go on with the agent that they have"
    for lr, agent in factory.made:
        assert all(group.lr == lr for group in agent.groups.values())
    assert all(1e-5 <= lr <= 1e-1 for lr in rates)


def test_without_exploitation_nobody_copies() -> None:
    told: list[dict[str, float]] = []
    few = job(env_steps=800, updates_per_env_step=0.1)
    made = PBT(Sequential(), members=4, ready=60, search=LR, exploit=False)
    run(made, few, lambda progress: told.append(progress.metrics))
    for rank in range(4):
        at = f"member-{rank}"
        of_one = [metrics for metrics in told if f"{at}/parent" in metrics]
        assert len(of_one) >= 3 and all(one[f"{at}/parent"] == rank for one in of_one)
        assert len({one[f"{at}/lr"] for one in of_one}) == 1
        assert all(f"{at}/return" in one for one in of_one)


def shown(scores: list[float], number: int = 0) -> Population:
    agent = laid(sac(job().spec, 0))
    made = Population(agent.vector, len(scores), 1)
    for rank, score in enumerate(scores):
        floats = torch.full_like(agent.vector.floats, rank)
        counts = torch.full_like(agent.vector.counts, rank)
        assert not made.complete(number)
        made.publish(rank, number, Snapshot("all", floats, counts, 0), np.array([rank]), score)
    assert made.complete(number)
    return made


def test_the_worst_fifth_copies_one_of_the_best_fifth() -> None:
    made = shown([5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 4.0, 6.0, 7.0, 0.0])
    donors = {rank: made.donor(rank, 0, seed=3) for rank in range(10)}
    assert {rank for rank, donor in donors.items() if donor is not None} == {1, 9}
    assert {donors[1], donors[9]} <= {2, 4}
    drawn = {made.donor(9, 0, seed=seed) for seed in range(20)}
    assert drawn == {2, 4}
    floats, counts, point = made.copy(9, 2, 0)
    assert {*floats.tolist()} == {*counts.tolist()} == {*point.tolist()} == {2.0}
    assert made.copies == 1 and made.bytes_moved == 11 * 4 * len(floats)
    assert {*made.snapshot("act", 5).floats.tolist()} == {2.0}


def test_nobody_copies_an_equal() -> None:
    made = shown([1.0, 1.0, 1.0])
    assert [made.donor(rank, 0, seed=0) for rank in range(3)] == [None] * 3
    lost = shown([-np.inf, 2.0])
    assert [lost.donor(rank, 0, seed=0) for rank in range(2)] == [1, None]


def test_a_normalisers_statistics_and_moments_are_copied() -> None:
    normal = functools.partial(PPO, hidden_sizes=(8,), normalise=True, epochs=1, minibatches=1)
    few = AGENTS["ppo"].job(make_agent=normal, env_steps=480)
    ended = run(PBT(Sequential(), members=2, ready=60, search=LR), few)
    assert ended.floats.isfinite().all() and ended.totals["env_steps"] >= 480


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"lr": {"low": 1.0}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": 2, "high": 1}}, r"paradigm\.search\.lr"),
        ({"lr": {"choices": []}}, r"paradigm\.search\.lr"),
    ],
)
def test_a_range_that_is_none_is_refused(search: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PBT(Sequential(), search=search)


def test_a_setting_that_the_agent_does_not_have_is_refused() -> None:
    made = PBT(Sequential(), search={"lrr": {"low": 0.1, "high": 1.0}})
    with pytest.raises(ValueError, match=r"paradigm\.search=\['lrr'\] must name settings"):
        run(made, job())
    with pytest.raises(ValueError, match="begin a new one"):
        run(PBT(Sequential()), job(resume={}))


def test_a_stored_run_names_a_paradigm_as_the_members_own() -> None:
    stored = compose(["paradigm=pbt"]).values
    trust.check(stored, ())
    stored["paradigm"]["of"]["_target_"] = "paradigms.runtime.crew.Crew"
    with pytest.raises(Wrong, match=r"paradigm\.of\._target_=paradigms\.runtime\.crew\.Crew"):
        trust.check(stored, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("raise", "raised RuntimeError: Fault raised at its step 1"),
        ("kill", "was killed by SIGKILL"),
        ("hang", "has not reached link.go() for 3 s"),
    ],
)
def test_a_member_that_fails_is_named(
    kind: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 11: its env breaks in every member, the first of which is named."""
    impatient = functools.partial(Crew, heartbeat=3.0, seconds_to_stop=0.5)
    monkeypatch.setattr(pbt, "Crew", impatient)
    broken = world("Fault", kwargs={"kind": kind, "at": 1 if kind == "raise" else 41})
    with pytest.raises(Failed) as caught:
        run(PBT(Sequential(), members=2), job(broken, crew="process", env_steps=10**6))
    assert caught.value.name.startswith("worker-") and cause in caught.value.cause
