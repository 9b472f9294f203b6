"""A policy on disk: NAME.safetensors with its weights and NAME.json with all that rebuilds it.

Both are data: nothing in them is unpickled or run here. The JSON holds a SHA-256 over the tensors
and over everything else in the JSON.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from paradigms.base import Snapshot
from paradigms.session.checkpoint import Damaged, jsonable, plain, write_json

FORMAT = 2  # format 1 has no digest
WHEN = ("version", "env_steps", "episodes", "updates")


def save_policy(path: Path, snapshot: Snapshot, about: dict[str, Any]) -> None:
    """Writes `path` (.safetensors: floats [n] as they come, counts [groups] int64) and, beside it,
    .json: the snapshot's part, version, env steps, episodes, updates and seconds, the digest, and
    `about`, which has JSON values. Each file is written whole or not at all. Raises OSError."""
    header = {f: getattr(snapshot, f) for f in ("part", *WHEN, "seconds")}
    noted = jsonable({**about, **header, "format": FORMAT})
    tensors = {"floats": plain(snapshot.floats), "counts": plain(snapshot.counts)}
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial)
    except SafetensorError as error:  # what it makes of a full disk
        partial.unlink(missing_ok=True)
        raise OSError(str(error)) from error
    partial.replace(path)
    write_json(path.with_suffix(".json"), {**noted, "sha256": _digest(tensors, noted)})


def load_policy(path: Path) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot, with floats [n] float32, and what was noted about it.

    Raises Damaged, in one sentence, if a file is missing, is not what `save_policy` wrote, or has
    weights that are not finite. Files of format 1 have no digest to compare with.
    """
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        tensors = load_file(path)
        written = about.pop("sha256", None)
        if about["format"] not in (1, FORMAT):
            raise ValueError(f"it has format {about['format']}, this version reads {FORMAT}")
        if about["format"] == FORMAT and written != _digest(tensors, about):
            raise ValueError("it or its .json is not what was written: its SHA-256 is another one")
        if about["part"] != "evaluate":
            raise ValueError(f"it holds the part {about['part']}, not the part evaluate")
        floats, counts = tensors["floats"].float(), tensors["counts"]
        when = {key: int(about[key]) for key in WHEN}
        snapshot = Snapshot("evaluate", floats, counts, seconds=float(about["seconds"]), **when)
    except (OSError, ValueError, OverflowError) as error:
        raise Damaged(f"{path} cannot be read as a policy: {error}") from error
    except (KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        kind = type(error).__name__
        raise Damaged(f"{path} cannot be read as a policy: {kind} {error}") from error
    if floats.ndim != 1 or not torch.isfinite(floats).all():
        raise Damaged(f"{path} cannot be read as a policy: its weights are not a finite vector")
    return snapshot, about


def _digest(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Over the JSON form of `about` and over the names, dtypes, shapes and bytes of the tensors."""
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
