"""A checkpoint that somebody else has written runs nothing, and takes no more than its bounds."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from paradigms.session import checkpoint
from paradigms.session.checkpoint import Damaged, read, write
from tests.hostile import bounded
from tests.session.test_checkpoint import same, state


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_what_has_no_end_is_not_waited_for(name: str, tmp_path: Path) -> None:
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir):
        folder = write(tmp_path / "a", state())
        (folder / name).unlink()
        make(folder / name)
        with bounded(), pytest.raises(Damaged):
            read(folder)


def huge(folder: Path, bytes: int) -> None:
    """Lets the tensors of a checkpoint be so long, with a manifest that says so."""
    os.truncate(folder / "state.safetensors", bytes)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["state.safetensors"]["bytes"] = bytes
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_more_than_the_memory_or_the_given_number_of_bytes_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", state())
    assert same(read(folder, most=10_000), state())
    huge(folder, 10_001)
    with pytest.raises(Damaged, match="10,001 bytes, and 10,000 may be read"):
        read(folder, most=10_000)
    huge(folder, 2**42)
    with bounded(), pytest.raises(Damaged, match=r"state\.safetensors has 4,398,046,511,104 byte"):
        read(folder)


def test_a_text_of_very_many_parts_is_not_parsed(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {})
    text = b"[" + b"{}," * 2**21 + b"0]"
    (folder / "state.json").write_bytes(text)
    files = {f: digest((folder / f).read_bytes()) for f in checkpoint.FILES}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    with bounded(), pytest.raises(Damaged, match="more than 1,048,576 lists and mappings"):
        read(folder)


def digest(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Payload:
    """Says so if anybody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_a_hostile_file_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "a", state())
    for payload in (pickle.dumps(Payload()), b"\x80\x04" * 50, b"[" * 100_000, b'{"format": 1}'):
        (folder / name).write_bytes(payload)
        files = {f: digest((folder / f).read_bytes()) for f in checkpoint.FILES}
        if name != "manifest.json":  # a stranger can make the digests fit
            (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
        with bounded(), pytest.raises(Damaged):
            read(folder)
    assert not (tmp_path / "executed").exists()
