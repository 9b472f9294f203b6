"""Weights & Biases and Trackio: they have the whole curve, and live in the main process alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.pages import ROOT
from tests.session.test_sinks import SMALL, alive, text, train, until

TRACKERS = ("wandb", "trackio")
IMPORTS = """
import os, sys


class Noting:  # which processes import a tracker
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {trackers!r}:
            with open({file!r}, "a") as noted:
                print(os.getpid(), file=noted)


sys.meta_path.insert(0, Noting)
"""

WITH = ["tracker", "paradigm"]
PAIRS = [(tracker, paradigm) for tracker in TRACKERS for paradigm in ("dcollect", "hogwild")]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(WITH, PAIRS)
def test_a_tracker_has_the_whole_curve_and_no_worker_imports_it(
    tmp_path: Path, tracker: str, paradigm: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        IMPORTS.format(file=str(tmp_path / "imports"), trackers=TRACKERS)
    )
    run = train(tmp_path, *words_for(tracker, tmp_path), f"paradigm={paradigm}", "workers=2")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "failed and is left out" not in run.stdout
    assert len({*(tmp_path / "imports").read_text().split()}) == 1, "the main process alone"
    rows = [json.loads(line) for line in text(tmp_path / "run" / "metrics.jsonl").splitlines()]
    curve = [(row["env_steps"], row["mean"]) for row in rows if row["kind"] == "evaluation"]
    kept = history(tracker, tmp_path)
    assert len(curve) > 1
    assert [(k["env_steps"], k["evaluation/return"]) for k in kept if "evaluation/return" in k] == (
        [(steps, pytest.approx(mean)) for steps, mean in curve]
    )
    losses = [row["loss/critic"] for row in rows if "loss/critic" in row]
    assert [k["loss/critic"] for k in kept if "loss/critic" in k] == pytest.approx(losses)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(WITH, PAIRS)
def test_a_killed_run_leaves_no_process_of_the_tracker(
    tmp_path: Path, tracker: str, paradigm: str
) -> None:
    import psutil

    long = [*words_for(tracker, tmp_path), f"paradigm={paradigm}", "workers=2"]
    command = [sys.executable, "train.py", *SMALL, *long, "budget.env_steps=10000000"]
    run = subprocess.Popen(
        [*command, f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: "updates/s" in text(tmp_path / "run" / "log.txt"))
        children = psutil.Process(run.pid).children(recursive=True)
        assert len(children) > 3
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    until(lambda: not any(alive(child) for child in children), seconds=5)


def words_for(tracker: str, folder: Path) -> list[str]:
    if find_spec(tracker) is None:
        pytest.skip(f"the extra {tracker} is not installed")
    own = {"wandb": "logger.wandb.mode=offline", "trackio": f"logger.trackio.folder={folder}/db"}
    return [f"logger={tracker}", own[tracker]]


def history(tracker: str, folder: Path) -> list[dict[str, Any]]:
    """What a tracker has kept of a run, in order."""
    if tracker == "trackio":
        (file,) = (folder / "db").glob("*.db")
        with contextlib.closing(sqlite3.connect(file)) as base:
            rows = base.execute("SELECT metrics FROM metrics ORDER BY id").fetchall()
        return [json.loads(row[0]) for row in rows]
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (folder / "run" / "wandb").glob("offline-run-*/*.wandb")
    kept = []
    for data in records(file.read_bytes()):
        items = Record.FromString(data).history.item
        kept.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return [row for row in kept if row]


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file of LevelDB's log format: blocks of 32 KiB, each record in one part or
    more, each part after a checksum (4 bytes), its length (2) and its kind (1)."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""
