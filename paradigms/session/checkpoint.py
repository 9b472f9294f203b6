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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from paradigms.errors import PacelineError
from paradigms.session import files

FORMAT = 1
FILES = ("state.safetensors", "state.json")
MANIFEST = "manifest.json"
MOST_JSON = 2**25  # bytes; a week of evaluations takes a fifth of it
OLD = ".old"  # the suffix of a checkpoint that is being replaced


class Damaged(PacelineError):
    """A file of a run is not what was written; the text is one sentence."""


class Unsavable(PacelineError):
    """A state that no checkpoint can hold; the text names the entry, and is one sentence."""


class Checkpoints:
    """The last `keep` checkpoints of a run in `folder`, named by env steps. `say` gets a sentence
    for each one that `newest` skips. most: bytes that the tensors of one may have; None: as many as
    this machine's memory.

    checkpoints.save(state, env_steps); state = checkpoints.newest()
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        keep: int = 3,
        say: Callable[[str], None] = lambda _: None,
        most: int | None = None,
    ) -> None:
        self.folder, self.keep, self.say, self.most = Path(folder), keep, say, most

    def save(self, state: dict[str, Any], env_steps: int, best_at: int | None = None) -> Path:
        """Writes a checkpoint (see `write`) and removes the oldest ones; blocks until it is done.

        One of the same env steps is replaced, and is readable until the new one is. best_at: the
        env steps of the best policy; the checkpoint that is nearest to it stays beside the last
        ones. Later ones, which a run that went on before them has refused, are left alone. Raises
        OSError or Unsavable if it cannot be written: the other checkpoints stay.
        """
        left = [*self.folder.glob(".tmp-*"), *self.folder.glob(f"*{OLD}")]  # by killed processes
        folder = write(self.folder / f"step_{env_steps:012d}", state)
        own = [path for path in self.names() if path.stem <= folder.stem and path.suffix != OLD]
        stays = set(own[-self.keep :])
        if best_at is not None:
            stays.add(min(own, key=lambda path: abs(_steps(path) - best_at)))
        for old in [*left, *(path for path in own if path not in stays)]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def newest(self) -> dict[str, Any]:
        """The state of the newest whole checkpoint, its tensors on the CPU. Raises Damaged, naming
        every checkpoint there is, if none of them is whole."""
        refused = []
        for folder in reversed(self.names()):
            try:
                return read(folder, self.most)
            except Damaged as error:
                refused.append(str(error))
                self.say(f"{error}; trying the one before")
        if refused:
            raise Damaged(f"no checkpoint in {self.folder} is whole: {'; '.join(refused)}")
        raise Damaged(f"there is no checkpoint in {self.folder}")

    def names(self) -> list[Path]:
        """From old to new; one that is being replaced comes before its successor."""
        found = (path for path in self.folder.glob("step_*") if _steps(path) >= 0)
        return sorted(found, key=lambda path: (path.stem, path.suffix != OLD))


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
        files.write_tensors(partial / FILES[0], tensors)
        (partial / FILES[1]).write_text(json.dumps(tree))
        (partial / MANIFEST).write_text(_manifest(partial))
        for name in (FILES[1], MANIFEST, "."):
            files.sync(partial / name)
        old = folder.with_suffix(OLD)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        partial.rename(folder)
        files.sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def read(folder: Path, most: int | None = None) -> dict[str, Any]:
    """What `write` was given; most: bytes of its tensors (see Checkpoints). Raises Damaged, in one
    sentence, for anything else."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if most is None else most
    try:
        text = files.content(folder / MANIFEST, 2**16).decode()
        said = files.json_value(text.encode())
        if said["format"] != FORMAT:
            raise Damaged(f"{folder} has format {said['format']}, this version reads {FORMAT}")
        for name in FILES:  # before anybody reads so much
            if (folder / name).stat().st_size != said["files"][name]["bytes"]:
                raise Damaged(f"{folder} is damaged: {name} has another length than was written")
        tree = files.json_value(files.content(folder / FILES[1], MOST_JSON))
        tensors = files.tensors(folder / FILES[0], most)
        if text != _manifest(folder):
            raise Damaged(f"{folder} is damaged: it is not what was written")
        state = _unpack(tree, tensors)
    except (
        *(OSError, ValueError, KeyError, TypeError, IndexError),
        *(AttributeError, RecursionError, SafetensorError),
    ) as error:
        raise Damaged(f"{folder} is damaged: {type(error).__name__} {error}") from error
    if not isinstance(state, dict):
        raise Damaged(f"{folder} is damaged: it holds a {type(state).__name__}")
    return state


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
            tensors[name] = files.plain(value)
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


def _manifest(folder: Path) -> str:
    """What says of a checkpoint's files how long they are, and what their SHA-256 is."""
    return json.dumps({"format": FORMAT, "files": {name: _digest(folder / name) for name in FILES}})


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _steps(path: Path) -> int:
    """The env steps of a checkpoint by its name; -1 if that is none."""
    word = path.stem.removeprefix("step_")
    return int(word) if word.isdecimal() and len(word) < 19 else -1
