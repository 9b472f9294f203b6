"""The tables of the README files: a column is a heading and a function of a `Row`. A variant
without runs is printed empty, never left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

from benchmarks.plans import Study
from benchmarks.rows import Row, Runs, footnote, markdown, median, number, places, spread
from benchmarks.store import Record
from paradigms.session.outcome import retention

BASELINE = "sequential"
PAGE = "benchmarks/README.md"
Columns = Mapping[str, Callable[[Row], str]]

COUNTS: Columns = {
    "seeds": lambda row: str(len(row.runs)),
    "solved": lambda row: f"{len(row.known('seconds_to_threshold'))}/{len(row.runs)}",
}
TIMED: Columns = {
    **COUNTS,
    "ERT, s": lambda row: number(row.ert()),
    "median, s": lambda row: number(median([min(t, row.budget) for t in row.needed("seconds")])),
    "env steps to threshold": lambda row: row.middle("env_steps_to_threshold", 0),
    "updates/s": lambda row: row.middle("updates_per_second", 0),
    "speed-up = hardware x statistical": lambda row: row.speed_up(),
    "against sequential": lambda row: (
        f"{found[0]} (P = {found[1]:.2f})" if (found := row.against()) else ""
    ),
    "above threshold after": lambda row: row.middle("share_above_threshold", 2),
    "retention": lambda row: row.middle("retention", 2),
    "final return, IQM [95 %]": lambda row: row.iqm("final_return"),
}
WORKERS: Columns = {
    **{head: TIMED[head] for head in list(TIMED)[:8]},
    "learner busy": lambda row: busy(row.runs, "learner"),
    "workers busy": lambda row: busy(row.runs, "worker"),
}
SHORT: Columns = {
    "time to the threshold (ERT), s": TIMED["ERT, s"],
    "seeds solved": COUNTS["solved"],
    "against sequential": lambda row: (
        f"{number(row.base().ert() / row.ert(), 2)} x"
        + (f", {found[0]}" if (found := row.against()) else "")
    ),
}
SOLVED: Columns = {
    **COUNTS,
    "env steps, median": lambda row: number(median(row.needed("env_steps")), 0),
    "most": lambda row: number(max(row.needed("env_steps")), 0),
    "budget": lambda row: number(float(setting(row.runs[0], "budget.env_steps")), 0),
    "seconds, median": lambda row: number(median(row.needed("seconds"))),
    "confirmed return": lambda row: row.middle("confirmed_return"),
}
AVERAGING: Columns = {
    **COUNTS,
    "updates to threshold": lambda row: number(row.updates(), 0),
    "speed": lambda row: number(workers(row) * row.base().updates() / row.updates(), 2),
    "predicted": lambda row: number(PREDICTED[name(row).partition("_")[0]](workers(row)), 2),
}
PREDICTED: Mapping[str, Callable[[int], float]] = {
    # speed of n parallel workers over one learner, in rounds: the linear analysis of a quadratic
    "sequential": float,
    "damped": lambda n: 0.2 * n / (1 + 0.2 * (n - 1)),
    "delta": lambda n: math.sqrt(n) if n <= 2 else 1.25,
    "sqrt": math.sqrt,
    "sum": float,
    "elastic": lambda n: n / (n + 1),
    "mean": lambda n: 1.0,
}
WARMUP: Columns = {
    "seeds": COUNTS["seeds"],
    "episodes": lambda row: number(sum(row.extras("episodes")), 0),
    "reach the goal": lambda row: (
        f"{100 * sum(row.extras('reached')) / sum(row.extras('episodes')):.1f} %"
    ),
}
OVERESTIMATION: Columns = {
    "seeds": COUNTS["seeds"],
    "Q": lambda row: number(median(row.extras("q_mean"))),
    "return": lambda row: number(median(row.extras("return_mean"))),
    "Q - return, IQM [95 %]": lambda row: spread(row.extras("difference_mean"), 2),
    "standard error in a run": lambda row: number(median(row.extras("difference_error")), 2),
}
KEPT: Columns = {
    **COUNTS,
    "worst after the threshold": lambda row: row.iqm("worst_after_threshold"),
    "retention": lambda row: row.iqm("retention", 2),
    "retention, averaged policy": lambda row: spread(averaged(row.runs), 2),
    "final return, IQM [95 %]": lambda row: row.iqm("final_return"),
}
RACE: Columns = {
    "seeds": COUNTS["seeds"],
    "first lap after, s": lambda row: times([lapped(run, 1) for run in row.runs]),
    "three laps after, s": lambda row: times([lapped(run, 3) for run in row.runs]),
    "laps kept": lambda row: share(row.runs),
    "flying lap after 60 s": lambda row: times([flying(run, 60) for run in row.runs]),
    "120 s": lambda row: times([flying(run, 120) for run in row.runs]),
    "at the end": lambda row: times([driven(run).get("lap_time_best") for run in row.runs], 2),
    "best": lambda row: number(
        min((lap for run in row.runs if (lap := flying(run)) is not None), default=math.inf), 2
    ),
    "env steps/s": lambda row: number(
        median([r["result"]["env_steps"] / r["result"]["seconds"] for r in row.runs]), 0
    ),
}


def fastest(row: Row, seconds: float) -> str:
    """The fastest flying lap of an evaluation within so many seconds."""
    return times([flying(run, seconds) for run in row.runs], 2)


def metric(row: Row, key: str) -> str:
    """One metric of the final policies, the median over runs."""
    values = [value for run in row.runs if (value := driven(run).get(key)) is not None]
    return number(median(values), 2)


RACE_LONG: Columns = {
    "seeds": COUNTS["seeds"],
    **{
        f"after {minutes} min": partial(fastest, seconds=60.0 * minutes)
        for minutes in (1, 2, 5, 10)
    },
    "at the end": RACE["at the end"],
    "laps kept": RACE["laps kept"],
}
DRIVEN = {
    "distance, m": "total_distance",
    "time, s": "total_time",
    "infractions": "num_infractions",
    "speed, km/h": "average_speed_kph",
    "off the centreline, m": "average_displacement_error",
    "efficiency": "trajectory_efficiency",
    "admissibility": "trajectory_admissibility",
    "jerk": "movement_smoothness",
    "steps/s": "timestep_per_sec",
    "laps": "laps_completed",
    "first lap, s": "lap_time_first",
    "flying lap, s": "lap_time_best",
}
DRIVING: Columns = {head: partial(metric, key=key) for head, key in DRIVEN.items()}
TABLES = {
    "timed": TIMED,
    "race": RACE,
    "race_long": RACE_LONG,
    "driving": DRIVING,
    "workers": WORKERS,
    "short": SHORT,
    "solved": SOLVED,
    "policy_lag": {**SOLVED, "policy lag, updates": lambda row: row.middle("policy_lag_mean")},
    "averaging": AVERAGING,
    "warmup": WARMUP,
    "overestimation": OVERESTIMATION,
    "kept": KEPT,
}


def table(study: Study, records: Runs, baseline: Runs, form: str = "") -> str:
    """One table: `form` is a key of TABLES, or else the study's own."""
    form = form or study.table
    columns, lines = TABLES[form], []
    for variant in study.variants:
        row = Row(of(records, variant), baseline, study.cap)
        lines.append([f"`{variant}`", *(f(row) if row.runs else "" for f in columns.values())])
        if form in ("timed", "short") and variant == BASELINE and (found := row.portfolio()):
            share, ert = f"{100 * found.share:.0f} %", number(found.ert)
            cells = ["", share, ert, number(found.median), *[""] * 7]
            if form == "short":
                cells = [ert, share, f"{number(row.ert() / found.ert, 2)} x"]
            cores = baseline[0]["machine"]["cores"]
            lines.append([f"`{variant}`, best of {cores} independent", *cells])
    note = footnote(records)
    if form == "short" and records:
        note = f"{places(records)}. More columns, and what they mean: [benchmarks]({PAGE})."
    return f"{markdown(['', *columns], lines)}\n\n{note}"


