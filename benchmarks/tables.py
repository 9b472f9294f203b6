"""The README's tables from stored cells. A row without cells is printed empty, never left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from benchmarks import statistics
from benchmarks.cells import Record, failed
from benchmarks.studies import Study
from benchmarks.values import (
    Row,
    column,
    footnote,
    interval,
    known,
    markdown,
    median,
    number,
    of,
    spread,
)
from paradigms.session.outcome import retention

BASELINE = "sequential"


SHORT = (0, 1, 2, 3, 4, 7, 9, 10)  # columns of the short form, for the main README


def timed(
    study: Study, records: Sequence[Record], baseline: Sequence[Record], *, short: bool = False
) -> str:
    """Time to the threshold, its two causes, and whether what was learned was kept.

    `baseline`: the sequential cells that speed-ups refer to.
    """
    head = ["", "seeds", "solved", "ERT, s", "median, s", "env steps to threshold", "updates/s"]
    head += ["speed-up = updates/s x worth of an update", "against sequential", "confirmed return"]
    head += ["above threshold after", "retention", "final return, IQM [95 %]"]
    rows: list[Row] = []
    for variant in study.variants:
        runs = of(records, variant)
        rows.append([f"`{variant}`", *_timed_row(runs, baseline, study.cap, len(head) - 1)])
        if variant == BASELINE:
            cores = runs[0]["machine"]["cores"] if runs else 2
            rows.append(_portfolio_row(runs, study.cap, cores, len(head)))
    if short:
        head = [head[i] for i in SHORT]
        rows = [[row[i] for i in SHORT] for row in rows]
    return "\n\n".join([markdown(head, rows), footnote(records)])


def _timed_row(
    runs: Sequence[Record], baseline: Sequence[Record], budget: float, width: int
) -> Row:
    if not runs:
        return [""] * width
    times = column(runs, "seconds_to_threshold")
    steps = column(runs, "env_steps_to_threshold")
    solved = [time for time in times if time is not None]
    row = [str(len(runs)), f"{len(solved)}/{len(runs)}"]
    row += [number(statistics.ert(times, budget)), number(statistics.median(times, budget))]
    row += [number(median(steps), 0), number(median(column(runs, "updates_per_second")), 0)]
    row += [_speed_up(runs, baseline), _against(runs, baseline, budget)]
    for key in ("confirmed_return", "share_above_threshold", "retention"):
        row.append(number(median(column(runs, key)), 2 if key != "confirmed_return" else 1))
    finals = [value for value in column(runs, "final_return") if value is not None]
    return [*row, interval(statistics.iqm_interval([finals])) if finals else ""]


def _portfolio_row(runs: Sequence[Record], budget: float, cores: int, width: int) -> Row:
    name = f"`{BASELINE}`, best of {cores} independent"
    if len(runs) < cores:
        return [name, *[""] * (width - 1)]
    found = statistics.portfolio(column(runs, "seconds_to_threshold"), budget, cores)
    row = [name, str(len(runs)), f"{100 * found.share:.0f} %", number(found.ert)]
    return [*row, number(found.median), *[""] * (width - 5)]


def _speed_up(runs: Sequence[Record], baseline: Sequence[Record]) -> str:
    rates, base_rates = known(runs, "updates_per_second"), known(baseline, "updates_per_second")
    if not rates or not base_rates:
        return ""
    needed, base_needed = updates_needed(runs), updates_needed(baseline)
    found = statistics.speed_up(rates, base_rates, needed, base_needed)
    return (
        f"{number(found.total, 2)} = {number(found.hardware, 2)} x {number(found.statistical, 2)}"
    )


def _against(runs: Sequence[Record], baseline: Sequence[Record], budget: float) -> str:
    """What the seeds say about time to the threshold, sooner being better."""
    if not baseline or runs == baseline:
        return ""
    ours, theirs = (
        [-(budget if time is None else time) for time in column(some, "seconds_to_threshold")]
        for some in (runs, baseline)
    )
    improvement = statistics.probability_of_improvement([ours], [theirs])
    intervals = statistics.iqm_interval([ours]), statistics.iqm_interval([theirs])
    said = statistics.verdict(*intervals, min(len(ours), len(theirs)), improvement)
    words = {"better": "sooner", "worse": "later"}
    return f"{words.get(said, said)} (P = {improvement.value:.2f})"


def predictions() -> Mapping[str, Callable[[int], float]]:
    """Speed of N parallel workers over one learner, in rounds: the linear analysis of a quadratic.

    damped: a N / (1 + a (N - 1)) with a = 0.2; delta: a N with a = 1/sqrt(N) up to two workers and
    1.25/N beyond; sqrt: delta with 1/sqrt(N); sum: delta with 1; elastic: N / (N + 1); mean: 1.
    """
    return {
        "damped": lambda n: 0.2 * n / (1 + 0.2 * (n - 1)),
        "delta": lambda n: math.sqrt(n) if n <= 2 else 1.25,
        "sqrt": math.sqrt,
        "sum": float,
        "elastic": lambda n: n / (n + 1),
        "mean": lambda n: 1.0,
    }


def merges(study: Study, records: Sequence[Record]) -> str:
    """Measured against predicted speed of the merge rules."""
    head = ["", "workers", "seeds", "solved", "updates to threshold", "speed", "predicted"]
    base = updates_needed(of(records, BASELINE))
    rows: list[Row] = []
    for variant in study.variants:
        rule, _, count = variant.partition("_")
        workers = int(count or 1)
        guess = predictions()[rule](workers) if count else 1.0
        runs = of(records, variant)
        row = [f"`{rule}`", str(workers)]
        if runs:
            needed = updates_needed(runs)
            solved = len(known(runs, "seconds_to_threshold"))
            speed = "" if math.isinf(base) else number(workers * base / needed, 2)
            row += [str(len(runs)), f"{solved}/{len(runs)}", number(needed, 0), speed]
        else:
            row += [""] * 4
        rows.append([*row, number(guess, 2)])
    return "\n\n".join([markdown(head, rows), footnote(records)])


def solved(study: Study, records: Sequence[Record]) -> str:
    """Which rows reach their threshold within their budget of env steps, and after how many."""
    head = ["", "seeds", "solved", "env steps, median", "most", "budget", "seconds, median"]
    head += ["updates, median", "policy lag", "confirmed return"]
    rows: list[Row] = []
    for variant, overrides in study.variants.items():
        runs = of(records, variant)
        name = f"`{variant}`"
        if not runs:
            rows.append([name, *[""] * (len(head) - 1)])
            continue
        found = known(runs, "seconds_to_threshold")
        steps, seconds, updates = (
            [math.inf if n is None else n for n in column(runs, f"{unit}_to_threshold")]
            for unit in ("env_steps", "seconds", "updates")
        )
        row = [name, str(len(runs)), f"{len(found)}/{len(runs)}"]
        row += [number(statistics.median(steps, math.inf), 0), number(max(steps), 0)]
        row.append(_setting((*overrides, *study.common), "budget.env_steps"))
        row += [number(statistics.median(seconds, math.inf))]
        row += [number(statistics.median(updates, math.inf), 0)]
        row += [number(median(column(runs, "policy_lag_mean")), 1)]
        rows.append([*row, number(median(column(runs, "confirmed_return")))])
    return "\n\n".join([markdown(head, rows), footnote(records)])


def _setting(overrides: Sequence[str], key: str) -> str:
    """The first of a row's own settings, which stand before the common ones."""
    values = [text.partition("=")[2] for text in overrides if text.startswith(f"{key}=")]
    return number(float(values[0]), 0) if values else ""


