"""What goes wrong is named and counted in the folder, with what was learned until then."""

from __future__ import annotations

import multiprocessing
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from agents.parts import optim
from paradigms.base import Progress
from tests.test_train import KEYS, QUICK, command, here, result

pytestmark = pytest.mark.slow


def test_an_error_leaves_a_result_and_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the env of worker 0 returned a NaN"):
        here(tmp_path / "run", "env.id=paceline/Fault-v0", "+env.kwargs={at:100,kind:'nan'}")
    failed = result(tmp_path / "run")
    assert failed["stopped_by"] == "error"
    assert failed["error"]
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()
    assert sorted(failed) == sorted(KEYS)


@pytest.mark.parametrize(
    "paradigm", ["sequential", "dcollect", "dupdate", "hogwild", "allreduce", "gorila"]
)
def test_what_was_learned_is_saved_when_an_error_ends_the_run(
    paradigm: str, tmp_path: Path
) -> None:
    fault = ["env.id=paceline/Fault-v0", "+env.kwargs={at:400,kind:'nan'}"]
    small = [f"paradigm={paradigm}", "crew=inline", "workers=1", "evaluation.every_seconds=null"]
    with pytest.raises(Exception, match="returned a NaN"):  # dcollect: after three restarts
        here(tmp_path / "run", *fault, *small, "budget.env_steps=2000")
    failed = result(tmp_path / "run")
    assert failed["updates"] > 0
    assert load_file(tmp_path / "run" / "final.safetensors")["counts"].max() > 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "go on:" in log
    assert "could not be saved" not in log
    further = [f"resume={tmp_path / 'run'}", f"budget.env_steps={failed['env_steps'] + 64}"]
    here(tmp_path / "run", "env.id=paceline/Fault-v0", *small, *further)
    assert result(tmp_path / "run")["stopped_by"] == "budget"
    assert result(tmp_path / "run")["updates"] > failed["updates"]


def test_gradients_that_are_not_finite_end_the_run_with_weights_that_are(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"10 steps in a row .* lower agent\.lr"):
        here(tmp_path / "run", "agent.lr=1e30")
    there = result(tmp_path / "run")
    assert there["stopped_by"] == "error" and "lower agent.lr" in there["error"]
    assert there["skipped"] >= 10
    assert np.isfinite(load_file(tmp_path / "run" / "final.safetensors")["floats"]).all()


def test_errors_of_an_env_are_counted_and_the_first_is_logged(tmp_path: Path) -> None:
    fault = ["env.id=paceline/Fault-v0", "+env.kwargs={chance:0.01,kind:raise}"]
    there = here(tmp_path / "run", *fault, "budget.env_steps=640")
    assert there["stopped_by"] == "budget" and there["env_steps"] >= 640
    assert there["env_errors"] > 3
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("an env of worker 0 raised RuntimeError: Fault raised at its step") == 1
    assert 'raise RuntimeError(f"Fault raised' in log


def test_a_policy_that_has_diverged_is_neither_kept_nor_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim, "usable", lambda group: True)  # as if nobody had noticed
    often = ["evaluation.every_seconds=0", "evaluation.share=1"]
    with pytest.raises(FloatingPointError):
        here(tmp_path / "run", "agent.lr=1e30", *often)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "the final policy is not kept: its weights are not finite" in log
    assert "could not be saved: " in log
    for policy in (tmp_path / "run").glob("*.safetensors"):
        assert np.isfinite(load_file(policy)["floats"]).all()
    assert not list((tmp_path / "run" / "checkpoints").glob("step_*"))


def test_a_checkpoint_that_cannot_be_written_is_counted_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paradigms.session import checkpoint

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    there = here(tmp_path / "run", "checkpoint.every_env_steps=100")
    assert there["env_steps"] >= 320
    assert there["extra"]["failed_saves"] >= 3
    assert there["stopped_by"] == "error", "the checkpoint of the end is missing"
    assert "No space left" in there["error"]
    assert (tmp_path / "run" / "final.safetensors").exists()


def test_a_killed_evaluation_process_is_logged_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paradigms.session.session import Session

    note = Session.note

    def kill(session: Session, progress: Progress) -> None:
        if progress.updates == 0:
            (child,) = multiprocessing.active_children()
            child.kill()
        note(session, progress)

    monkeypatch.setattr(Session, "note", kill)
    there = here(
        tmp_path / "run", "evaluation.where=process", "budget.env_steps=96", "rollout_length=64"
    )
    assert there["restarts"] == 1
    assert there["final_return"] is not None
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("the evaluation process was killed by SIGKILL, and is replaced") == 1


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_multirun_with_a_job_that_fails_runs_the_others_and_fails(
    launcher: str, tmp_path: Path
) -> None:
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    fault = ["env.id=paceline/Fault-v0", "env.kwargs.at=1,1000000", "+env.kwargs.kind=raise"]
    words = ["-m", f"hydra/launcher={launcher}", *QUICK, *fault, "paradigm=dcollect"]
    off = ["evaluation.every_seconds=null", "evaluation.confirm_episodes=0"]
    typed = command(*words, *off, "hydra.sweep.dir=sweep")
    run = subprocess.run(typed, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    jobs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [result(job)["stopped_by"] for job in jobs] == ["error", "budget"]
