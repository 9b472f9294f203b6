"""Stored policies are held to what was measured of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agents.parts.vector import Vector
from agents.sac import SAC
from benchmarks import cells, verify
from envs.make import describe, make_env
from paradigms.base import Snapshot
from paradigms.session.checkpoint import save_policy

ENV = {"id": "Pendulum-v1", "threshold": -200.0}
MAKE = {"_target_": "envs.make.make_env", "_partial_": True, "id": ENV["id"]}
AGENT = {"_target_": "agents.sac.SAC", "_partial_": True, "hidden_sizes": [8]}


def store(results: Path, mean: float | None) -> Path:
    """A cell of the study mcar with one untrained policy, said to reach `mean`."""
    agent = SAC(describe(partial(make_env, ENV["id"])), seed=0, hidden_sizes=[8])
    vector = Vector(agent)
    floats = vector.floats[: vector.size("evaluate")].clone()
    file = results / "mcar" / "policies" / "sequential_100_final.safetensors"
    file.parent.mkdir(parents=True)
    about = {"agent": AGENT, "env": {**ENV, "make": MAKE}}
    save_policy(file, Snapshot("evaluate", floats, vector.counts, 0), about)
    policy = {"file": str(file.relative_to(results)), "mean": mean, "std": 1.0, "episodes": 100}
    record = {"variant": "sequential", "seed": 100, "policies": {"final": policy}}
    cells.write_json(results / "mcar" / "sequential_100.json", record)
    return file


def test_means_may_differ_by_four_standard_errors_of_both() -> None:
    # variances 100 / 100 and 8 / 2: 4 sqrt(5)
    check = verify.compare({"mean": 50.0, "std": 10.0, "episodes": 100}, [54.0, 58.0])
    assert check == (50, 56, pytest.approx(4 * 5**0.5))
    assert check.holds
    assert not verify.compare({"mean": 50.0, "std": 1.0, "episodes": 100}, [56, 56.1]).holds


def test_a_policy_that_was_praised_too_much_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store(tmp_path, mean=-150.0)
    assert verify.main(["mcar", "--episodes", "5"], tmp_path) == 1
    out = capsys.readouterr().out
    assert "mcar sequential seed 100 final: stored -150.0, now -" in out
    assert "FAILS\n1 policies checked, 1 outside their interval" in out
    assert verify.play(file, 3) == verify.play(file, 3)


def test_a_policy_as_good_as_stored_holds(tmp_path: Path) -> None:
    file = store(tmp_path / "first", mean=None)
    returns = verify.play(file, 5)
    store(tmp_path / "second", mean=sum(returns) / 5)
    assert verify.main(["mcar", "--episodes", "5"], tmp_path / "second") == 0


def test_what_was_not_measured_is_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, mean=None)
    assert verify.main([], tmp_path) == 0
    assert "0 policies checked" in capsys.readouterr().out
