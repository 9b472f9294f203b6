"""A disk on which nothing can be written any more ends no run, and what is lost is said. The limit
of a file's size stands in for the end of a disk."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import train
from conf.compose import compose
from paradigms.base import Progress
from paradigms.session.folder import RunFolder
from paradigms.session.policy import load_policy
from paradigms.session.session import Session
from tests.test_train import QUICK, SMALL, command, here, result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def space() -> Iterator[None]:
    yield
    limit(None)


def limit(size: int | None) -> None:
    """How large a file that this process writes may become."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def test_a_full_disk_ends_no_run_and_what_waits_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    note = Session.note

    def fill(session: Session, progress: Progress) -> None:
        note(session, progress)
        limit(0 if 64 < progress.env_steps < 200 else None)

    monkeypatch.setattr(Session, "note", fill)
    often = ["evaluation.every_seconds=0", "evaluation.share=1", "checkpoint.every_env_steps=100"]
    there = here(tmp_path / "run", *often, "logger=[tensorboard]")
    extra = there["extra"]
    assert (there["stopped_by"], there["error"]) == ("budget", None)
    assert extra["failed_saves"] == 1 and extra["failed_writes"] >= 3 and not extra["failed_sinks"]
    text = (tmp_path / "run" / "log.txt").read_text()
    for words in ("metrics.jsonl cannot be written (File too large)", "the best policy could not"):
        assert text.count(words) >= 1
    assert text.count("the checkpoint could not be saved") == 1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    evaluated = [row for row in rows if row["kind"] == "evaluation"]
    assert len(evaluated) == extra["evaluations"] > 5
    events = EventAccumulator(str(tmp_path / "run"), {"scalars": 0}).Reload()
    assert len(events.Scalars("evaluation/return")) == len(evaluated)
    for name in ("best", "final"):
        load_policy(tmp_path / "run" / f"{name}.safetensors")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) >= 2


def test_a_result_that_cannot_be_written_is_said_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_result", full)
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit) as left:
        train.run(compose(QUICK), tmp_path / "run", 0.0, first=False)
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    before, told = line.split("; it would say ")
    assert before == "result.json cannot be written ([Errno 28] No space left on device)"
    assert json.loads(told)["env_steps"] >= 320
    assert json.loads(told)["error"].startswith("result.json could not be written")


def test_policies_that_cannot_be_written_make_a_run_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "keep", full)
    there = here(tmp_path / "run", "evaluation.every_seconds=0", "evaluation.share=1")
    assert there["stopped_by"] == "error" and "policy could not be saved" in there["error"]
    assert there["env_steps"] >= 320 and there["extra"]["failed_writes"] > 2


def test_a_policy_that_could_not_be_written_is_tried_again_after_the_next_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, asked = RunFolder.keep, list[str]()

    def full_once(folder: RunFolder, name: str, *about: Any) -> None:
        asked.append(name)
        if name == "solving" and asked.count(name) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(folder, name, *about)

    monkeypatch.setattr(RunFolder, "keep", full_once)
    often = ["evaluation.every_seconds=0", "evaluation.share=1", "env.threshold=-1000"]
    there = here(tmp_path / "run", *often)
    assert (there["stopped_by"], there["extra"]["failed_writes"]) == ("budget", 1)
    assert asked.count("solving") == 3, "when found, after the next evaluation, at the end"
    assert asked.index("final") > asked.index("solving", asked.index("solving") + 1)


def test_a_run_whose_stdout_is_on_a_full_disk_goes_on(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        words = command(*SMALL, "logger=[]", "evaluation.where=inline", "hydra.run.dir=run")
        run = subprocess.run(words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert result(tmp_path / "run")["stopped_by"] == "budget"
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("stdout cannot be written (No space left on device): see log.txt") == 1
    assert "Stopped because its budget was spent" in text
