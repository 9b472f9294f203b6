"""The answer of a comparison in one sentence, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cells import failed
from benchmarks.rows import Row, Runs, number
from paradigms.report import statistics
from paradigms.session.origin import many

WORDS = {  # what the seeds say of the best row beside another one
    "better": "{} tell them apart",
    "worse": "though most of {} say otherwise",
    "not distinguishable": "{} do not tell them apart",
    "too few seeds": "with {} nobody can be sure",
}


class Verdict(NamedTuple):
    """best: the name of the row to use, None where no run reached the threshold."""

    best: str | None
    sentence: str


def verdict(rows: dict[str, Row], baseline: str) -> Verdict:
    """Of rows with runs, the baseline among them: which one reaches the threshold soonest (by ERT),
    or, without a threshold, which has the highest final return."""
    rows = {name: row for name, row in rows.items() if row.runs}
    if not rows:
        return Verdict(None, "No run has ended yet.")
    runs = [run for row in rows.values() for run in row.runs]
    if all(failed(run) for run in runs):
        return Verdict(None, "Every run ended in an error; their last words stand below.")
    threshold = next((t for r in runs if (t := r["result"].get("threshold")) is not None), None)
    if threshold is None:
        return by_return(rows)
    spent = {name: row.ert() for name, row in rows.items()}
    best = min(spent, key=lambda name: spent[name])
    if math.isinf(spent[best]):
        most = max((v for row in rows.values() for v in row.known("final_return")), default=None)
        least = "" if most is None else f"; the best final return was {number(most)}"
        return Verdict(None, f"No run reached {threshold:g} within its budget{least}.")
    said = f"Use {best}: it reaches {threshold:g} after {number(spent[best])} s"
    others = [name for name in rows if name != best]
    other = baseline if baseline in others else min(others, key=spent.get, default=None)  # type: ignore[arg-type]
    if other is None:
        return Verdict(best, f"{said}; nothing was compared with it.")
    if math.isinf(spent[other]):
        said += f", {other} does not reach it"
    else:
        ratio = number(spent[other] / spent[best], 2)
        said += f", {other} after {number(spent[other])} s ({ratio} times as long)"
    said += f"; {certainty(rows[best], rows[other])}."
    if (alone := rows[baseline].portfolio() if baseline in rows else None) and best != baseline:
        cores = rows[baseline].runs[0]["machine"]["cores"]
        side = f"{cores} independent runs of {baseline}, of which the first counts,"
        if math.isinf(alone.ert):
            said += f" On as many cores, {side} do not reach it either."
        else:
            faster = "take longer" if alone.ert > spent[best] else "are as fast or faster"
            said += f" On as many cores, {side} {faster}: {number(alone.ert)} s."
    return Verdict(best, said)


def certainty(ours: Row, theirs: Row) -> str:
    """What the seeds say about the two rows' times to the threshold."""
    pair = [[-min(time, row.budget) for time in row.needed("seconds")] for row in (ours, theirs)]
    return compared(*pair)


def by_return(rows: dict[str, Row]) -> Verdict:
    finals = {name: row.known("final_return") for name, row in rows.items()}
    finals = {name: values for name, values in finals.items() if values}
    if not finals:
        return Verdict(None, "No run has a final return: evaluation.confirm_episodes was 0.")
    means = {name: statistics.iqm_interval([values]).value for name, values in finals.items()}
    best, *others = sorted(means, key=lambda name: -means[name])
    said = f"Use {best}: its final return is {number(means[best])} (IQM)"
    if not others:
        return Verdict(best, f"{said}; nothing was compared with it.")
    said += f", that of {others[0]}, the next, {number(means[others[0]])}"
    return Verdict(best, f"{said}; {compared(finals[best], finals[others[0]])}.")


def compared(ours: Sequence[float], theirs: Sequence[float]) -> str:
    improvement = statistics.probability_of_improvement([ours], [theirs])
    intervals = statistics.iqm_interval([ours]), statistics.iqm_interval([theirs])
    seeds = min(len(ours), len(theirs))
    found = statistics.verdict(*intervals, seeds, improvement)
    return (
        WORDS[found].format(many(seeds, "seed"))
        + f" (P = {improvement.value:.2f} that a run is better)"
    )


def rows_of(variants: Sequence[str], runs: Runs, budget: float, baseline: str) -> dict[str, Row]:
    """The rows of a comparison, by name."""
    base = [run for run in runs if run["variant"] == baseline]
    return {v: Row([run for run in runs if run["variant"] == v], base, budget) for v in variants}
