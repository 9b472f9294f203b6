"""What a run leaves on disk: checkpoints that are whole or refused, and policies that run no code.

A checkpoint is a folder: state.safetensors holds every tensor and array, state.json the rest,
manifest.json, written last, the length and SHA-256 of both. It gets its name by one rename.
No pickle is read anywhere, so that a stranger's file may be looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from paradigms.base import Snapshot
from paradigms.errors import PacelineError

FORMAT = 1
FILES = ("state.safetensors", "state.json")


class Damaged(PacelineError):
    """What lies there is not a whole checkpoint or policy; the text is one sentence."""


class Checkpoints:
    """The last `keep` checkpoints of a run, named by env steps; `say` hears what was skipped."""

    def __init__(
        self, folder: str | Path, *, keep: int = 3, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.keep, self.say = Path(folder), keep, say

    def save(self, state: dict[str, Any], env_steps: int) -> Path:
        """Writes one and removes the oldest. OSError or Damaged if it cannot: the others stay."""
        left = list(self.folder.glob(".tmp-*"))  # by a process that was killed while it wrote
        folder = write(self.folder / f"step_{env_steps:012d}", state)
        for old in [*left, *self._names()[: -self.keep]]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def newest(self) -> dict[str, Any]:
        """The state of the newest whole checkpoint. Damaged, naming every one, if none is."""
        refused = []
        for folder in reversed(self._names()):
            try:
                return read(folder)
            except Damaged as error:
                refused.append(str(error))
                self.say(f"{error}; trying the one before")
        if refused:
            raise Damaged(f"no checkpoint in {self.folder} is whole: {'; '.join(refused)}")
        raise Damaged(f"there is no checkpoint in {self.folder}")

    def _names(self) -> list[Path]:
        return sorted(self.folder.glob("step_*"))


def write(folder: Path, state: dict[str, Any]) -> Path:
    """Nested dicts of tensors, arrays, numbers, strings and lists as a folder, all or nothing.

    Raises Damaged for a tensor that is not finite (arrays, such as a replay's, are not looked at),
    TypeError for a value of another kind, OSError as it comes; nothing is left behind then.
    """
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, "", tensors)
    need = sum(t.numel() * t.element_size() for t in tensors.values())
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < 1.2 * need:
        raise OSError(f"{folder.parent} has {free >> 20} MiB free, a checkpoint takes {need >> 20}")
    partial = folder.parent / f".tmp-{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        save_file(tensors, partial / FILES[0])
        (partial / FILES[1]).write_text(json.dumps(tree))
        files = {name: _digest(partial / name) for name in FILES}
        (partial / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files}))
        for name in (*FILES, "manifest.json", "."):
            _sync(partial / name)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        _sync(folder.parent)
    except SafetensorError as error:  # what it makes of a full disk
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(str(error)) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def read(folder: Path) -> dict[str, Any]:
    """What `write` was given. Raises Damaged, in one sentence, for anything else."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            raise Damaged(f"{folder} has format {manifest['format']}, this version reads {FORMAT}")
        for name in FILES:
            if _digest(folder / name) != manifest["files"][name]:
                raise Damaged(f"{folder} is damaged: {name} is not what was written")
        tree = json.loads((folder / FILES[1]).read_text())
        state = _unpack(tree, load_file(folder / FILES[0]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise Damaged(f"{folder} is damaged: {type(error).__name__} {error}") from error
    if not isinstance(state, dict):
        raise Damaged(f"{folder} is damaged: it holds a {type(state).__name__}")
    return state


def save_policy(path: Path, snapshot: Snapshot, about: dict[str, Any]) -> None:
    """`path` (.safetensors) with the snapshot's values and, beside it, .json with all that rebuilds
    it.

    about: JSON values; what it came from and how it scored.
    """
    header = {
        f: getattr(snapshot, f) for f in ("part", "version", "env_steps", "episodes", "updates")
    }
    header |= {"seconds": snapshot.seconds, "format": FORMAT}
    tensors = {"floats": _plain(snapshot.floats), "counts": _plain(snapshot.counts)}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)
    write_json(path.with_suffix(".json"), {**header, **about})


def load_policy(path: Path) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot and what was noted about it. Raises Damaged."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        tensors = load_file(path)
        floats, counts = tensors["floats"].float(), tensors["counts"]
        when = {key: int(about[key]) for key in ("version", "env_steps", "episodes", "updates")}
        snapshot = Snapshot(
            str(about["part"]), floats, counts, seconds=float(about["seconds"]), **when
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Damaged(
            f"{path} cannot be read as a policy: {type(error).__name__} {error}"
        ) from error
    if floats.ndim != 1 or not torch.isfinite(floats).all():
        raise Damaged(f"{path} cannot be read as a policy: its weights are not a finite vector")
    return snapshot, about


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all; NaN and infinities, which JSON does not have, become null."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(_jsonable(value), indent=1) + "\n")
    partial.replace(path)


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a value; tensors and arrays go to `tensors` under their path."""
    match value:
        case dict():
            return {"dict": [[_key(k), _pack(v, f"{name}/{k}", tensors)] for k, v in value.items()]}
        case list() | tuple():
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [_pack(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]}
        case Tensor():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise Damaged(f"{name.strip('/')} is not finite and was not saved")
            tensors[name] = _plain(value)
            return {"tensor": name}
        case np.ndarray():
            tensors[name] = torch.from_numpy(np.array(value, order="C"))
            return {"array": name}
        case np.generic():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"{name.strip('/')} is a {type(value).__name__}, which no checkpoint can hold")


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    match kind:
        case "dict":
            return {key: _unpack(value, tensors) for key, value in content}
        case "list":
            return [_unpack(value, tensors) for value in content]
        case "tuple":
            return tuple(_unpack(value, tensors) for value in content)
        case "tensor":
            return tensors[content]
        case "array":
            return tensors[content].numpy()
    raise ValueError(f"unknown kind {kind}")


def _key(key: Any) -> Any:
    if not isinstance(key, str | int):
        raise TypeError(f"the key {key!r} is neither a word nor a whole number")
    return key


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and with memory of its own, as safetensors wants it."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _jsonable(value: Any) -> Any:
    match value:
        case dict():
            return {str(k): _jsonable(v) for k, v in value.items()}
        case str():
            return value
        case np.generic():
            return _jsonable(value.item())
        case float():
            return value if np.isfinite(value) else None
        case Tensor() | np.ndarray():
            return _jsonable(value.tolist())
        case Iterable():
            return [_jsonable(v) for v in value]
    return value
