"""Stored policies are held to what was measured of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agents.parts.vector import Vector
from agents.sac import SAC
from benchmarks import store, verify
from envs.make import describe, make_env
from paradigms.base import Snapshot
from paradigms.session.policy import save_policy

ENV = {"id": "Pendulum-v1", "threshold": -200.0}
MAKE = {"_target_": "envs.make.make_env", "_partial_": True, "id": ENV["id"]}
AGENT = {"_target_": "agents.sac.SAC", "_partial_": True, "hidden_sizes": [8]}


def keep(results: Path, mean: float | None) -> None:
    """A run of the study mcar with one untrained policy, said to reach `mean`."""
    agent = SAC(describe(partial(make_env, ENV["id"])), seed=0, hidden_sizes=[8])
    vector = Vector(agent)
    floats = vector.floats[: vector.size("evaluate")].clone()
    about = {"agent": AGENT, "env": {**ENV, "make": MAKE}}
    source = results / "solving.safetensors"
    results.mkdir(exist_ok=True)
    save_policy(source, Snapshot("evaluate", floats, vector.counts, 0), about)
    store.keep_policy("mcar", "sequential_100", source, about, results)
    policy = {"which": "solving", "mean": mean, "std": 1.0, "episodes": 100}
    store.append("mcar", {"variant": "sequential", "seed": 100, "policy": policy}, results)


def test_means_may_differ_by_four_standard_errors_of_both() -> None:
    # variances 100 / 100 and 8 / 2: 4 sqrt(5)
    check = verify.compare({"mean": 50.0, "std": 10.0, "episodes": 100}, [54.0, 58.0])
    assert check == (50, 56, pytest.approx(4 * 5**0.5))
    assert check.holds
    assert not verify.compare({"mean": 50.0, "std": 1.0, "episodes": 100}, [56, 56.1]).holds


def test_a_policy_fails_if_it_was_overrated_and_holds_if_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, mean=-150.0)
    assert verify.main(["mcar", "--episodes", "5"], tmp_path) == 1
    out = capsys.readouterr().out
    assert "mcar sequential seed 100 solving: stored -150.0, now -" in out
    assert "FAILS\n1 policies checked, 1 outside their interval" in out
    returns = verify.play(*store.load_policies("mcar", tmp_path)["sequential_100"], 5)
    keep(tmp_path, mean=sum(returns) / 5)
    assert verify.main(["mcar", "--episodes", "5"], tmp_path) == 0


def test_a_policy_without_a_measured_mean_is_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, mean=None)
    assert verify.main([], tmp_path) == 0
    assert "0 policies checked" in capsys.readouterr().out
