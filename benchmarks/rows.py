"""A row of a table: the runs of one variant, the sequential runs beside them, and their figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import failed
from benchmarks.store import Record
from paradigms.report import statistics

Runs = Sequence[Record]


@dataclass(frozen=True)
class Row:
    """`baseline`: the sequential runs; `budget`: seconds that an unsolved run counts with."""

    runs: Runs
    baseline: Runs
    budget: float

    def values(self, key: str) -> list[Any]:
        """One value of result.json a run; None where it has none."""
        return [run["result"].get(key) for run in self.runs]

    def known(self, key: str) -> list[float]:
        return [value for value in self.values(key) if value is not None]

    def extras(self, key: str) -> list[float]:
        return [run["result"]["extra"][key] for run in self.runs if not failed(run)]

    def needed(self, unit: str) -> list[float]:
        """Seconds, env steps or updates to the threshold; infinite where it was not reached."""
        return [math.inf if v is None else v for v in self.values(f"{unit}_to_threshold")]

    def ert(self) -> float:
        return statistics.ert(self.values("seconds_to_threshold"), self.budget)

    def updates(self) -> float:
        """Expected updates to the threshold; an unsolved run counts with all that it made."""
        results = [run["result"] for run in self.runs]
        spent = [r.get("updates_to_threshold") or r.get("updates", 0) for r in results]
        solved = len(self.known("updates_to_threshold"))
        return sum(spent) / solved if solved else math.inf

    def base(self) -> Row:
        return Row(self.baseline, self.baseline, self.budget)

    def portfolio(self) -> statistics.Portfolio | None:
        """The baseline's runs as independent ones on all cores; None with fewer runs than cores."""
        times = self.base().values("seconds_to_threshold")
        cores = self.baseline[0]["machine"]["cores"] if self.baseline else 2
        enough = len(times) >= cores
        return statistics.portfolio(times, self.budget, cores) if enough else None

    def speed_up(self) -> str:
        base = self.base()
        ours, theirs = self.known("updates_per_second"), base.known("updates_per_second")
        if not ours or not theirs:
            return ""
        found = statistics.speed_up(ours, theirs, self.updates(), base.updates())
        return f"{number(found.total, 2)} = {' x '.join(number(cause, 2) for cause in found)}"

    def against(self) -> tuple[str, float] | None:
        """What the seeds say about time to the threshold, and the probability that ours is sooner;
        None of the baseline itself."""
        if not self.baseline or self.runs == self.baseline:
            return None
        ours, theirs = (
            [-min(time, self.budget) for time in row.needed("seconds")]
            for row in (self, self.base())
        )
        improvement = statistics.probability_of_improvement([ours], [theirs])
        intervals = statistics.iqm_interval([ours]), statistics.iqm_interval([theirs])
        verdict = statistics.verdict(*intervals, min(len(ours), len(theirs)), improvement)
        words = {"better": "sooner", "worse": "later"}
        return words.get(verdict, verdict), improvement.value

    def middle(self, key: str, digits: int = 1) -> str:
        return number(median(self.known(key)), digits)

    def iqm(self, key: str, digits: int = 1) -> str:
        return spread(self.known(key), digits)


def median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers, math.inf) if numbers else math.nan


def number(value: float, digits: int = 1) -> str:
    if math.isnan(value):
        return ""
    return "never" if math.isinf(value) else f"{value:,.{digits}f}"


def spread(numbers: Sequence[float], digits: int = 1) -> str:
    """The IQM and its bootstrap interval."""
    if not numbers:
        return ""
    estimate, low, high = (number(each, digits) for each in statistics.iqm_interval([numbers]))
    return f"{estimate} [{low}, {high}]"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A GitHub table: the first column to the left, the others to the right."""
    table = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def footnote(records: Runs) -> str:
    """Machine, code, the spacing of evaluations, and what went wrong, in sentences."""
    if not records:
        return "No run of this table has been made yet."
    commits = sorted({record["commit"][:9] for record in records})
    code = f"Commit {commits[0]}" if len(commits) == 1 else f"{len(commits)} commits"
    words = [f"{places(records)}. {code}."]
    if spacing := [record["spacing"] for record in records if record.get("spacing")]:
        words.append(f"Evaluations about {median(spacing):.1f} s apart.")
    if broken := sum(failed(record) for record in records if "exit_code" in record):
        words.append(f"{broken} runs ended in an error and count as unsolved.")
    names = [name for name, _ in {(r["variant"], r.get("config_hash")) for r in records}]
    if mixed := sorted({name for name in names if names.count(name) > 1}):
        where = ", ".join(mixed) if len(mixed) < 3 else f"{len(mixed)} rows"
        words.append(f"Not all seeds ran the same configuration in {where}.")
    return " ".join(words)


def places(records: Runs) -> str:
    """The machines, in words."""
    machines = [record["machine"] for record in records]
    found = {
        f"{m['cores']} core{'s' * (m['cores'] != 1)} of {m['cpu']}, torch {m['torch']}"
        for m in machines
    }
    return "; ".join(sorted(found))
