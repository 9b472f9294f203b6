"""Where a run came from: versions, git state and command, so that its folder alone explains it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "gymnasium", "numpy", "hydra-core", "safetensors")


def origin() -> dict[str, Any]:
    """JSON values: when, by which command, of which commit, with which versions."""
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _git("rev-parse", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def commands(folder: Path, env_steps: int, *, policy: bool, tensorboard: bool) -> list[str]:
    """What to type next, word for word."""
    scripts = Path(sys.argv[0]).name == "train.py"
    train, evaluate = (
        ("python train.py", "python evaluate.py")
        if scripts
        else ("paceline-train", "paceline-evaluate")
    )
    where = shlex.quote(str(_short(folder)))
    lines = []
    if policy:
        lines.append(f"  evaluate: {evaluate} run={where} episodes=20 video=true")
    if any(folder.glob("checkpoints/*/manifest.json")):
        lines.append(f"  go on:    {train} resume={where} budget.env_steps={env_steps}")
    if tensorboard:
        lines.append(f"  curves:   tensorboard --logdir {where}")
    return lines


def _short(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _git(*arguments: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
