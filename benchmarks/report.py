"""Rewrites the tables between markers in the README files, and the figures, from stored results.

    python -m benchmarks.report            every table and figure
    python -m benchmarks.report --print mcar

A table stands between `<!-- table:NAME -->` and `<!-- end:NAME -->`; NAME is a study,
STUDY/short (for the timed ones), STUDY/roles (time by role) or bench/FILE.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cells, figures, tables, values
from benchmarks.studies import STUDIES

READMES = (cells.ROOT / "README.md", cells.ROOT / "benchmarks" / "README.md")
FIGURES = Path(__file__).resolve().parent / "figures"
BASELINES = {"workers": "mcar"}  # studies whose sequential cells are another study's
TABLES = {
    "merges": tables.merges,
    "solved": tables.solved,
    "warmup": tables.warmup,
    "overestimation": tables.overestimation,
    "kept": tables.kept,
}
MARKED = re.compile(r"(<!-- table:(\S+) -->\n).*?(<!-- end:\2 -->)", re.DOTALL)


def table(name: str, results: Path = cells.RESULTS) -> str:
    """The table NAME, see above. Raises KeyError for an unknown one."""
    if name.startswith("bench/"):
        file = results / f"{name}.json"
        return tables.bench(json.loads(file.read_text())) if file.exists() else values.footnote([])
    name, _, form = name.partition("/")
    study, records = STUDIES[name], cells.load(name, results)
    if form == "roles":
        return tables.roles(study, records)
    if study.table != "timed":
        return TABLES[study.table](study, records)
    base = cells.load(BASELINES.get(name, name), results)
    baseline = [record for record in base if record["variant"] == tables.BASELINE]
    return tables.timed(study, records, baseline, short=form == "short")


def fill(text: str, results: Path = cells.RESULTS) -> str:
    """A README's text with every marked table printed anew; the rest is left as it is."""
    return MARKED.sub(lambda found: f"{found[1]}{table(found[2], results)}\n{found[3]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--print", metavar="NAME", help="print one table and change nothing")
    options = parser.parse_args(arguments)
    if options.print:
        print(table(options.print))
        return 0
    for readme in READMES:
        if readme.exists():
            readme.write_text(fill(readme.read_text()))
    for name, study in STUDIES.items():
        file = FIGURES / f"{name}.png"
        if figures.learning_curves(study.question, cells.load(name), file):
            print(f"{file.relative_to(cells.ROOT)}: {file.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
