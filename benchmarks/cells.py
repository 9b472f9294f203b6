"""What is kept of a run: one line with its configuration, its origin, its result and its curve."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import store
from benchmarks.plans import Cell
from benchmarks.store import Record
from paradigms.session.origin import changed, commit

ROOT = Path(__file__).resolve().parent.parent
POLICIES = {"solving": "confirmed_return", "final": "final_return"}  # first choice, and its mean
POINTS = 60  # of a stored curve
CURVE = ("seconds", "env_steps", "updates", "mean")
LAPS = ("laps_completed", "lap_time_first", "lap_time_best", "num_infractions")
KEPT = (  # of result.json: what tables read, and what explains a failure
    *("stopped_by", "error", "solved", "threshold", "seconds_to_threshold"),
    *("env_steps_to_threshold", "updates_to_threshold", "confirmed_return", "best_return"),
    *("final_return", "random_return", "retention", "share_above_threshold", "env_steps"),
    *("updates", "updates_per_second", "policy_lag_mean", "seconds", "time_by_role", "extra"),
    *("metrics", "episodes", "lost", "torn", "dropped", "duplicated"),
)


def failed(record: Record) -> bool:
    """Whether a run ended without a result, by a crash or by being killed."""
    return record["exit_code"] != 0 or record["result"].get("stopped_by") == "error"


def gather(cell: Cell, folder: Path, *, exit_code: int, seconds: float, before: Record) -> Record:
    """The record of a run that has ended, from its folder; `before`: `origin()` when it began."""
    record = {
        "variant": cell.variant,
        "seed": cell.seed,
        "overrides": " ".join(cell.overrides),
        "config_hash": config_hash(folder / "config.yaml"),
        "exit_code": exit_code,
        "wall_seconds": round(seconds, 2),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **before,
        **outcome(_json(folder / "result.json"), evaluations(folder / "metrics.jsonl")),
    }
    if driven := laps(folder / "metrics.jsonl"):
        record["laps"] = driven
    if selected := selections(folder / "metrics.jsonl"):
        record["selections"] = selected
    if failed(record):
        logs = [folder / name for name in ("study.log", "log.txt") if (folder / name).exists()]
        said = logs[0].read_text(errors="replace") if logs else ""
        record["log_tail"] = said.splitlines()[-30:]
    return record


def outcome(result: Record, curve: dict[str, list[float]]) -> Record:
    """The compact form of a result and of a whole curve; what needs the whole curve is computed
    here: the median spacing of its evaluations, and the worst one after the threshold."""
    kept = {key: result[key] for key in KEPT if result.get(key) is not None}
    if "time_by_role" in kept:
        kept["time_by_role"] = store.rounded(kept["time_by_role"], 4)
    kept["extra"] = {k: v for k, v in kept.get("extra", {}).items() if v is not None}
    since = kept.get("updates_to_threshold")
    after = [m for at, m in zip(curve["updates"], curve["mean"], strict=True) if at > (since or 0)]
    if since is not None and after:
        kept["worst_after_threshold"] = min(after)
    gaps = [later - sooner for sooner, later in itertools.pairwise(curve["seconds"])]
    short = {name: thinned(curve[name]) for name in CURVE} if gaps else {}
    return {"result": kept, "spacing": median(gaps) if gaps else None, "curve": short}


def thinned(column: Sequence[float]) -> list[float]:
    """At most 60 evenly spaced items, the first and the last among them, with four digits."""
    last = len(column) - 1
    count = min(POINTS, last + 1)
    places = [round(i * last / max(1, count - 1)) for i in range(count)]
    return [store.rounded(column[at], 4) for at in places]


def origin() -> Record:
    """Which code on which machine, and how busy that was; `+`: files differed from the commit."""
    return {
        "commit": (commit() or "unknown")[:9] + ("+" if changed(code_only=True) else ""),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def origin_of(folder: Path) -> Record:
    """The same of a run that somebody else has made, from its run.json."""
    said = _json(folder / "run.json")
    known = {name: said.get(name) for name in ("cores", "python", "torch", "gymnasium")}
    commit = (said.get("commit") or "unknown")[:9] + ("+" if said.get("changed_since") else "")
    return {"commit": commit, "machine": {**known, "cpu": said.get("system")}}


def machine() -> Record:
    """Cores that this process may use, the CPU's name, and the versions that matter."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "gymnasium": importlib.metadata.version("gymnasium"),
    }


