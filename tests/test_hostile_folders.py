"""Files of a run's folder that are damaged or somebody else's: a sentence, or left out; nothing is
waited for, followed to another place, or run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluate
import export
import reproduce
import train
from paradigms.session.checkpoint import read, write
from tests.hostile import Refusal, here, refusal
from tests.test_train import QUICK

__all__ = ["here", "refusal"]  # fixtures

RESUME = [train.main, "resume=run", "budget.env_steps=192"]
REPRODUCE = [reproduce.main, "run=run"]
EXPORT = [export.main, "run=run", "format=safetensors"]
JUNK = {
    "empty": b"",
    "no text": b"\xff\xfe\x00" * 9,
    "a list": b"[]\n",
    "nothing": b"null\n",
    "deep": b"[" * 100_000,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 128 env steps with a journal."""
    home = tmp_path_factory.mktemp("whole") / "run"
    small = ["budget.env_steps=128", "evaluation.every_seconds=null", "journal=true"]
    small += ["paradigm=dcollect", "crew=inline", "evaluation.confirm_episodes=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        train.learn(*QUICK, *small, f"hydra.run.dir={home}")
    return home


@pytest.fixture
def run(whole: Path, here: Path) -> Path:
    shutil.copytree(whole, here / "run")
    return here / "run"


def again(whole: Path, run: Path) -> None:
    shutil.rmtree(run)
    shutil.copytree(whole, run)


JOURNALS = {
    **JUNK,
    "roles that are none": b'{"roles": 3, "kinds": 3, "record_bytes": 48}\n',
    "a long line": b"[" + b"1," * 10**6 + b"1]\n",
    "half": None,
}


def test_a_journal_that_is_none_is_refused(
    whole: Path, run: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for name, content in JOURNALS.items():
        with subtests.test(name):
            bytes = (whole / "journal.bin").read_bytes()
            (run / "journal.bin").write_bytes(
                bytes[: len(bytes) // 2] if content is None else content
            )
            said = refusal(*REPRODUCE)  # type: ignore[arg-type]
            assert "journal" in said


@pytest.mark.parametrize("name", ["config.yaml", "run.json"])
def test_what_describes_a_run_is_damaged(
    name: str, whole: Path, run: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for kind, content in {**JUNK, "choices": b'{"choices": {"agent": [1]}}'}.items():
        with subtests.test(kind):
            (run / name).write_bytes(content)
            assert name in refusal(*RESUME)  # type: ignore[arg-type]
            assert name in refusal(*REPRODUCE)  # type: ignore[arg-type]


def test_lines_of_metrics_that_are_none_are_left_out_and_said(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"kind": "evaluation", "env_steps": 1, "seconds": 1.0, "mean": 2.0}
    odd = [{"kind": "evaluation"}, {**row, "mean": "x"}, {**row, "seconds": None}, [1], None, 3]
    lines = [json.dumps(each).encode() for each in (row, *odd, row)] + list(JUNK.values())
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    found = list(export.evaluations(run / "metrics.jsonl", ("mean", "seconds")))
    assert found == [{"mean": 2.0, "seconds": 1.0}] * 2
    for main, *words in (EXPORT, RESUME):
        monkeypatch.setattr(sys, "argv", ["script", *words])
        main()  # type: ignore[operator]
    out, err = capsys.readouterr()
    assert "metrics.jsonl: lines that cannot be read, and are left out: 11" in out
    assert err == ""


def test_a_return_that_is_no_number_is_not_handed_on(run: Path, refusal: Refusal) -> None:
    (run / "result.json").write_text('{"final_return": "<b>"}')
    assert "its return '<b>' is no number" in refusal(*EXPORT)  # type: ignore[arg-type]


PLACES: list[tuple[str, Callable[[Path, Path], Any]]] = [
    ("a link", lambda place, other: place.symlink_to(other)),
    ("a pipe", lambda place, other: os.mkfifo(place)),
]


def test_a_resumed_run_writes_through_no_link(
    whole: Path, run: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    mine = run.parent / "mine"
    mine.write_text("mine")
    for name in ("log.txt", "metrics.jsonl", "result.json"):
        for kind, make in PLACES:
            with subtests.test(f"{name} is {kind}"):
                (run / name).unlink()
                make(run / name, mine)
                assert f"{name} is a link or no file" in refusal(*RESUME)  # type: ignore[arg-type]
                again(whole, run)
    assert mine.read_text() == "mine"


def test_an_export_follows_no_link(
    run: Path,
    refusal: Refusal,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = run.parent / "mine"
    mine.write_text("mine")
    (run / "export").mkdir()
    for name in ("README.md", "policy.safetensors", "policy.json", "replay.mp4"):
        (run / "export" / name).symlink_to(mine)
    (run / "final.mp4").symlink_to(mine)
    monkeypatch.setattr(sys, "argv", ["script", "run=run", "format=safetensors"])
    export.main()
    assert mine.read_text() == "mine"
    assert (run / "export" / "replay.mp4").is_symlink(), "nothing of mine is handed on"
    shutil.rmtree(run / "export")
    (run / "export").symlink_to(run.parent)
    capsys.readouterr()
    assert "export is a link" in refusal(*EXPORT)  # type: ignore[arg-type]


STATES: list[tuple[str, Any]] = [
    ("run", 3),
    ("run/ledger", None),
    ("run/ledger/counts", np.zeros((1, 2), np.int64)),
    ("run/replay/heads", "x"),
    ("run/replay/numbers", 10**17),
    ("outcome", []),
    ("outcome/first", 10**17),
    ("evaluations", "x"),
    ("shape", {}),
    ("env_steps", "x"),
    ("seconds", float("inf")),
]


def test_a_checkpoint_of_another_content_is_refused_before_it_is_used(
    run: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    (folder,) = (run / "checkpoints").iterdir()
    state = read(folder)
    for path, value in STATES:
        with subtests.test(path):
            *places, last = path.split("/")
            other = dict(state)
            node = other
            for place in places:
                node[place] = dict(node[place])
                node = node[place]
            node[last] = value
            write(folder, other)
            before = (run / "config.yaml").read_bytes()
            said = refusal(*RESUME)  # type: ignore[arg-type]
            assert "its newest checkpoint is whole, but not one of this version" in said
            assert (run / "config.yaml").read_bytes() == before


def test_layers_that_no_checkpoint_can_have_are_not_built(run: Path, refusal: Refusal) -> None:
    text = (run / "config.yaml").read_text()
    for line in ("- 16", "- 16"):
        text = text.replace(line, "- 65536", 1)
    (run / "config.yaml").write_text(text)
    said = refusal(*RESUME)  # type: ignore[arg-type]
    assert "agent and env together take more than" in said
    assert evaluate.find(run, "newest").name == "final.safetensors"
