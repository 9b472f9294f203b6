"""What a table's cells hold and how it is printed: columns of runs, numbers, the note below it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from benchmarks import statistics
from benchmarks.cells import Record, failed
from benchmarks.statistics import Interval

Row = Sequence[str]


def markdown(head: Row, rows: Sequence[Row]) -> str:
    """A GitHub table: the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def footnote(records: Sequence[Record]) -> str:
    """Machine, code and the spacing of evaluations behind a table."""
    if not records:
        return "No cell of this table has been run yet."
    machines = {tuple(record["machine"].items()): record["machine"] for record in records}
    places = "; ".join(
        f"{m['cores']} cores of {m['cpu']}, torch {m['torch']}, Python {m['python']}"
        for m in machines.values()
    )
    commits = sorted({(record["commit"] or "unknown")[:9] for record in records})
    words = [f"{places}. Commit {', '.join(commits)}."]
    spacing = [gap for record in records for gap in _gaps(record)]
    if spacing:
        words.append(f"Evaluations about {median(spacing):.1f} s apart.")
    broken = sum(failed(record) for record in records if "exit_code" in record)
    if broken:
        words.append(f"{broken} runs ended in an error and count as unsolved.")
    mixed = [v for v in {r.get("variant") for r in records} if v and _hashes(records, v) > 1]
    if mixed:
        words.append(f"Not all seeds ran the same configuration: {', '.join(sorted(mixed))}.")
    return " ".join(words)


def of(records: Sequence[Record], variant: str) -> list[Record]:
    return [record for record in records if record["variant"] == variant]


def column(runs: Sequence[Record], key: str) -> list[Any]:
    """One value a run; None where it has none."""
    return [record["result"].get(key) for record in runs]


def known(runs: Sequence[Record], key: str) -> list[float]:
    return [value for value in column(runs, key) if value is not None]


def median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.median(there, math.inf) if there else None


def number(value: float | None, digits: int = 1) -> str:
    if value is None or math.isnan(value):
        return ""
    return "never" if math.isinf(value) else f"{value:,.{digits}f}"


def interval(value: Interval, digits: int = 1) -> str:
    estimate, low, high = (number(each, digits) for each in value)
    return f"{estimate} [{low}, {high}]"


def spread(values: Sequence[float | None], digits: int = 1) -> str:
    """The IQM of what is known and its interval."""
    there = [value for value in values if value is not None]
    return interval(statistics.iqm_interval([there]), digits) if there else ""


def _gaps(record: Record) -> list[float]:
    seconds = record.get("evaluations", {}).get("seconds", [])
    return [later - sooner for sooner, later in itertools.pairwise(seconds)]


def _hashes(records: Sequence[Record], variant: str) -> int:
    return len({record["config_hash"] for record in of(records, variant)})