def bench(record: Record) -> str:
    """One speed comparison: rate of each side (median of its rounds) and the ratio to the first."""
    lines = [
        [f"`{side['name']}`", number(side["rate"]), number(side["ratio"], 2), str(side["rounds"])]
        for side in record["sides"]
    ]
    head = [record["unit"], "median", "ratio to the first", "rounds"]
    return f"{record['question']}\n\n{markdown(head, lines)}\n\n{footnote([record])}"


def of(records: Runs, variant: str) -> list[Record]:
    return [record for record in records if record["variant"] == variant]


def name(row: Row) -> str:
    return str(row.runs[0]["variant"])


def workers(row: Row) -> int:
    return int(name(row).partition("_")[2] or 1)


def setting(run: Record, key: str) -> str:
    """What a run's overrides say of a key."""
    return dict(word.split("=", 1) for word in run["overrides"].split())[key]


def busy(runs: Runs, role: str) -> str:
    """The share of its time that a role does not wait, as a mean over runs and workers."""
    spent = [run["result"].get("time_by_role") or {} for run in runs]
    shares = [v.get("busy", 0.0) for each in spent for k, v in each.items() if k.startswith(role)]
    return f"{100 * fmean(shares):.0f} %" if shares else ""


def lapped(run: Record, laps: int) -> float | None:
    """Seconds from the start of the process to the first evaluation whose episodes complete that
    many laps on average; None where none does."""
    driven = run.get("laps", {"seconds": [], "laps_completed": []})
    pairs = zip(driven["seconds"], driven["laps_completed"], strict=True)
    return next((seconds for seconds, mean in pairs if mean >= laps), None)


def flying(run: Record, seconds: float = math.inf) -> float | None:
    """The fastest flying lap, a mean over an evaluation's episodes, within so many seconds."""
    driven = run.get("laps", {"seconds": [], "lap_time_best": []})
    pairs = zip(driven["seconds"], driven["lap_time_best"], strict=True)
    return min((lap for at, lap in pairs if lap is not None and at <= seconds), default=None)


def driven(run: Record) -> dict[str, float | None]:
    """The metrics of the final policy."""
    return run["result"].get("metrics", {}).get("final", {})


def share(runs: Runs) -> str:
    """Of the evaluations that follow the first whole lap, those with a lap in every episode."""
    after = [
        laps >= 1
        for run in runs
        if (first := lapped(run, 1)) is not None
        for at, laps in zip(run["laps"]["seconds"], run["laps"]["laps_completed"], strict=True)
        if at >= first
    ]
    return f"{sum(after)}/{len(after)}"


def times(values: Sequence[float | None], digits: int = 1) -> str:
    """The median, and the largest; None counts as never."""
    found = [math.inf if value is None else value for value in values]
    return f"{number(median(found), digits)} ({number(max(found), digits)})"


def averaged(runs: Runs) -> list[float]:
    """Retention of the policy whose weights are a running mean of the actor's."""
    results = [run["result"] for run in runs]
    found = [
        retention(r["extra"].get("averaged_return"), r.get("best_return"), r.get("random_return"))
        for r in results
    ]
    return [value for value in found if value is not None]
