"""A checkpoint is whole or refused, never half, and no file that is read runs code."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from paradigms.session import checkpoint
from paradigms.session.checkpoint import Checkpoints, Damaged, Unsavable, read, write

ROOT = Path(__file__).resolve().parents[2]


def state(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(64, generator=generator)
    return {
        "floats": flat,
        "view": flat[8:24],
        "counts": torch.arange(3),
        "rows": [torch.arange(12, dtype=torch.uint8).view(3, 4), torch.empty(0)],
        "heads": np.array([[1, 2], [3, 4]]),
        "column": np.arange(10).reshape(5, 2)[:, 0],
        "pace": {"added": 3, "share": 0.25, "name": "x/y", "none": None, "yes": True, 7: "seven"},
        "best": float("-inf"),
        "pair": (1, [np.float32(0.5), np.int64(2)]),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    assert same(read(write(tmp_path / "a", state())), state())


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    leaves, lambda t: st.lists(t) | st.dictionaries(st.text() | st.integers(), t), max_leaves=20
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), trees))
def test_any_tree_of_plain_values_comes_back(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    assert same(read(write(tmp_path_factory.mktemp("trees") / "a", tree)), tree)


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", state())
    draw = random.Random(0)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for _ in range(60):
            at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(Damaged, match=r"damaged|has format") as refused:
                read(folder)
            assert "\n" not in str(refused.value).strip()
        for length in (0, 1, len(whole) // 2, len(whole) - 2):
            file.write_bytes(whole[:length])
            with pytest.raises(Damaged):
                read(folder)
        file.write_bytes(whole)
    assert same(read(folder), state())


def test_the_newest_whole_one_is_taken_and_what_was_skipped_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, keep=3, say=said.append)
    (tmp_path / ".tmp-0").mkdir()  # of a process that was killed while it saved
    for steps in (100, 200, 300, 400):
        checkpoints.save({"steps": steps}, steps)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "step_000000000200",
        "step_000000000300",
        "step_000000000400",
    ]
    (tmp_path / "step_000000000400" / "state.json").write_text("{}")
    assert checkpoints.newest() == {"steps": 300}
    assert len(said) == 1
    assert "step_000000000400 is damaged" in said[0]


def test_a_run_without_a_whole_checkpoint_is_never_started_afresh_silently(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(Damaged, match="there is no checkpoint"):
        checkpoints.newest()
    (checkpoints.save({}, 1) / "manifest.json").unlink()
    with pytest.raises(Damaged, match=r"no checkpoint in .* is whole"):
        checkpoints.newest()


def steps(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step_")) for path in sorted(folder.glob("step_*"))]


def test_the_checkpoint_nearest_to_the_best_policy_stays_beside_the_last_ones(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    best = {100: 90, 200: 90, 300: 90, 400: 90, 500: 410, 600: 410, 700: 410}
    for env_steps, best_at in best.items():
        checkpoints.save({}, env_steps, best_at)
    assert steps(tmp_path) == [400, 600, 700]


def test_later_ones_that_were_refused_push_nothing_out(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for env_steps in (100, 900, 950):
        checkpoints.save({"n": env_steps}, env_steps)
    for folder in checkpoints.names()[-2:]:
        (folder / "state.json").write_text("{}")
    for env_steps in (200, 300, 400):  # a run that went on after step 100
        checkpoints.save({"n": env_steps}, env_steps)
    assert steps(tmp_path) == [300, 400, 900, 950]
    assert checkpoints.newest() == {"n": 400}


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    with pytest.raises(Unsavable, match="agent/floats is not finite"):
        write(tmp_path / "a", {"agent": {"floats": torch.tensor([1.0, float("nan")])}})
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unsavable, match="a/b is a set"):
        write(tmp_path / "a", {"a": {"b": {1, 2}}})
    with pytest.raises(Unsavable, match=r"the key \(1, 2\)"):
        write(tmp_path / "a", {"a": {(1, 2): 3}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("checkpoint.os.fsync", OSError(28, "No space left on device")),
        ("files.save_file", SafetensorError("No space left on device")),
    ],
)
def test_a_failed_write_leaves_the_old_one_and_nothing_else(
    call: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", {"n": 1})

    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(f"paradigms.session.{call}", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "b", {"n": 2})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert read(tmp_path / "a") == {"n": 1}


def test_too_little_room_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = checkpoint.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: full)
    with pytest.raises(OSError, match="free"):
        write(tmp_path / "a", state())
    assert list(tmp_path.iterdir()) == []


KILLED_ON_THE_WAY = """
import os, sys, torch
from pathlib import Path
from paradigms.session import checkpoint, files

store = checkpoint.Checkpoints(Path(sys.argv[1]))
store.save({"n": 1}, 1)

def counted(real):
    def call(*args, **options):
        global calls
        calls += 1
        if calls == point:
            os.kill(os.getpid(), 9)
        return real(*args, **options)
    return call

os.fsync, Path.rename = counted(os.fsync), counted(Path.rename)
files.save_file, Path.write_text = counted(files.save_file), counted(Path.write_text)
for point in range(1, 13):
    calls = 0
    if os.fork() == 0:
        step = 1 if sys.argv[2] == "replaced" else 1 + point
        store.save({"n": 2, "t": torch.ones(9)}, step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), store.newest()["n"])
"""


def kills(folder: Path, how: str) -> list[list[str]]:
    """For each moment of a save at which it is killed: the exit code, and what is newest then."""
    command = [sys.executable, "-c", KILLED_ON_THE_WAY, str(folder), how]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [line.split() for line in run.stdout.splitlines()]


KILL = str(-signal.SIGKILL)


@pytest.mark.slow
def test_killed_at_any_moment_of_a_save_a_whole_checkpoint_is_left(tmp_path: Path) -> None:
    before_the_rename = 8  # one save_file, two write_text, four fsync, the rename itself
    ends = kills(tmp_path, "added")
    assert ends[:before_the_rename] == [[KILL, "1"]] * before_the_rename
    assert ends[before_the_rename : before_the_rename + 2] == [[KILL, "2"], ["0", "2"]]


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_replaced_the_old_or_the_new_one_is_left(
    tmp_path: Path,
) -> None:
    ends = kills(tmp_path, "replaced")
    assert [newest for _, newest in ends] == ["1"] * 9 + ["2"] * 3
    assert ends[-1][0] == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000000001"]
