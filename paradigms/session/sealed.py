"""Tensors on disk with what is noted about them: NAME.safetensors and NAME.json.

Both are data: nothing in them is unpickled or run here. The JSON holds a SHA-256 over the tensors
and over everything else in the JSON. Both get their names one after the other; in between, the
new weights are NAME.safetensors.new, and are found there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from paradigms.session import files
from paradigms.session.checkpoint import Damaged

FORMAT = 2  # format 1 has no digest
MOST_WEIGHTS, MOST_JSON = 2**27, 2**18  # bytes of each file


def write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Writes `path` (.safetensors) and, beside it, .json: `about`, which has JSON values, and the
    digest. One that is replaced can be read until the new one can. Raises OSError; the one of
    before stays then."""
    noted = files.jsonable({**about, "format": FORMAT})
    new = _new(path)
    files.write_tensors(new, tensors)
    try:
        files.write_json(path.with_suffix(".json"), {**noted, "sha256": digest(tensors, noted)})
    except OSError:
        new.unlink(missing_ok=True)
        raise
    new.replace(path)
    files.sync(path.parent)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What was noted, and the tensors that belong to it: those of `path`, or, where its writer was
    killed before they got that name, the new ones. Files of format 1 have no digest to compare
    with. To be called within `reading`: it raises whatever a file that is none has it raise."""
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
        if same and written == digest(tensors, about):
            return about, tensors
    raise ValueError("it or its .json is not what was written: its SHA-256 is another one")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raises Damaged, in one sentence, for whatever the block raises because a file is missing or
    is not `what` it should be."""
    try:
        yield
    except (OSError, ValueError, OverflowError) as error:
        raise Damaged(f"{path} cannot be read as {what}: {error}") from error
    except (KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        kind = type(error).__name__
        raise Damaged(f"{path} cannot be read as {what}: {kind} {error}") from error


def digest(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Over the JSON form of `about` and over the names, dtypes, shapes and bytes of the tensors."""
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
