"""Law 11 and law 23, of a population: a member that dies is replaced, and a run is resumed, by
members that go on from the end of a round, with the bits of a run that was not interrupted."""

from __future__ import annotations

import functools
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paradigms import pbt
from paradigms.base import Job, Progress, Result
from paradigms.errors import Failed
from paradigms.evolution import ES
from paradigms.hogwild import Hogwild
from paradigms.loop.ledger import COUNTS
from paradigms.pbt import PBT
from paradigms.runtime.crew import Crew
from paradigms.sequential import Sequential
from paradigms.session import checkpoint, form
from paradigms.weights.population import Population
from tests.jobs import AGENTS, Ended, Idler, job, run, world
from tests.laws.test_faults_are_noticed import Mortal

READY = 60  # with a checkpoint as often, members begin new episodes where they may go on
LR = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}
POPULATION = PBT(Sequential(), members=4, ready=READY, search=LR)


def few(**changes: Any) -> Job:
    small = {"env_steps": 800, "updates_per_env_step": 0.1, "every_env_steps": READY}
    return job(**(small | changes))


def same(one: Ended, two: Ended) -> None:
    """Asserts that every member ended with the same bits, and that as much was counted."""
    assert torch.equal(one.floats, two.floats)
    for key in ("env_steps", "updates", "episodes", "episode_length_mean"):
        assert one.totals[key] == two.totals[key], key
    for mine, others in zip(one.state["members"], two.state["members"], strict=True):
        assert mine["number"] == others["number"] and np.array_equal(mine["point"], others["point"])
        assert torch.equal(mine["run"]["floats"], others["run"]["floats"])


class Saving:
    """Saves a run when it has made so many env steps, once each; and hears its lineage."""

    def __init__(self, *at: int) -> None:
        self.at, self.states, self.notes = [*at], list[dict[str, Any]](), list[list[str]]()

    def __call__(self, progress: Progress) -> None:
        if self.at and progress.env_steps >= self.at[0]:
            self.at.pop(0)
            self.states.append(progress.save())
            self.notes.append([])
        for notes in self.notes:
            notes.extend(words for words, _ in progress.notes)


def test_a_resumed_population_is_the_unbroken_one(tmp_path: Path) -> None:
    saving = Saving(1, 300, 550)
    whole = run(POPULATION, few(), saving)
    for state, notes in zip(saving.states, saving.notes, strict=True):
        folder = checkpoint.write(tmp_path / str(len(notes)), {"run": state})
        resumed, heard = few(resume=checkpoint.read(folder)["run"]), Saving(0)
        form.load(resumed, POPULATION)
        same(run(POPULATION, resumed, heard), whole)
        assert {*notes} <= {*heard.notes[0]}, "who copied whom, from there on"
    assert saving.notes[0], "somebody copied"
    begun, *_, last = (state["members"] for state in saving.states)
    assert begun == [None] * 4 and all(one["number"] >= 1 for one in last)


def test_a_population_that_is_stopped_loses_nothing() -> None:
    """What each member has kept is where it stood, in the middle of a round or at its end."""

    def stop(progress: Progress) -> None:
        if progress.env_steps > 350:
            progress.stop()

    state = run(POPULATION, few(), stop).state
    added = COUNTS.index("added")
    stood = [one["run"]["ledger"]["counts"][:, added].sum() for one in state["members"]]
    assert stood == state["ledger"]["counts"][:-1, added].tolist()
    assert {one["ended"] for one in state["members"]} != {True}
    ended = run(POPULATION, few(resume=state))
    assert 800 <= ended.totals["env_steps"] < 800 + 4 * 16
    numbers = [one["number"] for one in ended.state["members"]]
    assert numbers == [3] * 4, "selections at 60, 120 and 180 of 200 env steps each"


@pytest.mark.parametrize("of", [Hogwild(), ES(pairs=2)], ids=lambda of: of.name)
def test_members_of_any_paradigm_go_on(of: Any) -> None:
    made, saving = PBT(of, members=2, ready=READY, search=LR), Saving(100)
    small = {"env_steps": 400, "workers": 2, "updates_per_env_step": 0.1}
    run(made, job(**small), saving)
    resumed = job(**small, resume=saving.states[0])
    form.load(resumed, made)
    ended = run(made, resumed)
    assert ended.totals["env_steps"] >= 400 and ended.totals["updates"] > 0


def test_a_run_that_goes_on_may_have_a_larger_budget() -> None:
    state = run(POPULATION, few(env_steps=400)).state
    ended = run(POPULATION, few(resume=state))
    assert 800 <= ended.totals["env_steps"] < 800 + 4 * 16


