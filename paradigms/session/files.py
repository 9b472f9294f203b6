"""Files of a run: read within bounds, because somebody else may have written them, and written
whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

MOST_HEADER = 2**22  # bytes of the description at the head of a safetensors file
MOST_BRACKETS = 2**20  # of a JSON text: each is an object of at least 56 bytes in memory


def content(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises ValueError for anything but a regular file of at most `most`
    bytes, OSError as it comes; never waits for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        _regular(path, descriptor, most)
        return file.read(most)


def json_value(data: bytes) -> Any:
    """What a JSON text says. Raises ValueError, also for one of too many parts, and RecursionError
    for one that is too deep."""
    if data.count(b"[") + data.count(b"{") > MOST_BRACKETS:
        raise ValueError(f"it has more than {MOST_BRACKETS:,} lists and mappings")
    return json.loads(data.decode())


def tensors(path: Path, most: int) -> dict[str, Tensor]:
    """The tensors of a safetensors file of at most `most` bytes, on the CPU. Raises ValueError or
    SafetensorError for one that is none, OSError as it comes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        size = _regular(path, descriptor, most)
        header = int.from_bytes(file.read(8), "little")
    if not 2 <= header <= min(size - 8, MOST_HEADER):
        raise ValueError(f"{path.name} is no safetensors file: its header cannot be so long")
    return load_file(path)


def write_tensors(path: Path, values: dict[str, Tensor]) -> None:
    """Writes a safetensors file and waits until it is on the disk. Raises OSError, and leaves no
    file behind then."""
    path.unlink(missing_ok=True)  # a link there would be followed
    try:
        save_file(values, path)
        sync(path)
    except SafetensorError as error:  # what it makes of a full disk
        path.unlink(missing_ok=True)
        raise OSError(str(error)) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all, and waits until it is on the disk. Raises OSError, and
    leaves the one of before then."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # a link there would be followed
    try:
        partial.write_text(text, "utf-8")
        sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def own(path: Path) -> Path:
    """The same path, after a link there is removed: what is written goes nowhere else."""
    if path.is_symlink():
        path.unlink()
    return path


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all; NaN and infinities, which JSON does not have, become null."""
    write_text(path, json_text(jsonable(value)))


def json_text(value: Any) -> str:
    """The one form in which this library writes a value of dicts, lists and so on as JSON."""
    return json.dumps(value, indent=1) + "\n"


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


def plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and with memory of its own, as safetensors wants it."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _regular(path: Path, descriptor: int, most: int) -> int:
    """The size of an open file."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(f"{path.name} is not a file")
    if about.st_size > most:
        raise ValueError(f"{path.name} has {about.st_size:,} bytes, and {most:,} may be read")
    return about.st_size
