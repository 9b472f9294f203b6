"""A policy on disk: NAME.safetensors with its weights and NAME.json with all that rebuilds it, both
sealed by a digest (see sealed.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from paradigms.base import Snapshot
from paradigms.session import files, sealed
from paradigms.session.checkpoint import Damaged

WHEN = ("version", "env_steps", "episodes", "updates")


def save_policy(path: Path, snapshot: Snapshot, about: dict[str, Any]) -> None:
    """Writes `path` (.safetensors: floats [n] as they come, counts [groups] int64) and, beside it,
    .json: the snapshot's part, version, env steps, episodes, updates and seconds, the digest, and
    `about`, which has JSON values. One that is replaced can be read until the new one can. Raises
    OSError; the one of before stays then."""
    header = {f: getattr(snapshot, f) for f in ("part", *WHEN, "seconds")}
    tensors = {"floats": files.plain(snapshot.floats), "counts": files.plain(snapshot.counts)}
    sealed.write(path, tensors, {**about, **header})


def load_policy(path: Path) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot, with floats [n] float32, and what was noted about it.

    Raises Damaged, in one sentence, if a file is missing, is not what `save_policy` wrote, or has
    weights that are not finite. Files of format 1 have no digest to compare with.
    """
    with sealed.reading(path, "a policy"):
        about, tensors = sealed.read(path)
        if about["part"] != "evaluate":
            raise ValueError(f"it holds the part {about['part']}, not the part evaluate")
        floats, counts = tensors["floats"].float(), tensors["counts"]
        when = {key: int(about[key]) for key in WHEN}
        snapshot = Snapshot("evaluate", floats, counts, seconds=float(about["seconds"]), **when)
    if floats.ndim != 1 or not torch.isfinite(floats).all():
        raise Damaged(f"{path} cannot be read as a policy: its weights are not a finite vector")
    return snapshot, about
