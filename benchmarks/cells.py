"""What is kept of a cell: one JSON with the run's result, its curve, and where both came from."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.studies import Cell, Study
from paradigms.session import checkpoint
from paradigms.session.origin import git

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
POLICIES = {"solving": "confirmed_return", "final": "final_return"}  # and where their mean is
CURVE = ("seconds", "env_steps", "updates", "mean", "std")
BIG = 1_000_000  # bytes; policies above are stored in float16

Record = dict[str, Any]


def path(cell: Cell, results: Path = RESULTS) -> Path:
    """Where a cell's JSON is."""
    return results / cell.study / f"{cell.name}.json"


def load(study: str, results: Path = RESULTS) -> list[Record]:
    """The finished cells of a study, by variant and seed."""
    records = [json.loads(file.read_text()) for file in (results / study).glob("*.json")]
    return sorted(records, key=lambda record: (record["variant"], record["seed"]))


def failed(record: Record) -> bool:
    """Whether a cell ended without a result, by a crash or by being killed."""
    return record["exit_code"] != 0 or record["result"].get("stopped_by") == "error"


def gather(cell: Cell, folder: Path, *, exit_code: int, seconds: float, before: Record) -> Record:
    """The record of a run that has ended, from its folder; `before`: `origin()` when it began."""
    record: Record = {
        "study": cell.study,
        "variant": cell.variant,
        "seed": cell.seed,
        "command": " ".join(["python", *cell.program, *cell.overrides]),
        **configuration(folder / "config.yaml"),
        "exit_code": exit_code,
        "wall_seconds": round(seconds, 2),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **before,
        "result": _json(folder / "result.json"),
        "evaluations": evaluations(folder / "metrics.jsonl"),
    }
    if failed(record):
        log = folder / "study.log"
        record["log_tail"] = log.read_text(errors="replace").splitlines()[-30:]
    return record


def store(record: Record, cell: Cell, study: Study, folder: Path, results: Path = RESULTS) -> Path:
    """Writes the JSON, whole or not at all, after the policies that it names."""
    target = path(cell, results)
    target.parent.mkdir(parents=True, exist_ok=True)
    if study.policies:
        record["policies"] = keep_policies(record, folder, target.parent / "policies", cell.name)
    write_json(target, record)
    return target


def write_json(target: Path, record: Record) -> None:
    """Whole or not at all, in a folder that is made where it is missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(target, record)


def origin() -> Record:
    """Which code on which machine, and how busy that was."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.yaml")
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed_since": bool(changed),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def machine() -> Record:
    """Cores that this process may use, the CPU's name, and the versions that matter."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "cpu": _cpu_name(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "gymnasium": importlib.metadata.version("gymnasium"),
    }


def configuration(file: Path) -> Record:
    """`config_hash`: 12 hex digits of the resolved configuration without its seed, the same in a
    whole row; `confirm_episodes`: over how many episodes the kept policies were measured."""
    if not file.exists():
        return {"config_hash": None, "confirm_episodes": 0}
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    config.pop("seed", None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
    episodes = config.get("evaluation", {}).get("confirm_episodes", 0)
    return {"config_hash": digest, "confirm_episodes": episodes}


def evaluations(file: Path) -> dict[str, list[float]]:
    """The learning curve, by column, from the lines of metrics.jsonl that are evaluations."""
    columns: dict[str, list[float]] = {name: [] for name in CURVE}
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        if entry.get("kind") == "evaluation":
            for name, column in columns.items():
                column.append(round(float(entry[name]), 3))
    return columns


def keep_policies(record: Record, folder: Path, target: Path, name: str) -> dict[str, Record]:
    """Copies the policies that a run left, each with its JSON.

    Returns for each its file below benchmarks/results, the mean return that the run measured after
    training, over how many episodes, and the spread of an episode in the evaluations near it.
    """
    kept: dict[str, Record] = {}
    for which, key in POLICIES.items():
        source = folder / f"{which}.safetensors"
        if source.exists():
            target.mkdir(parents=True, exist_ok=True)
            snapshot = target / f"{name}_{which}.safetensors"
            _copy_policy(source, snapshot)
            shutil.copyfile(source.with_suffix(".json"), snapshot.with_suffix(".json"))
            kept[which] = {
                "file": str(Path(target.parent.name, target.name, snapshot.name)),
                "mean": record["result"].get(key),
                "episodes": record["confirm_episodes"],
                "std": _spread(record["evaluations"], _json(source.with_suffix(".json"))),
            }
    return kept


def _spread(curve: dict[str, list[float]], about: Record) -> float | None:
    """An episode's standard deviation in the three evaluations that are nearest in updates."""
    at = about["updates"]
    near = sorted(zip(curve["updates"], curve["std"], strict=True), key=lambda e: abs(e[0] - at))
    return (sum(std**2 for _, std in near[:3]) / len(near[:3])) ** 0.5 if near else None


def _copy_policy(source: Path, snapshot: Path) -> None:
    if source.stat().st_size <= BIG:
        shutil.copyfile(source, snapshot)
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, "pt") as file:
        tensors = {
            key: tensor.half() if (tensor := file.get_tensor(key)).is_floating_point() else tensor
            for key in file.keys()
        }
        save_file(tensors, snapshot, metadata=file.metadata())


def _json(file: Path) -> Record:
    return json.loads(file.read_text()) if file.exists() else {}


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