def roles(study: Study, records: Sequence[Record]) -> str:
    """Where the processes of each row spent their time, as means over runs and workers."""
    rows: list[Row] = []
    for variant in study.variants:
        spent: dict[str, list[Mapping[str, float]]] = {}
        for run in of(records, variant):
            for name, shares in (run["result"].get("time_by_role") or {}).items():
                spent.setdefault(name.partition("-")[0], []).append(shares)
        for role, shares in sorted(spent.items()):
            kinds = {kind for share in shares for kind in share} - {"seconds", "busy"}
            mean = {kind: fmean(share.get(kind, 0.0) for share in shares) for kind in kinds}
            waits = sorted(mean.items(), key=lambda item: -item[1])
            words = ", ".join(f"{kind} {100 * part:.0f} %" for kind, part in waits if part > 0.005)
            busy = fmean(share.get("busy", 0.0) for share in shares)
            rows.append([f"`{variant}`", role, f"{100 * busy:.0f} %", words])
        if not spent:
            rows.append([f"`{variant}`", "", "", ""])
    return markdown(["", "role", "busy", "waiting for"], rows)


def warmup(study: Study, records: Sequence[Record]) -> str:
    """Share of warm-up episodes that reach the goal."""
    rows: list[Row] = []
    for variant in study.variants:
        runs = [record for record in of(records, variant) if not failed(record)]
        extras = [record["result"]["extra"] for record in runs]
        row = [f"`agent.hold={variant.partition('_')[2]}`"]
        if extras:
            episodes = sum(extra["episodes"] for extra in extras)
            share = sum(extra["reached"] for extra in extras) / episodes
            row += [str(len(extras)), str(episodes), f"{100 * share:.1f} %"]
        rows.append(row if extras else [*row, "", "", ""])
    return markdown(["random actions", "seeds", "episodes", "reach the goal"], rows)


