"""Rewrites the tables between markers in the Markdown pages, and the figures, from stored results.

    python -m benchmarks.report            every table and figure
    python -m benchmarks.report --print mcar

A table stands between `<!-- table:NAME -->` and `<!-- end:NAME -->`; NAME is a study,
STUDY/short (for the timed ones), bench/SUITE, or chaos/FORM.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import cells, lineage, multiples, reliability, store, tables
from benchmarks.rows import Row, Runs, footnote, median
from benchmarks.studies import STUDIES
from paradigms.report import curves

PAGES = [
    cells.ROOT / name
    for name in (
        "README.md",
        "benchmarks/README.md",
        "docs/performance.md",
        "docs/racing.md",
        "docs/reliability.md",
    )
]
FIGURES = Path(__file__).resolve().parent / "figures"
BASELINES = {"workers": "mcar"}  # studies whose sequential runs are another study's
DRAWN: Mapping[str, Mapping[str, float]] = {  # studies with a figure, and what of it is shown
    "mcar": {"seconds": 30, "env_steps": 20_000},
    "lander": {},
    "walker": {},
    "thruxton": {},
    "anglesey": {},
    "anglesey_sac": {},
    "unseen": {},
}
LINEAGE = "pbt"  # the study whose first runs of each variant are drawn as lineages
MULTIPLES = "concurrent"  # the study of which every paradigm with two workers has a small panel
MARKED = re.compile(r"(<!-- table:(\S+) -->\n).*?(<!-- end:\2 -->)", re.DOTALL)


def table(name: str, results: Path = store.RESULTS) -> str:
    """The table NAME, see above. Raises KeyError for an unknown one."""
    name, _, form = name.partition("/")
    if name == "bench":
        found = tables.of(store.load("bench", results), form)
        return tables.bench(found[0]) if found else footnote([])
    if name == "chaos":
        return reliability.table(store.load(name, results), form)
    study, records = STUDIES[name], store.load(name, results)
    base = store.load(BASELINES.get(name, name), results)
    return tables.table(study, records, tables.of(base, tables.BASELINE), form)


def fill(text: str, results: Path = store.RESULTS) -> str:
    """A page's text with every marked table printed anew; the rest is left as it is."""
    return MARKED.sub(lambda found: f"{found[1]}{table(found[2], results)}\n{found[3]}", text)


def draw(records: Runs, file: Path, shown: Mapping[str, float]) -> None:
    """Returns against seconds and against env steps, a row a paradigm."""
    panels = []
    for key in ("seconds", "env_steps"):
        rows: dict[str, list[curves.Curve]] = {}
        for record in records:
            if record["curve"]:
                curve = record["curve"][key], record["curve"]["mean"]
                rows.setdefault(tables.setting(record, "paradigm"), []).append(curve)
        ordered = {name: rows[name] for name in curves.COLOURS if name in rows}
        threshold = records[0]["result"].get("threshold")
        panels.append(curves.Panel(key.replace("_", " "), ordered, threshold, x_max=shown.get(key)))
    curves.draw(panels, file)


def panels(records: Runs, workers: int = 2) -> dict[str, multiples.Seeds]:
    """Returns against seconds of the rows PARADIGM and PARADIGM_WORKERS, by paradigm."""
    found: dict[str, list[store.Record]] = {}
    for record in records:
        word = tables.setting(record, "paradigm")
        if record["curve"] and record["variant"] in (word, f"{word}_{workers}"):
            found.setdefault(word, []).append(record)
    return {
        word: multiples.Seeds(
            [(run["curve"]["seconds"], run["curve"]["mean"]) for run in runs],
            median(Row(runs, [], 0.0).needed("seconds")),
        )
        for word, runs in found.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--print", metavar="NAME", help="print one table and change nothing")
    options = parser.parse_args(arguments)
    if options.print:
        print(table(options.print))
        return 0
    for file in PAGES:
        file.write_text(fill(file.read_text()))
    for name, shown in DRAWN.items():
        file = FIGURES / f"{name}.png"
        draw(store.load(name), file, shown)
        print(f"{file.relative_to(cells.ROOT)}: {file.stat().st_size // 1000} kB")
    if selected := [record for record in store.load(LINEAGE) if record.get("selections")]:
        first = {record["variant"]: record for record in reversed(selected)}
        lineage.draw([first[v] for v in STUDIES[LINEAGE].variants], FIGURES / f"{LINEAGE}.png")
    if rows := panels(runs := store.load(MULTIPLES)):
        threshold = runs[0]["result"]["threshold"]
        file = FIGURES / f"{MULTIPLES}.png"
        multiples.draw(rows, file, baseline=tables.BASELINE, threshold=threshold, x_max=30)
    return 0


if __name__ == "__main__":
    sys.exit(main())
