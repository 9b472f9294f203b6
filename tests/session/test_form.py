"""A checkpoint whose digests fit, and whose content does not, is refused before it is used."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.base import Snapshot
from paradigms.pbt import PBT
from paradigms.sequential import Sequential
from paradigms.session import form
from paradigms.session.evaluator import EvaluationResult
from paradigms.session.outcome import SolveTracker
from tests.hostile import bounded
from tests.jobs import AGENTS, EVOLVED, PARADIGMS, Ended, job, run

ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError)
FLOATS = 8


def played(version: int, mean: float) -> EvaluationResult:
    policy = Snapshot("evaluate", torch.ones(FLOATS), torch.tensor([version]), version)
    return EvaluationResult(policy, np.array([mean, mean]), np.array([3, 4]))


def beside() -> dict[str, Any]:
    """What a session keeps: a task that was reached and confirmed."""
    tracker = SolveTracker(1.0, None)
    for version in range(4):
        tracker.add(played(version, 2.0))
    tracker.confirm(played(0, 1.5))
    return {"outcome": tracker.save(), "evaluations": 4, "env_steps": 64, "seconds": 1.5}


def changed(state: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    state = copy.deepcopy(state)
    *places, last = path.split("/")
    node: Any = state
    for place in places:
        node = node[int(place) if place.isdigit() else place]
    node[last] = value
    return state


def test_what_a_session_keeps_fits() -> None:
    form.check(beside(), FLOATS)
    form.check({**beside(), "outcome": SolveTracker(None, None).save()}, FLOATS)


BESIDE = [
    ("outcome", []),
    ("outcome/means", ["x"]),
    ("outcome/means", 3),
    ("outcome/first", 10**17),
    ("outcome/first", math.nan),
    ("outcome/in_a_row", None),
    ("outcome/in_a_row", -1),
    ("outcome/in_a_row", True),
    ("outcome/best_mean", "x"),
    ("outcome/best_mean", math.nan),
    ("outcome/confirmed", []),
    ("outcome/known", [{}]),
    ("outcome/known/0/mean", math.inf),
    ("outcome/candidates", [{"first": 1}]),
    ("outcome/candidates/0/snapshot/part", "all"),
    ("outcome/candidates/0/snapshot/floats", torch.ones(FLOATS + 1)),
    ("outcome/candidates/0/snapshot/floats", torch.ones(FLOATS, dtype=torch.int8)),
    ("outcome/candidates/0/snapshot/floats", "x"),
    ("outcome/copies/best/counts", None),
    ("outcome/copies/best/more", 1),
    ("outcome/copies/best/seconds", math.nan),
    ("outcome/last/0/returns", [1.0]),
    ("outcome/last/0/returns", np.array([math.nan])),
    ("outcome/last/0/lengths", np.array(["x"])),
    ("evaluations", 2**70),
    ("env_steps", -1),
    ("seconds", math.inf),
    ("seconds", "1"),
]


def test_other_values_than_a_session_keeps_are_refused(subtests: pytest.Subtests) -> None:
    for path, value in BESIDE:
        with subtests.test(f"{path}={value!r}"):
            with bounded(), pytest.raises(ERRORS):
                form.check(changed(beside(), path, value), FLOATS)


@pytest.fixture(scope="module")
def ended() -> Ended:
    return run(PARADIGMS["sequential"], job())


@pytest.mark.parametrize("agent", ["sac", "sac, prioritized", "ppo"])
def test_the_state_of_a_run_fits(agent: str) -> None:
    before = run(PARADIGMS["sequential"], AGENTS[agent].job())
    form.load(replace(before.job, resume=before.state))


@pytest.mark.parametrize("name", EVOLVED)
def test_the_state_of_a_run_without_a_replay_fits(name: str) -> None:
    before = run(EVOLVED[name], job())
    form.load(replace(before.job, resume=before.state), EVOLVED[name])


def test_the_state_of_a_population_fits_and_that_of_each_member(
    subtests: pytest.Subtests,
) -> None:
    made = PBT(Sequential(), members=2, ready=60)
    before = run(made, job())
    form.load(replace(before.job, resume=before.state), made)
    for path, value in [
        ("members/1/run/floats", torch.ones(1)),
        ("members/1/run/floats", torch.full_like(before.floats, math.nan)),
        ("members/0/run/ledger/counts", np.zeros((2, 15), np.int64)),
        ("members/0/run/replay/heads", [1, 2, 3]),
        ("members/0/number", -1),
        ("members", None),
        ("population", {}),
        ("population/floats", np.zeros(3)),
        ("ledger/sums", np.full((3, 8), math.nan)),
    ]:
        with subtests.test(path):
            with pytest.raises(ERRORS):
                form.load(replace(before.job, resume=changed(before.state, path, value)), made)


RUN = [
    ("floats", torch.ones(1)),
    ("floats", None),
    ("counts", torch.tensor([-5, -5, -5])),
    ("ledger", None),
    ("ledger/counts", None),
    ("ledger/counts", np.zeros((2, 15), np.int64)),
    ("ledger/sums", np.full((2, 8), math.nan)),
    ("ledger/lag_max", "x"),
    ("replay", 3),
    ("replay/heads", None),
    ("replay/heads", [1, 2, 3]),
    ("replay/numbers", 10**17),
    ("replay/numbers", "x"),
    ("replay/transitions", math.nan),
    ("replay/transitions", [np.zeros(3, np.uint8)]),
]


def test_other_values_than_a_run_keeps_are_refused(ended: Ended, subtests: pytest.Subtests) -> None:
    for path, value in RUN:
        with subtests.test(f"{path}={value!r}"):
            with bounded(), pytest.raises(ERRORS):
                form.load(replace(ended.job, resume=changed(ended.state, path, value)))


def test_floats_that_are_not_finite_are_refused(ended: Ended) -> None:
    bad = torch.full_like(ended.state["floats"], math.nan)
    with pytest.raises(ValueError, match="not those of an agent"):
        form.load(replace(ended.job, resume={**ended.state, "floats": bad}))


def test_what_has_another_form_is_left_to_its_paradigm(ended: Ended) -> None:
    form.load(replace(ended.job, resume={"members": []}))
    with pytest.raises(ValueError, match="run is a int"):
        form.load(replace(ended.job, resume=3))  # type: ignore[arg-type]
