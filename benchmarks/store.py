"""Where results are kept: `results/STUDY.jsonl`, a line a run, and `results/STUDY.safetensors`, the
policies that `make verify` plays, one a run in float16.

A line is appended under a lock, so that several processes may run cells of one study. A process
that is killed while it writes leaves a line without an end: readers skip it and the next writer
removes it. Where a run was repeated, its last line counts.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

RESULTS = Path(__file__).resolve().parent / "results"
DIGITS = 6  # significant ones of a stored float

Record = dict[str, Any]


def load(study: str, results: Path = RESULTS) -> list[Record]:
    """The finished runs of a study, by variant and seed; [] where there is no file."""
    file = results / f"{study}.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    found = {(r["variant"], r["seed"]): r for r in map(json.loads, lines)}
    return [found[key] for key in sorted(found)]


def append(study: str, record: Record, results: Path = RESULTS) -> None:
    """Adds one run; `variant` and `seed` name it. Floats are rounded to six significant digits."""
    line = json.dumps(rounded(record), allow_nan=False).encode() + b"\n"
    with _locked(results / f"{study}.jsonl") as file:
        _cut_torn_line(file)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def keep_policy(
    study: str, name: str, source: Path, about: Record, results: Path = RESULTS
) -> None:
    """Adds a policy, `source` as `checkpoint.save_policy` wrote it, under the name of its run;
    `about`: JSON values that rebuild its agent and its env."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with _locked(results / f"{study}.jsonl"):
        target = results / f"{study}.safetensors"
        tensors, metadata = {}, {}
        if target.exists():
            tensors = load_file(target)
            with safe_open(target, "pt") as file:
                metadata = file.metadata()
        tensors[name] = load_file(source)["floats"].half()
        metadata[name] = json.dumps(about)
        partial = target.with_suffix(f".{os.getpid()}")
        save_file(tensors, partial, metadata)
        partial.replace(target)


def load_policies(study: str, results: Path = RESULTS) -> dict[str, tuple[Any, Record]]:
    """By the run's name: the float32 vector of a policy, and the `about` of `keep_policy`."""
    from safetensors import safe_open

    target = results / f"{study}.safetensors"
    if not target.exists():
        return {}
    with safe_open(target, "pt") as file:
        about = {name: json.loads(text) for name, text in file.metadata().items()}
        return {name: (file.get_tensor(name).float(), about[name]) for name in sorted(about)}


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """JSON values with short floats; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if isinstance(value, float):
        short = float(f"{value:.{digits}g}") if math.isfinite(value) else None
        return int(short) if short is not None and short == int(short) else short
    return value


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    text = file.read()
    file.truncate(text.rfind(b"\n") + 1)
