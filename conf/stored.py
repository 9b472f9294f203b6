"""The configuration that a run's folder holds: as data, and with what was typed over it, where the
run goes on."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf import trust as trusting
from conf.compose import PARTS, Setup, flatten, resolved, storable
from conf.sentences import Wrong, line, near

LASTING = (  # what a checkpoint was made with: its replay, streams and counters fit nothing else
    "seed workers num_envs rollout_length warmup updates_per_env_step env.id env.kwargs"
    " env.action_repeat env.stack env.encoder agent.pretrained agent.frozen agent.hidden_sizes"
    " replay.capacity paradigm.of paradigm.members paradigm.ready paradigm.search"
).split()
OPEN = ("env.kwargs", "env.reference")  # mappings that take any key


def resumed(overrides: list[Override], trust: Collection[str]) -> tuple[Setup, Path]:
    """The stored configuration of `resume=FOLDER` with what was typed over it, and where the run
    goes on. Raises Wrong if it cannot, or would run code that is neither ours nor trusted."""
    typed = {o.key_or_group: o.value() for o in overrides}
    given, folder = str(typed.pop("resume")), typed.pop("hydra.run.dir", None)
    typed.pop("trust", None)
    if not given.strip():
        raise Wrong("resume= names no folder; give a run's, such as outputs/DATE/TIME_NAME")
    home = Path(given).resolve()
    stored, choices = stored_run(home, f"resume={given}", trust)
    if not any(home.glob("checkpoints/*/manifest.json")):
        raise Wrong(f"resume={given} has no whole checkpoint in checkpoints/, so start afresh")
    cfg = OmegaConf.create({**stored, "resume": str(home)})
    OmegaConf.set_struct(cfg, True)
    for o in overrides:
        key = o.key_or_group
        if key not in typed:
            continue
        if o.is_sweep_override():
            raise Wrong(f"{key} lists several values, and resume goes on with one run")
        begins = key in (*PARTS, "logger", "env.make") or key.startswith("env.make.")
        if begins or key.endswith(("_target_", "_partial_")) or o.is_delete():
            raise Wrong(f"{key} cannot be changed in a resumed run: start afresh")
        known = [k for k, _ in flatten(stored)]
        there = o.is_add() or key in known or OmegaConf.select(cfg, key) is not None
        if not (there or key.startswith(OPEN)):
            raise Wrong(f"{key} is not a setting; {near(key, known)}")
        try:
            added = o.is_add() or key.startswith(OPEN)
            OmegaConf.update(cfg, key, typed[key], force_add=added)
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            raise Wrong(f"{key}: {line(error)}") from error
    values, before = resolved(cfg), trusting.dereferenced(stored)
    for key in LASTING:
        was, now = (functools.reduce(_within, key.split("."), v) for v in (before, values))
        if was != now:
            raise Wrong(f"{key} cannot be changed in a resumed run: leave it at {was}")
    return Setup(values, choices, storable(OmegaConf.to_container(cfg), values)), Path(
        str(folder or home)
    ).resolve()


def stored_run(
    home: Path, said: str, trust: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """A run folder's configuration, as data, and its choices. said: how the user named the folder.
    Raises Wrong unless it is plain and would run nothing but our own and trusted code."""
    if not home.is_dir():
        raise Wrong(f"{said} is not a folder; give a run's, such as outputs/DATE/TIME_NAME")
    if not (home / "config.yaml").exists():
        raise Wrong(f"{said} has no config.yaml, so it is not a run's folder")
    stored = trusting.read(home / "config.yaml")
    choices = {}
    if (home / "run.json").exists():
        choices = trusting.read(home / "run.json").get("choices", {})
    if not isinstance(choices, dict) or not all(isinstance(c, str) for c in choices.values()):
        raise Wrong(f"{home / 'run.json'}: choices must be a name for each group")
    try:
        values = trusting.dereferenced(stored)
        trusting.plain(values, str(home / "config.yaml"))
    except LookupError as error:
        raise Wrong(f"{home / 'config.yaml'}: {error.args[0]}") from error
    for part in PARTS:
        if not isinstance(values.get(part), dict):
            raise Wrong(f"{home / 'config.yaml'} has no {part}, so it is not a run's")
    if not isinstance(values["env"].get("make"), dict):
        raise Wrong(f"{home / 'config.yaml'} has no env.make, so it is not a run's")
    trusting.check(values, trust)
    return stored, choices


def _within(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else None
