"""Checkpoints: a run's complete state on disk, whole or refused.

A checkpoint is a folder: state.safetensors holds every tensor and array, state.json the rest,
manifest.json, written last, the length and SHA-256 of both. It gets its name by one rename.
No pickle is read anywhere, so that a stranger's file may be read.
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

from paradigms.errors import PacelineError

FORMAT = 1
FILES = ("state.safetensors", "state.json")
OLD = ".old"  # the suffix of a checkpoint that is being replaced


class Damaged(PacelineError):
    """A file is not a whole checkpoint, policy or run.json; the text is one sentence."""


class Unsavable(PacelineError):
    """A state that no checkpoint can hold; the text names the entry, and is one sentence."""


class Checkpoints:
    """The last `keep` checkpoints of a run in `folder`, named by env steps. `say` gets a sentence
    for each one that `newest` skips.

    checkpoints.save(state, env_steps); state = checkpoints.newest()
    """

    def __init__(
        self, folder: str | Path, *, keep: int = 3, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.keep, self.say = Path(folder), keep, say

    def save(self, state: dict[str, Any], env_steps: int) -> Path:
        """Writes a checkpoint (see `write`) and removes the oldest ones; blocks until it is done.

        One of the same env steps is replaced, and is readable until the new one is. Raises OSError
        or Unsavable if it cannot be written: the other checkpoints stay.
        """
        left = [*self.folder.glob(".tmp-*"), *self.folder.glob(f"*{OLD}")]  # by killed processes
        folder = write(self.folder / f"step_{env_steps:012d}", state)
        for old in [*left, *self._names()[: -self.keep]]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def newest(self) -> dict[str, Any]:
        """The state of the newest whole checkpoint, its tensors on the CPU. Raises Damaged, naming
        every checkpoint there is, if none of them is whole."""
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
        """From old to new; one that is being replaced comes before its successor."""
        return sorted(self.folder.glob("step_*"), key=lambda p: (p.stem, p.suffix != OLD))


def write(folder: Path, state: dict[str, Any]) -> Path:
    """Nested dicts of tensors, arrays, numbers, strings and lists as a folder, all or nothing.

    Raises Unsavable for a tensor that is not finite (arrays, such as a replay's, are not looked at)
    and for a value or key of another kind, OSError as it comes; nothing is left behind then.
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
        old = folder.with_suffix(OLD)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        partial.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
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


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all; NaN and infinities, which JSON does not have, become null."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(jsonable(value), indent=1) + "\n")
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
                raise Unsavable(f"{name.strip('/')} is not finite and was not saved")
            tensors[name] = plain(value)
            return {"tensor": name}
        case np.ndarray():
            tensors[name] = torch.from_numpy(np.array(value, order="C"))
            return {"array": name}
        case np.generic():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
    raise Unsavable(f"{name.strip('/')} is a {type(value).__name__}, which no checkpoint can hold")


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
        raise Unsavable(f"the key {key!r} is neither a word nor a whole number")
    return key


def plain(tensor: Tensor) -> Tensor:
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


def jsonable(value: Any) -> Any:
    """Dicts, lists, strings and numbers for anything made of these, tensors and arrays; NaN and
    infinities become None."""
    match value:
        case dict():
            return {str(k): jsonable(v) for k, v in value.items()}
        case str():
            return value
        case np.generic():
            return jsonable(value.item())
        case float():
            return value if np.isfinite(value) else None
        case Tensor() | np.ndarray():
            return jsonable(value.tolist())
        case Iterable():
            return [jsonable(v) for v in value]
    return value
