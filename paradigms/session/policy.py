"""A policy on disk: NAME.safetensors with its weights and NAME.json with all that rebuilds it.

Both are data: nothing in them is unpickled or run here. The JSON holds a SHA-256 over the tensors
and over everything else in the JSON. Both get their names one after the other; in between, the
new weights are NAME.safetensors.new, and are found there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from paradigms.base import Snapshot
from paradigms.session import files
from paradigms.session.checkpoint import Damaged

FORMAT = 2  # format 1 has no digest
MOST_WEIGHTS, MOST_JSON = 2**27, 2**18  # bytes of each file
WHEN = ("version", "env_steps", "episodes", "updates")


def save_policy(path: Path, snapshot: Snapshot, about: dict[str, Any]) -> None:
    """Writes `path` (.safetensors: floats [n] as they come, counts [groups] int64) and, beside it,
    .json: the snapshot's part, version, env steps, episodes, updates and seconds, the digest, and
    `about`, which has JSON values. One that is replaced can be read until the new one can. Raises
    OSError; the one of before stays then."""
    header = {f: getattr(snapshot, f) for f in ("part", *WHEN, "seconds")}
    noted = files.jsonable({**about, **header, "format": FORMAT})
    tensors = {"floats": files.plain(snapshot.floats), "counts": files.plain(snapshot.counts)}
    new = _new(path)
    files.write_tensors(new, tensors)
    try:
        files.write_json(path.with_suffix(".json"), {**noted, "sha256": _digest(tensors, noted)})
    except OSError:
        new.unlink(missing_ok=True)
        raise
    new.replace(path)
    files.sync(path.parent)


def load_policy(path: Path) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot, with floats [n] float32, and what was noted about it.

    Raises Damaged, in one sentence, if a file is missing, is not what `save_policy` wrote, or has
    weights that are not finite. Files of format 1 have no digest to compare with.
    """
    try:
        about, tensors = _read(path)
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


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What was noted, and the tensors that belong to it: those of `path`, or, where its writer was
    killed before they got that name, the new ones."""
    text = files.content(path.with_suffix(".json"), MOST_JSON)
    about = files.json_value(text)
    if about["format"] not in (1, FORMAT):
        raise ValueError(f"it has format {about['format']}, this version reads {FORMAT}")
    if about["format"] == 1:
        return about, files.tensors(path, MOST_WEIGHTS)
    same = text.decode() == files.json_text(about)  # a number may be written in two ways
    written = about.pop("sha256", None)
    new = _new(path)
    places = [place for place in (path, new) if place.exists()] if new.is_file() else [path]
    for there in places:
        tensors = files.tensors(there, MOST_WEIGHTS)
        if same and written == _digest(tensors, about):
            return about, tensors
    raise ValueError("it or its .json is not what was written: its SHA-256 is another one")


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _digest(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Over the JSON form of `about` and over the names, dtypes, shapes and bytes of the tensors."""
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