def overestimation(study: Study, records: Sequence[Record]) -> str:
    """What critics promise against what their policies get, and the interval over seeds."""
    head = ["", "seeds", "Q", "return", "Q - return, IQM [95 %]", "standard error in a run"]
    head += ["temperature"]
    rows: list[Row] = []
    for variant in study.variants:
        runs = [record for record in of(records, variant) if not failed(record)]
        extras = [record["result"]["extra"] for record in runs]
        row = [f"`{variant}`"]
        if extras:
            row += [str(len(extras))]
            row += [number(median([e[key] for e in extras])) for key in ("q_mean", "return_mean")]
            gaps = [extra["difference_mean"] for extra in extras]
            row.append(interval(statistics.iqm_interval([gaps]), 2))
            row.append(number(median([extra["difference_error"] for extra in extras]), 2))
            row.append(number(median([extra["temperature"] for extra in extras]), 3))
        rows.append(row if extras else [*row, *[""] * (len(head) - 1)])
    return "\n\n".join([markdown(head, rows), footnote(records)])


def kept(study: Study, records: Sequence[Record]) -> str:
    """What is left at the end, of a run's policy and of its averaged one, and the worst evaluation
    after the threshold, which only the policy itself has."""
    head = ["", "policy", "seeds", "solved", "worst after the threshold, IQM [95 %]"]
    head += ["retention, IQM [95 %]", "final return, IQM [95 %]"]
    rows: list[Row] = []
    for variant in study.variants:
        runs = of(records, variant)
        names = [f"`{variant}`", "itself"], [f"`{variant}`", "averaged"]
        if not runs:
            rows += [[*name, *[""] * (len(head) - 2)] for name in names]
            continue
        found = [str(len(runs)), f"{len(known(runs, 'seconds_to_threshold'))}/{len(runs)}"]
        averaged = [run["result"].get("extra", {}).get("averaged_return") for run in runs]
        retained = [
            retention(value, run["result"].get("best_return"), run["result"].get("random_return"))
            for value, run in zip(averaged, runs, strict=True)
        ]
        worst = spread([worst_after(run) for run in runs])
        own = [spread(column(runs, "retention"), 2), spread(column(runs, "final_return"))]
        rows.append([*names[0], *found, worst, *own])
        rows.append([*names[1], *found, "", spread(retained, 2), spread(averaged)])
    return "\n\n".join([markdown(head, rows), footnote(records)])


def worst_after(run: Record) -> float | None:
    """The lowest evaluation after the solving one; None where there is none."""
    since = run["result"].get("updates_to_threshold")
    curve = run["evaluations"]
    means = zip(curve["updates"], curve["mean"], strict=True)
    return min((mean for at, mean in means if since is not None and at > since), default=None)


def bench(record: Record) -> str:
    """One speed comparison: rate of each side (median of its rounds) and the ratio to the first."""
    rows: list[Row] = [
        [f"`{side['name']}`", number(side["rate"]), number(side["ratio"], 2), str(side["rounds"])]
        for side in record["sides"]
    ]
    table = markdown([record["unit"], "median", "ratio to the first", "rounds"], rows)
    return f"{record['question']}\n\n{table}\n\n{footnote([record])}"


def updates_needed(runs: Sequence[Record]) -> float:
    """Expected updates to the threshold; an unsolved run counts with all that it made."""
    solved = known(runs, "updates_to_threshold")
    spent = [
        record["result"].get("updates") or 0
        if record["result"].get("updates_to_threshold") is None
        else record["result"]["updates_to_threshold"]
        for record in runs
    ]
    return sum(spent) / len(solved) if solved else math.inf
