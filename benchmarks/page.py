"""The page of a comparison: one HTML file with everything in it, and the same figures as JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cells, store, tables
from benchmarks.cells import failed
from benchmarks.plans import Study
from benchmarks.rows import Row, Runs, number
from benchmarks.store import Record
from benchmarks.verdict import rows_of, verdict
from paradigms.report import curves, statistics

TEMPLATE = Path(__file__).resolve().parent / "page.jinja"
AXES = {"seconds": "seconds", "env_steps": "env steps", "updates": "updates"}
ENOUGH = 5  # seeds, below which no interval is shown
DEFINITIONS = {
    "solved": "Three evaluations in a row reach the threshold, and the first of the three policies "
    "reaches it again on further episodes, on seeds of its own.",
    "ERT": "Expected running time: seconds of all runs, unsolved ones counting their whole budget, "
    "over the number solved. Seconds count from the start of the process.",
    "median": "Of the seconds to the threshold, an unsolved run counting as the budget.",
    "speed-up": "Hardware efficiency (updates a second over the baseline's) times statistical "
    "efficiency (updates that the baseline needs to the threshold over those needed here).",
    "kept": "The share of evaluations after the threshold that reach it; retention is "
    "(final - random) / (best - random).",
    "independent": "As many runs of the baseline as there are cores, side by side, of which the "
    "first to solve counts: the mean over all choices of seeds.",
    "P": "The probability that a run is sooner than one of the baseline, ties one half.",
    "IQM": "The mean of the middle half of the runs; its 95 % interval is a bootstrap over runs.",
    "policy lag": "Updates between the policy that acted and the one that learned from it, as a "
    "mean over transitions.",
    "busy": "The share of its time in which a process neither waits nor sleeps.",
}


def write(wanted: Study, runs: Runs, out: Path) -> str:
    """Writes index.html, report.json and scores.npz into `out`; returns the verdict's sentence."""
    from jinja2 import Environment

    out.mkdir(parents=True, exist_ok=True)
    names = list(wanted.variants)
    baseline = tables.BASELINE if tables.BASELINE in names else names[0]
    rows = rows_of(names, runs, wanted.cap, baseline)
    answer = verdict(rows, baseline)
    figures = {name: figure(row, name, baseline) for name, row in rows.items() if row.runs}
    facts = {
        "question": wanted.question,
        "verdict": answer.sentence,
        "best": answer.best,
        "baseline": baseline,
        "budget_seconds": wanted.cap,
        "rows": figures,
        "machine": [dict(pairs) for pairs in sorted({tuple(r["machine"].items()) for r in runs})],
        "commits": sorted({r["commit"] for r in runs}),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (out / "report.json").write_text(json.dumps(store.rounded(facts), indent=1))
    scores = {
        name: np.array([[r["result"].get("final_return", np.nan)] for r in row.runs])
        for name, row in rows.items()
        if row.runs
    }
    np.savez(out / "scores.npz", allow_pickle=False, **scores)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda value, digits=1: (
        "" if value is None else number(value, digits)
    )
    text = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        **facts,
        curves=drawn(runs, names, out),
        differences=differences(runs, out),
        failures=[run for run in runs if failed(run)],
        runs=runs,
        definitions=DEFINITIONS,
        portfolio=alone(rows[baseline]),
        enough=ENOUGH,
    )
    (out / "index.html").write_text(text, "utf-8")
    return answer.sentence


def figure(row: Row, name: str, baseline: str) -> dict[str, Any]:
    """The figures of one row; None where there is none."""
    against = row.against() if name != baseline else None
    finals = row.known("final_return")
    interval = statistics.iqm_interval([finals]) if finals else None
    results = [run["result"] for run in row.runs]
    return {
        "seeds": len(row.runs),
        "solved": len(row.known("seconds_to_threshold")),
        "failed": sum(failed(run) for run in row.runs),
        "ert": row.ert(),
        "median": median([min(t, row.budget) for t in row.needed("seconds")]),
        "env_steps": median(row.known("env_steps_to_threshold")),
        "updates_per_second": median(row.known("updates_per_second")),
        "speed_up": row.speed_up() if row.base().known("updates_to_threshold") else "",
        "kept": median(row.known("share_above_threshold")),
        "retention": median(row.known("retention")),
        "final": None if interval is None else interval.value,
        "final_low": None if interval is None or len(finals) < ENOUGH else interval.low,
        "final_high": None if interval is None or len(finals) < ENOUGH else interval.high,
        "against": None if against is None else against[0],
        "p": None if against is None else against[1],
        "policy_lag": median(row.known("policy_lag_mean")),
        "ratio": median([r["updates"] / r["env_steps"] for r in results if r.get("env_steps")]),
        "busy": busy(results),
    }


def median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def busy(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By role, the mean share of its time that each part of its work took."""
    found: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for role, spent in (result.get("time_by_role") or {}).items():
            for what, share in spent.items():
                if what != "seconds":
                    found.setdefault(role, {}).setdefault(what, []).append(share)
    return {
        role: {what: float(np.mean(shares)) for what, shares in parts.items()}
        for role, parts in sorted(found.items())
    }


def alone(base: Row) -> statistics.Portfolio | None:
    """What independent runs of the baseline on all cores come to."""
    return base.portfolio() if base.runs and base.known("seconds_to_threshold") else None


def drawn(runs: Runs, names: list[str], out: Path) -> str:
    """The learning curves as one SVG, "" where no run was evaluated twice."""
    panels = []
    for key, label in AXES.items():
        rows: dict[str, list[curves.Curve]] = {}
        for name in names:
            for run in runs:
                curve = run["curve"]
                if run["variant"] == name and curve and curve.get(key):
                    rows.setdefault(name, []).append((curve[key], curve["mean"]))
        threshold = next((t for r in runs if (t := r["result"].get("threshold")) is not None), None)
        panels.append(curves.Panel(label, rows, threshold))
    if not any(panel.rows for panel in panels):
        return ""
    file = out / "curves.svg"
    curves.draw(panels, file)
    svg = file.read_text("utf-8")
    file.unlink()
    return svg[svg.index("<svg") :].replace("#000000", "currentColor")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration by dotted keys: {"agent.lr": 3e-4}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def differences(runs: Runs, out: Path) -> dict[str, dict[str, str]]:
    """By key, what the configurations of the rows say where they do not all say the same."""
    said: dict[str, dict[str, Any]] = {}
    for run in runs:
        folder = folder_of(run, out)
        if (folder / "config.yaml").exists():
            said.setdefault(run["variant"], flat(cells.config(folder / "config.yaml")))
    keys = sorted({key for config in said.values() for key in config} - {"seed"})
    table = {
        key: {name: str(config.get(key, "")) for name, config in said.items()}
        for key in keys
        if len({str(config.get(key, "")) for config in said.values()}) > 1
    }
    return {key: values for key, values in table.items() if not key.startswith("hydra")}


def folder_of(run: Record, out: Path) -> Path:
    """Where the run of a record lies."""
    return Path(run.get("folder") or out / "runs" / f"{run['variant']}_{run['seed']}")
