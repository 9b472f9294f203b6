"""Whatever ends a run, and whenever: what was learned is saved, and the cause is named."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.numpy import load_file

from paradigms.base import Progress
from paradigms.errors import Failed
from paradigms.session.session import Session
from tests.test_train import SMALL, command, here, result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LONG = [*SMALL, "logger=[]", "journal=false", "crew=process", "budget.env_steps=100000000"]


def saved(folder: Path, ended: dict[str, Any]) -> None:
    """Asserts that the run has left a checkpoint and a policy, and the command that goes on."""
    assert ended["updates"] > 0
    assert load_file(folder / "final.safetensors")["counts"].max() > 0
    assert list((folder / "checkpoints").glob("step_*"))
    assert "go on:" in (folder / "log.txt").read_text()


def processes() -> dict[str, int | None]:
    return {child.name: child.pid for child in multiprocessing.active_children()}


@pytest.mark.parametrize(
    ("paradigm", "role", "cause"),
    [
        ("dcollect", "learner", "role learner was killed by SIGKILL"),
        ("dupdate", "learner", "role learner was killed by SIGKILL"),
        ("hogwild", "fork server", "the fork server died"),
    ],
)
def test_what_was_learned_is_saved_when_a_process_is_killed_that_nobody_replaces(
    paradigm: str, role: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, killed = Session.note, list[int]()

    def kill(session: Session, progress: Progress) -> None:
        if progress.updates > 20 and not killed:
            pid = processes()["worker-0" if role == "fork server" else role]
            if role == "fork server":
                server = psutil.Process(pid).parent()
                assert server is not None and server.pid != os.getpid()
                pid = server.pid
            assert pid is not None
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        note(session, progress)

    monkeypatch.setattr(Session, "note", kill)
    small = [f"paradigm={paradigm}", "workers=2", "checkpoint.at_end=false"]
    with pytest.raises(Failed):
        here(tmp_path / "run", *LONG, *small, "evaluation.every_seconds=null")
    ended = result(tmp_path / "run")
    assert (ended["stopped_by"], cause in ended["error"]) == ("error", True), ended["error"]
    saved(tmp_path / "run", ended)


@pytest.mark.parametrize("where", ["process", "inline"])
def test_a_signal_while_policies_are_measured_leaves_the_rest_out(
    where: str, tmp_path: Path
) -> None:
    endless = [f"evaluation.where={where}", "evaluation.confirm_episodes=300000"]
    run = subprocess.Popen(
        command(*SMALL, "logger=[]", *endless, "hydra.run.dir=run"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("measuring"):
                run.send_signal(signal.SIGTERM)
                break
        said = run.stdout.read()
    assert run.returncode == 128 + signal.SIGTERM, said
    ended = result(tmp_path / "run")
    assert ended["stopped_by"] == "signal"
    assert ended["env_steps"] >= 320
    saved(tmp_path / "run", ended)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("dcollect: ", ["evaluation.every_seconds=null"]),  # its first line: no process has started
        (
            "(3 of 3 in a row)",
            ["env.threshold=-1000", "evaluation.every_seconds=0", "stop_when_solved=true"],
        ),
    ],
    ids=["starts", "is confirmed"],
)
def test_sigterm_stops_a_run_soon_while_it(moment: str, words: list[str], tmp_path: Path) -> None:
    endless = ["evaluation.confirm_episodes=300000", "paradigm=dcollect", "workers=1"]
    run = subprocess.Popen(
        command(*LONG, *endless, *words, "hydra.run.dir=run"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        for line in run.stdout:
            if moment in line:
                run.send_signal(signal.SIGTERM)
                break
        said, _ = run.communicate(timeout=10)
    assert run.returncode == 128 + signal.SIGTERM, said
    assert result(tmp_path / "run")["stopped_by"] == "signal"
    assert list((tmp_path / "run" / "checkpoints").glob("step_*"))


def test_ctrl_c_while_the_run_starts_is_one_line(tmp_path: Path) -> None:
    code = "import os, signal, sys; sys.argv[1:] = ['env=identity']; import train; {}; train.main()"
    early = "train.check.command_line = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)"
    words = [sys.executable, "-c", code.format(early)]
    root = str(Path(__file__).resolve().parents[1])
    run = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert (run.returncode, run.stderr) == (130, "stopped before the run began\n")