class Strides(Sequential):
    """Members but the first go in longer strides than a round, as a generation of es may be."""

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        return super().run(replace(job, rollout_length=8 if job.seed == 0 else 40))


def test_nobody_waits_for_a_member_that_is_done() -> None:
    few_rounds = PBT(Strides(), members=3, ready=10)
    ended = run(few_rounds, job(env_steps=600, updates_per_env_step=0.1))
    first, *others = (one["number"] for one in ended.state["members"])
    assert first > 2 * max(others) and ended.totals["env_steps"] >= 600


def test_an_env_of_a_member_that_raises_is_rebuilt_alone(tmp_path: Path) -> None:
    notes = list[str]()
    broken = world("Fault", kwargs={"kind": "raise", "at": 71, "once": str(tmp_path / "once")})
    ended = run(
        PBT(Sequential(), members=2, ready=READY),
        few(worlds=broken, agent=Idler, env_steps=400, every_env_steps=None),
        lambda progress: notes.extend(words for words, _ in progress.notes),
    )
    (said,) = (words for words in notes if "goes on" not in words)
    assert said.startswith("an env of worker 0 raised RuntimeError: Fault raised at its step 71")
    assert ended.totals["env_errors"] == 1
    assert ended.totals["restarts"] == ended.totals["lost"] == 0
    assert 400 <= ended.totals["env_steps"] < 400 + 2 * 16


@pytest.mark.parametrize("method", ["show", "keep", "end", "copy"])
def test_a_member_that_dies_at_a_selection_is_replaced_and_the_bits_are_the_same(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after what it shows, keeps, or has ended."""
    whole, calls, works = run(POPULATION, few(env_steps=400)), [], getattr(Population, method)

    def dies(*args: Any, **options: Any) -> Any:
        calls.append(method)
        if len(calls) == 2:
            raise RuntimeError("a fault before")
        out = works(*args, **options)
        if len(calls) == 3:
            raise RuntimeError("a fault after")
        return out

    monkeypatch.setattr(Population, method, dies)
    ended = run(POPULATION, few(env_steps=400))
    assert ended.totals["restarts"] == ended.totals["lost"] == min(2, len(calls) - 1)
    same(ended, whole)


@pytest.mark.slow
def test_members_that_are_killed_are_replaced_and_the_bits_are_the_same(tmp_path: Path) -> None:
    """One dies in its first round, which is begun anew; others later."""
    told = list[dict[str, float]]()
    mortal = functools.partial(Mortal, once=str(tmp_path))
    made = PBT(Sequential(), members=3, ready=READY, search=LR, exploit=False)
    small = {"agent": mortal, "env_steps": 3 * 180}
    dying = run(made, few(**small, crew="process"), lambda progress: told.append(progress.metrics))
    deaths = sorted(int(file.name) for file in tmp_path.iterdir())
    assert deaths == [25, 61]
    assert dying.totals["restarts"] == dying.totals["lost"] == 2
    lives = {k: v for metrics in told for k, v in metrics.items() if k.endswith("/restarts")}
    assert lives and {*lives.values()} <= {1.0, 2.0}
    (tmp_path / "110").touch()
    same(dying, run(made, few(**small)))


def test_a_policy_that_is_not_finite_ends_the_run() -> None:
    """Whatever paradigm the member runs: it would be so again."""
    wild = {"lr": {"choices": [1e30]}}
    for of in (Sequential(), Hogwild()):
        with pytest.raises(Failed, match="a restart would not help") as caught:
            run(PBT(of, members=2, ready=READY, search=wild), job(env_steps=10**4))
        assert "used up" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("raise", "raised RuntimeError: Fault raised at its step 41"),
        ("hang", "has not reached link.go() for 2 s"),
    ],
)
def test_a_member_that_fails_too_often_is_named(
    kind: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(Crew, heartbeat=2.0, seconds_to_stop=0.5, restarts=0)
    monkeypatch.setattr(pbt, "Crew", impatient)
    broken = world("Fault", kwargs={"kind": kind, "at": 41})
    with pytest.raises(Failed, match="0 restarts are used up") as caught:
        run(PBT(Sequential(), members=2), job(broken, crew="process", env_steps=10**6))
    assert caught.value.name.startswith("worker-") and cause in caught.value.cause


@pytest.mark.parametrize("agent", ["ppo", "sac, prioritized"])
def test_members_with_any_replay_go_on(agent: str) -> None:
    made, saving = PBT(Sequential(), members=2, ready=READY, search=LR), Saving(150)
    pupil = AGENTS[agent]
    whole = run(made, pupil.job(env_steps=320, every_env_steps=READY), saving)
    resumed = pupil.job(env_steps=320, every_env_steps=READY, resume=saving.states[0])
    same(run(made, resumed), whole)
