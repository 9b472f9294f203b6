"""Whether what a checkpoint holds has the form that this version writes. Its digests say that it is
what somebody wrote, not who; so nothing of it is used before it is known to fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paradigms.base import Job
from paradigms.loop.build import without_replay
from paradigms.loop.drive import Driver

WHEN = ("version", "env_steps", "episodes", "updates")


def check(state: Mapping[str, Any], evaluated: int) -> None:
    """What a run's session keeps beside the paradigm's own state. evaluated: how many floats a
    policy has. Raises ValueError, with the name of what does not fit."""
    count(state["env_steps"], "env_steps")
    count(state["evaluations"], "evaluations")
    number(state["seconds"], "seconds", least=0.0)
    outcome = state["outcome"]
    for mean in outcome["means"]:
        number(mean, "outcome/means")
    if outcome["first"] is not None and count(outcome["first"], "first") >= len(outcome["means"]):
        raise ValueError("outcome/first is no evaluation")
    count(outcome["in_a_row"], "outcome/in_a_row")
    if outcome["best_mean"] != -math.inf:
        number(outcome["best_mean"], "outcome/best_mean")
    if outcome["confirmed"] is not None:
        number(outcome["confirmed"], "outcome/confirmed")
    for known in outcome["known"]:
        count(known["version"], "outcome/known")
        number(known["mean"], "outcome/known")
    for candidate in outcome["candidates"]:
        count(candidate["first"], "outcome/candidates")
    policies = [candidate["snapshot"] for candidate in outcome["candidates"]]
    policies += [*outcome["copies"].values(), *(one["snapshot"] for one in outcome["last"])]
    for policy in policies:
        snapshot(policy, evaluated)
    for one in outcome["last"]:
        vector(one["returns"], "outcome/last")
        vector(one["lengths"], "outcome/last")


def load(job: Job, paradigm: Any = None) -> None:
    """Builds what a job's state is loaded into, and loads it, to see whether it fits; of a
    population, which `paradigm.resumed` gives the jobs of, the state of each member too. Raises
    ValueError, or what the parts raise. A state of another kind than most paradigms have is left
    to the paradigm."""
    state = job.resume
    if not isinstance(state, dict):
        raise ValueError(f"run is a {type(state).__name__}")
    if hasattr(paradigm, "resumed"):
        for member in paradigm.resumed(job):
            load(member, paradigm.of)
        job = replace(without_replay(job), workers=paradigm.members)
    elif "replay" in getattr(paradigm, "ignores", ()):
        job = without_replay(job)
    if not {"ledger", "replay", "floats", "counts"} <= state.keys():
        return
    with np.errstate(all="raise"):
        made = Driver(replace(job, journal=None), workers=job.workers)
    like = made.save(made.snapshot("all"))
    for name in ("floats", "counts"):
        _alike(state[name], like[name], name)
    for name, array in like["ledger"].items():
        _alike(state["ledger"][name], array, f"ledger/{name}")
    numbers = np.asarray(state["replay"].get("numbers", 0))
    if numbers.max(initial=0) > made.ledger.column("fragments").max():
        raise ValueError("replay/numbers are more than the fragments collected")
    if not torch.isfinite(state["floats"]).all() or state["counts"].min() < 0:
        raise ValueError("floats or counts are not those of an agent")


def snapshot(value: Mapping[str, Any], floats: int) -> None:
    """The fields of a Snapshot of the part "evaluate"."""
    if value["part"] != "evaluate" or {*value} != {"part", "floats", "counts", "seconds", *WHEN}:
        raise ValueError("a policy has other fields")
    for name in WHEN:
        count(value[name], name)
    number(value["seconds"], "seconds")
    held = value["floats"]
    if not isinstance(held, Tensor) or held.shape != (floats,) or held.dtype != torch.float32:
        raise ValueError(f"a policy has not {floats} floats")
    if not isinstance(value["counts"], Tensor):
        raise ValueError("a policy has no counts")


def count(value: Any, name: str) -> int:
    """A whole number of at least 0 that fits into 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is no count")
    return value


def number(value: Any, name: str, least: float = -math.inf) -> None:
    """A finite number."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or value < least:
        raise ValueError(f"{name} is no number")


def vector(value: Any, name: str) -> None:
    """Finite numbers in one row, at least one."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not len(value):
        raise ValueError(f"{name} is no row of numbers")
    if value.dtype.kind not in "if" or not np.isfinite(value).all():
        raise ValueError(f"{name} is no row of numbers")


def _alike(value: Any, like: Any, name: str) -> None:
    """Of the same kind, dtype and shape; floats finite."""
    if type(value) is not type(like) or value.dtype != like.dtype or value.shape != like.shape:
        raise ValueError(f"{name} has another shape")
    if isinstance(value, np.ndarray) and not np.isfinite(value).all():
        raise ValueError(f"{name} is not finite")