def config_hash(file: Path) -> str | None:
    """12 hex digits of the resolved configuration without its seed, the same in a whole row."""
    if not file.exists():
        return None
    values = config(file)
    values.pop("seed", None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def evaluations(file: Path) -> dict[str, list[float]]:
    """The learning curve, by column, from the lines of metrics.jsonl that are evaluations."""
    columns: dict[str, list[float]] = {name: [] for name in (*CURVE, "std")}
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        if entry.get("kind") == "evaluation":
            for name, column in columns.items():
                column.append(float(entry[name]))
    return columns


def laps(file: Path) -> dict[str, list[float | None]]:
    """What the evaluations of a race say of laps, by column; an entry is a mean over episodes, None
    where no episode has a value. {} where metrics.jsonl tells of no laps."""
    columns: dict[str, list[float | None]] = {name: [] for name in ("seconds", *LAPS)}
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        if entry.get("kind") == "evaluation" and LAPS[0] in entry.get("metrics", {}):
            for name, column in columns.items():
                value = {**entry["metrics"], "seconds": entry["seconds"]}.get(name)
                column.append(store.rounded(value, 4))
    return columns if columns["seconds"] else {}


def selections(file: Path) -> list[dict[str, float]]:
    """What members of a population said of themselves: env_steps, member, return, and after a
    selection the parent and the settings that they went on with; [] of any other run."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        names = (key.partition("/")[0] for key in entry if key.startswith("member-"))
        for member in dict.fromkeys(names):
            said = {k.partition("/")[2]: v for k, v in entry.items() if k.startswith(f"{member}/")}
            where = {"env_steps": entry["env_steps"], "member": int(member.partition("-")[2])}
            found.append({**where, **store.rounded(said, 4)})
    return found


def keep_policy(study: str, record: Record, folder: Path, results: Path = store.RESULTS) -> None:
    """Stores the policy that solved the task, or else the final one, and notes in the record the
    mean return that the run measured after training, over how many episodes, and the spread of an
    episode in the evaluations near it."""
    for which, key in POLICIES.items():
        source = folder / f"{which}.safetensors"
        if source.exists():
            about = _json(source.with_suffix(".json"))
            name = f"{record['variant']}_{record['seed']}"
            rebuild = {"agent": about.get("agent"), "env": about.get("env")}
            store.keep_policy(study, name, source, rebuild, results)
            evaluation = config(folder / "config.yaml").get("evaluation", {})
            record["policy"] = {
                "which": which,
                "mean": record["result"].get(key),
                "episodes": evaluation.get("confirm_episodes", 0),
                "std": _spread(evaluations(folder / "metrics.jsonl"), about["updates"]),
            }
            return


def _spread(curve: dict[str, list[float]], updates: int) -> float | None:
    """An episode's standard deviation in the three evaluations that are nearest in updates."""
    pairs = zip(curve["updates"], curve["std"], strict=True)
    near = sorted(pairs, key=lambda pair: abs(pair[0] - updates))[:3]
    return (sum(std**2 for _, std in near) / len(near)) ** 0.5 if near else None


def config(file: Path) -> dict[str, Any]:
    """A run's configuration, its interpolations as they were written."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def result(folder: Path) -> Record:
    """result.json of a run's folder; {} where there is none."""
    return _json(folder / "result.json")


def _json(file: Path) -> Record:
    return json.loads(file.read_text()) if file.exists() else {}


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
