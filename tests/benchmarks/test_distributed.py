"""Tables and the figure of the studies of distributing, from invented runs worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks import cells, lineage, tables
from benchmarks.studies import STUDIES
from tests.benchmarks.test_report import make_record, solved


def test_what_members_said_is_read_from_the_metrics(tmp_path: Path) -> None:
    selected = {"member-0/parent": 2.0, "member-0/lr": 0.1, "member-0/return": 5.0}
    lines = [
        {"kind": "metrics", "env_steps": 10, **selected, "loss/critic": 1.0},
        {"kind": "metrics", "env_steps": 20, "member-1/return": 7.0, "member-0/return": 9.0},
        {"kind": "evaluation", "env_steps": 20},
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    said = cells.selections(file)
    assert said == [
        {"env_steps": 10, "member": 0, "parent": 2.0, "lr": 0.1, "return": 5.0},
        {"env_steps": 20, "member": 1, "return": 7.0},
        {"env_steps": 20, "member": 0, "return": 9.0},
    ]
    assert tables.scores({"selections": said}) == [9.0, 7.0]


def population(variant: str, seed: int, last: list[float]) -> dict[str, object]:
    early = [{"env_steps": 5, "member": m, "parent": m, "lr": 0.1, "return": 0.0} for m in range(3)]
    late = [{"env_steps": 9, "member": m, "return": score} for m, score in enumerate(last)]
    return {**make_record(variant, seed, final_return=95.0), "selections": [*early, *late]}


def test_members_are_counted_run_by_run() -> None:
    runs = [population("pbt", 100, [89.0, 90.0, 99.0]), population("pbt", 101, [1.0, 2.0, 91.0])]
    row = tables.table(STUDIES["pbt"], runs, []).splitlines()[2]
    assert row == "| `pbt` | 2 | 2, 1 | 90, 2 | 95, 95 |"


def test_the_lineage_is_drawn_with_its_copies(tmp_path: Path) -> None:
    from matplotlib import image

    def pixels(parent: int) -> np.ndarray:
        run = population("pbt", 100, [1.0, 2.0, 3.0])
        copied = {"env_steps": 7, "member": 0, "parent": parent, "lr": 0.9, "return": 1.0}
        lineage.draw([{**run, "selections": [*run["selections"], copied]}], tmp_path / "it.png")  # type: ignore[misc]
        return np.asarray(image.imread(tmp_path / "it.png"))

    assert (pixels(2) != pixels(0)).any()  # the arrow


def test_seconds_an_episode_and_the_independent_runs_stand_beside_concurrent_ones() -> None:
    runs = [solved("sequential", seed, 10.0 * n, 1000, 100.0) for n, seed in ((1, 100), (3, 101))]
    for run in runs:
        run["result"] |= {"seconds": 40.0, "episodes": 80, "policy_lag_mean": 0.5}
    lines = tables.table(STUDIES["concurrent"], runs, runs).splitlines()
    own, independent = ([c.strip() for c in line.split("|")[1:-1]] for line in lines[2:4])
    assert own[:7] == ["`sequential`", "2", "2/2", "80", "20,000", "20.0", "500"]
    assert independent[2] == "100 %" and independent[5] == "10.0"
    assert len(own) == len(independent)
