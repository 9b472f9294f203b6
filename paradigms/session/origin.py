"""Where a run came from: versions, git state and command, so that its folder alone explains it."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from agents.base import Agent
from paradigms.base import Job
from paradigms.experience.layout import layout_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "gymnasium", "numpy", "hydra-core", "safetensors")
GIT = {  # all that is asked of git
    "commit": ("rev-parse", "HEAD"),
    "changed": ("status", "--porcelain", "--untracked-files=no"),
    "changed code": ("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.yaml"),
}


def origin() -> dict[str, Any]:
    """JSON values: when, by which command, of which commit, with which versions."""
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "changed_since": changed(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def words(paradigm: object) -> str:
    """A paradigm in a sentence: the first of its module."""
    text = sys.modules[type(paradigm).__module__].__doc__ or ""
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


def introduction(job: Job, agent: Agent, paradigm: object = None) -> list[str]:
    """What runs, as lines: the agent, who steps envs, the updates_per_env_step, and what the replay
    takes; of a population each member. paradigm: whose settings that mean nothing to it are left
    out."""
    population, member = members(paradigm), getattr(paradigm, "of", paradigm)
    ignores: Collection[str] = getattr(member, "ignores", ())
    workers = getattr(member, "workers", None) or job.workers
    parameters = sum(group.flat.numel() for group in agent.groups.values())
    updates_per_env_step = (
        "as many as the replay gives"
        if job.updates_per_env_step is None
        else f"{job.updates_per_env_step:g}"
    )
    ahead = (
        "in lockstep" if job.max_ahead == 0 else f"at most {job.max_ahead} updates ahead or behind"
    )
    size = replay_bytes(job, agent)
    takes = "" if size is None else f"; transitions of a full replay: {size / 2**20:.0f} MiB"
    fragments = (
        f", fragments of {job.rollout_length} steps;"
        f" {updates_per_env_step} updates an env step after {job.warmup:,}, {ahead}{takes}"
    )
    return [
        f"{type(agent).__name__} of {parameters:,} parameters, device {job.device},"
        f" seed {job.seed}",
        f"{population}{', each ' if population else ''}"
        f"{many(workers, 'worker')} x {many(job.num_envs, 'env')}"
        f"{'' if 'replay' in ignores else fragments}",
    ]


def members(paradigm: object) -> str:
    """Who makes up a population; empty for another paradigm."""
    if (count := getattr(paradigm, "members", None)) is None:
        return ""
    return f"{many(count, 'member')}, {'a run' if count == 1 else 'runs'} of {member_of(paradigm)}"


def member_of(paradigm: object) -> str | None:
    """The word of the paradigm that the members of a population run; None for another paradigm."""
    word: str | None = getattr(getattr(paradigm, "of", None), "name", None)
    return word


def replay_bytes(job: Job, agent: Agent) -> int | None:
    """Bytes of a full replay's transitions, from their dtype and the replay's capacity: nothing is
    allocated, and what the replay keeps beside them (priorities, elite episodes, the last frames of
    episodes where frames are stored once) is not counted. None if `job.make_replay` is no partial
    of a class that takes a capacity."""
    make: Any = job.make_replay
    capacity = make.keywords.get("capacity") if isinstance(make, functools.partial) else None
    if capacity is None:
        return None
    layout = layout_of(make, job.spec.with_extras(agent.extras), job.rollout_length, job.num_envs)
    if getattr(make.func, "once", False):  # fragments of every worker; otherwise transitions of all
        return int(job.workers * capacity * layout.fragment.itemsize)
    return int(capacity * layout.stored)


def many(count: int, thing: str) -> str:
    """A number and its noun."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def commands(
    folder: Path,
    further: Sequence[str],
    *,
    policy: bool,
    tensorboard: bool,
    trust: Sequence[str] = (),
) -> list[str]:
    """What to type next, word for word; `further` are the overrides with which a run goes on, and
    `trust` names the modules outside this library whose code the commands run."""
    scripts = Path(sys.argv[0]).name == "train.py"
    train, evaluate = (
        ("python train.py", "python evaluate.py")
        if scripts
        else ("paceline-train", "paceline-evaluate")
    )
    where = shlex.quote(str(_short(folder)))
    lines, places = [], [_place(name) for name in trust]
    known = f" trust={places[0]}" if len(places) == 1 else ""
    known = f" {shlex.quote('trust=[' + ','.join(places) + ']')}" if len(places) > 1 else known
    if policy:
        film = " video=true" if importlib.util.find_spec("imageio_ffmpeg") else ""
        lines.append(f"  evaluate: {evaluate} run={where} episodes=20{film}{known}")
    if any(folder.glob("checkpoints/*/manifest.json")):
        lines.append(f"  go on:    {train} resume={where} {' '.join(further)}{known}")
    if tensorboard:
        lines.append(f"  curves:   tensorboard --logdir {where}")
    return lines


def _place(module: str) -> str:
    """A module as `trust=` wants it: its name, after its folder where that is not a place in which
    Python looks anyway."""
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    origin = places[0] if places else spec.origin if spec is not None else None
    folder = Path(origin).parent if origin else Path.cwd()
    if folder == Path.cwd() or "site-packages" in folder.parts:
        return module
    return shlex.quote(str(_short(folder) / module))


def _short(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def commit() -> str | None:
    """The commit of this code; None where there is no git or no repository."""
    return _git("commit")


def changed(*, code_only: bool = False) -> bool:
    """Whether tracked files (Python and YAML files, if code_only) differ from the commit."""
    return bool(_git("changed code" if code_only else "changed"))


def _git(what: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", *GIT[what]], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
