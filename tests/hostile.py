"""Files that somebody else has written, and what refusing them must leave undone."""

from __future__ import annotations

import contextlib
import copy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.parts.vector import Vector
from conf.compose import compose
from conf.nodes import made
from envs.make import describe
from paradigms.base import Snapshot
from paradigms.session.policy import save_policy

RUN = compose(["env=identity", "agent.hidden_sizes=[8,8]"])
EVIL = "import pathlib\npathlib.Path('RAN').touch()\nclass Agent: ...\ndef f(*a, **k): ...\n"
MOST_SECONDS, MOST_BYTES = 5.0, 500 * 10**6  # that a file may cost which is refused
Values = dict[str, Any]
Refusal = Callable[..., str]


def policy(folder: Path, values: Values) -> Path:
    """A policy as a run keeps it."""
    spec = describe(made(values["env"]["make"]))
    agent = made(values["agent"])(spec, seed=0, device="cpu")
    vector = Vector(agent)
    floats = vector.floats[: vector.size("evaluate")].detach().clone()
    path = folder / "final.safetensors"
    about = {name: values[name] for name in ("agent", "env", "seed")}
    whole = Snapshot("evaluate", floats, vector.counts.clone(), 0)
    save_policy(path, whole, {**about, "choices": RUN.choices, "which": "final"})
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which a module `evil` leaves a file RAN if it is imported."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return tmp_path


@pytest.fixture
def refusal(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refusal:
    """Runs a script's main; gives the sentence with which it leaves, having run nothing."""

    def refused(main: Callable[[], None], *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        with bounded(), pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (2, ""), err
        assert len(err.splitlines()) == 1, err
        assert not Path("RAN").exists(), err
        return err

    return refused


@contextlib.contextmanager
def bounded(seconds: float = MOST_SECONDS, most: int = MOST_BYTES) -> Iterator[None]:
    """Asserts that the body takes no longer, and at no moment more memory than there was before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before, began = resident("VmRSS"), time.monotonic()
    yield
    took, grown = time.monotonic() - began, resident("VmHWM") - before
    assert took < seconds, f"{took:.1f} s"
    assert grown < most, f"{grown:,} bytes"


def resident(what: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


SYSTEM = {"_target_": "os.system", "command": "touch RAN"}


GIT = {"_target_": "paradigms.session.origin.git", "_args_": ["-c", "alias.x=!touch RAN", "x"]}


WRITE = {"_target_": "paradigms.session.files.write_json", "path": "RAN", "value": 1}


def changed(values: Values, key: str, value: Any) -> Values:
    result = copy.deepcopy(values)
    *path, last = key.split(".")
    node = result
    for name in path:
        node = node[name]
    node[last] = value
    return result
