"""The tables of the README files: a column is a heading and a function of a `Row`. A variant
without runs is printed empty, never left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from benchmarks.laps import DRIVING, RACE, RACE_LONG
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
CONCURRENT: Columns = {
    **COUNTS,
    "episodes": lambda row: row.middle("episodes", 0),
    "env steps to threshold": TIMED["env steps to threshold"],
    "ERT, s": TIMED["ERT, s"],
    "ms an episode": lambda row: number(
        median([1000 * r["result"]["seconds"] / r["result"]["episodes"] for r in row.runs]), 0
    ),
    "updates/s": TIMED["updates/s"],
    "policy lag": lambda row: row.middle("policy_lag_mean"),
    "speed-up = hardware x statistical": TIMED["speed-up = hardware x statistical"],
    "against sequential": TIMED["against sequential"],
}
FAULTS: Columns = {
    **COUNTS,
    "ERT, s": TIMED["ERT, s"],
    "updates, median": lambda row: row.middle("updates", 0),
    "gradients lost, median": lambda row: row.middle("lost", 0),
    "final return, by seed": lambda row: each(row.values("final_return")),
}
PBT: Columns = {
    "seeds": COUNTS["seeds"],
    "members at the threshold, by seed": lambda row: each(
        [sum(last >= run["result"]["threshold"] for last in scores(run)) for run in row.runs]
    ),
    "median member, by seed": lambda row: each([median(scores(run)) for run in row.runs]),
    "policy kept, by seed": lambda row: each(row.values("final_return")),
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
GAINED: Columns = {
    "seeds": COUNTS["seeds"],
    "env steps, median": lambda row: row.middle("env_steps", 0),
    "updates, median": lambda row: row.middle("updates", 0),
    "return at the end, by seed": lambda row: each(row.values("final_return")),
    "of the best policy, by seed": lambda row: each(row.values("best_return")),
}
KEPT: Columns = {
    **COUNTS,
    "worst after the threshold": lambda row: row.iqm("worst_after_threshold"),
    "retention": lambda row: row.iqm("retention", 2),
    "retention, averaged policy": lambda row: spread(averaged(row.runs), 2),
    "final return, IQM [95 %]": lambda row: row.iqm("final_return"),
}
PICTURES: Columns = {
    "seeds": COUNTS["seeds"],
    "minutes": lambda row: number(median(row.known("seconds")) / 60, 0),
    "best return": lambda row: row.middle("best_return"),
    "final return": lambda row: row.middle("final_return"),
    "env steps": lambda row: row.middle("env_steps", 0),
    "env steps/s": lambda row: number(
        median([r["result"]["env_steps"] / r["result"]["seconds"] for r in row.runs]), 0
    ),
    "updates/s": TIMED["updates/s"],
    "memory, GB": lambda row: number(median([r["memory"] / 1e9 for r in row.runs])),
}
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
    "concurrent": CONCURRENT,
    "faults": FAULTS,
    "pbt": PBT,
    "pictures": PICTURES,
    "warmup": WARMUP,
    "overestimation": OVERESTIMATION,
    "kept": KEPT,
    "gained": GAINED,
}


def table(study: Study, records: Runs, baseline: Runs, form: str = "") -> str:
    """One table: `form` is a key of TABLES, or else the study's own."""
    form = form or study.table
    columns, lines = TABLES[form], []
    for variant in study.variants:
        row = Row(of(records, variant), baseline, study.cap)
        lines.append([f"`{variant}`", *(f(row) if row.runs else "" for f in columns.values())])
        if (
            form in ("timed", "short", "concurrent")
            and variant == BASELINE
            and (found := row.portfolio())
        ):
            share, ert = f"{100 * found.share:.0f} %", number(found.ert)
            cells = ["", share, ert, number(found.median), *[""] * 7]
            if form == "concurrent":
                cells = ["", share, "", "", ert, *[""] * 5]
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


def scores(run: Record) -> list[float]:
    """The last score of each member of a population: the mean return of its training episodes since
    its last selection but one."""
    last = {one["member"]: one["return"] for one in run["selections"] if "return" in one}
    return [last[member] for member in sorted(last)]


def each(values: Sequence[float | None]) -> str:
    return ", ".join("-" if value is None else number(value, 0) for value in values)


def averaged(runs: Runs) -> list[float]:
    """Retention of the policy whose weights are a running mean of the actor's."""
    results = [run["result"] for run in runs]
    found = [
        retention(r["extra"].get("averaged_return"), r.get("best_return"), r.get("random_return"))
        for r in results
    ]
    return [value for value in found if value is not None]
