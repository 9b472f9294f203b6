"""Tables and figures from made-up cells whose figures are worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cells, figures, report, tables, values
from benchmarks.cells import Record
from benchmarks.studies import STUDIES, Cell, Study

MACHINE = {"cores": 2, "cpu": "A CPU", "torch": "2.13.0", "python": "3.11.7"}


def make_record(variant: str, seed: int, **result: object) -> Record:
    whole = {"stopped_by": "budget", "threshold": 90.0, "confirmed_return": 93.0, **result}
    whole |= {"share_above_threshold": 0.95, "retention": 0.99}
    curve = {"seconds": [1.0, 3.0], "env_steps": [100, 300], "updates": [5, 9]}
    curve |= {"mean": [-1.0, 95.0], "std": [1.0, 1.0]}
    return {
        "variant": variant,
        "seed": seed,
        "exit_code": 0,
        "commit": "0123456789abcdef",
        "config_hash": "aa",
        "machine": MACHINE,
        "result": whole,
        "evaluations": curve,
    }


def solved(variant: str, seed: int, seconds: float, updates: int, rate: float) -> Record:
    return make_record(
        variant,
        seed,
        solved=True,
        seconds_to_threshold=seconds,
        env_steps_to_threshold=1000 * seconds,
        updates_to_threshold=updates,
        updates=updates + 50,
        updates_per_second=rate,
        final_return=94.0,
    )


def unsolved(variant: str, seed: int, updates: int, rate: float) -> Record:
    return make_record(
        variant,
        seed,
        solved=False,
        seconds_to_threshold=None,
        env_steps_to_threshold=None,
        updates_to_threshold=None,
        updates=updates,
        updates_per_second=rate,
        final_return=-20.0,
    )


STUDY = Study(
    question="Which?",
    variants={"sequential": (), "dcollect": (), "dupdate": ()},
    common=(),
    seeds=(1, 2),
    cap=90,
)
RECORDS = [
    solved("sequential", 1, 40, 4000, 100),
    solved("sequential", 2, 60, 6000, 100),
    solved("dcollect", 1, 20, 6000, 200),
    unsolved("dcollect", 2, 14000, 200),
]


def rows(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cut = [[word.strip() for word in line.strip("|").split("|")] for line in lines]
    return {words[0]: words[1:] for words in cut}


def test_timed_table_counts_the_unsolved_run_and_splits_the_speed_up() -> None:
    found = rows(tables.timed(STUDY, RECORDS, RECORDS[:2]))
    assert found["`sequential`"][:6] == ["2", "2/2", "50.0", "50.0", "50,000", "100"]
    # (20 + 90) / 1 solved; median of 20 and 90
    assert found["`dcollect`"][:4] == ["2", "1/2", "110.0", "55.0"]
    # rates 200 / 100; updates 5000 against (6000 + 14000) / 1
    assert found["`dcollect`"][6] == "0.50 = 2.00 x 0.25"
    assert found["`dcollect`"][7] == "too few seeds (P = 0.50)"
    assert found["`sequential`, best of 2 independent"][:4] == ["2", "100 %", "40.0", "40.0"]


def test_a_row_without_cells_is_printed_empty() -> None:
    found = rows(tables.timed(STUDY, RECORDS, RECORDS[:2]))
    assert set(found["`dupdate`"]) == {""}
    assert len(found["`dupdate`"]) == len(found["`dcollect`"])
    assert "No cell of this table has been run yet." in tables.timed(STUDY, [], [])


def test_the_note_names_machine_commit_and_spacing_and_what_went_wrong() -> None:
    note = values.footnote(RECORDS)
    assert note == (
        "2 cores of A CPU, torch 2.13.0, Python 3.11.7. Commit 012345678."
        " Evaluations about 2.0 s apart."
    )
    crashed = {**make_record("dupdate", 1), "exit_code": 1, "result": {}}
    other = {**solved("dcollect", 3, 1, 1, 1), "config_hash": "bb"}
    note = values.footnote([*RECORDS, crashed, other])
    assert "1 runs ended in an error and count as unsolved." in note
    assert "Not all seeds ran the same configuration: dcollect." in note


def test_a_crashed_run_counts_as_unsolved() -> None:
    crashed = {**make_record("dcollect", 3), "exit_code": 1, "result": {}}
    found = rows(tables.timed(STUDY, [*RECORDS, crashed], RECORDS[:2]))
    assert found["`dcollect`"][:3] == ["3", "1/3", "200.0"]


def test_speed_of_a_merge_rule_is_in_rounds_of_parallel_updates() -> None:
    records = [
        solved("sequential", 1, 10, 4000, 100),
        solved("delta_2", 1, 10, 5000, 100),
        unsolved("damped_1", 1, 9000, 100),
    ]
    table = tables.merges(STUDIES["merges"], records)
    lines = [[w.strip() for w in line.strip("|").split("|")] for line in table.splitlines()]
    # two workers make 5000 updates in 2500 rounds: 4000 / 2500
    assert ["`delta`", "2", "1", "1/1", "5,000", "1.60", "1.41"] in lines
    assert ["`damped`", "1", "1", "0/1", "never", "0.00", "0.20"] in lines
    assert ["`mean`", "4", "", "", "", "", "1.00"] in lines
    assert ["`damped`", "4", "", "", "", "", "0.50"] in lines
    assert ["`elastic`", "4", "", "", "", "", "0.80"] in lines


def test_rows_that_shall_reach_a_threshold_within_env_steps() -> None:
    study = replace(
        STUDY,
        variants={"dqn": ("agent=dqn", "budget.env_steps=5000"), "ppo": ("agent=ppo",)},
        common=("budget.env_steps=900",),
        table="solved",
    )
    records = [
        solved("dqn", 1, 4, 400, 100),
        solved("dqn", 2, 2, 200, 100),
        solved("dqn", 3, 3, 300, 100),
        unsolved("ppo", 1, 900, 100),
    ]
    found = rows(tables.solved(study, records))
    assert found["`dqn`"][:6] == ["3", "3/3", "3,000", "4,000", "5,000", "3.0"]
    assert found["`ppo`"][1:5] == ["0/1", "never", "never", "900"]


def test_medians_of_a_row_count_the_unsolved_run_in_every_column() -> None:
    runs = [solved("dcollect", seed, 10 * seed, 100 * seed, 5.0) for seed in (1, 2)]
    found = rows(tables.solved(STUDY, [*runs, unsolved("dcollect", 3, 900, 5.0)]))
    assert found["`dcollect`"][:4] == ["3", "2/3", "20,000", "never"]
    assert found["`dcollect`"][5:7] == ["20.0", "200"]
    lost = [unsolved("dcollect", seed, 900, 5.0) for seed in (3, 4, 5)]
    assert rows(tables.solved(STUDY, [*runs, *lost]))["`dcollect`"][5:7] == ["never", "never"]


def test_time_by_role_is_a_mean_over_runs_and_workers() -> None:
    spent = {
        "learner": {"seconds": 9.0, "busy": 0.9, "fragment": 0.1},
        "worker-0": {"seconds": 9.0, "busy": 0.5, "pace": 0.4, "room": 0.1},
        "worker-1": {"seconds": 9.0, "busy": 0.7, "pace": 0.2, "room": 0.1},
    }
    table = tables.roles(STUDY, [make_record("dcollect", 1, time_by_role=spent)])
    lines = [[word.strip() for word in line.strip("|").split("|")] for line in table.splitlines()]
    assert ["`dcollect`", "learner", "90 %", "fragment 10 %"] in lines
    assert ["`dcollect`", "worker", "60 %", "pace 30 %, room 10 %"] in lines
    assert ["`sequential`", "", "", ""] in lines


def test_warm_up_table_adds_the_seeds_up() -> None:
    records = [
        make_record("hold_16", seed, extra={"episodes": 200, "reached": reached})
        for seed, reached in ((1, 180), (2, 160))
    ]
    found = rows(tables.warmup(STUDIES["warmup"], records))
    assert found == {
        "`agent.hold=1`": ["", "", ""],
        "`agent.hold=16`": ["2", "400", "85.0 %"],
    }


def test_what_a_critic_promises_is_a_row_an_agent() -> None:
    extra = {"q_mean": -60.0, "return_mean": -70.0, "difference_error": 0.25, "temperature": 0.125}
    records = [
        make_record("tqc_1", seed, extra={**extra, "difference_mean": gap})
        for seed, gap in ((1, 10.0), (2, 10.0), (3, 10.0))
    ]
    found = rows(tables.overestimation(STUDIES["overestimation"], records))
    row = ["3", "-60.0", "-70.0", "10.00 [10.00, 10.00]", "0.25", "0.125"]
    assert found["`tqc_1`"] == row
    assert set(found["`sac`"]) == {""}
    assert len(found["`sac`"]) == len(row)


def test_what_was_kept_is_told_of_a_policy_and_of_its_average() -> None:
    study = replace(STUDY, variants={"elites": (), "uniform": ()})
    records = [solved("elites", 1, 10, 100, 50), unsolved("elites", 2, 900, 50)]
    ends = {"best_return": 100.0, "random_return": 0.0, "extra": {"averaged_return": 80.0}}
    for record in records:
        record["result"] |= ends
    curve = {"updates": [50, 100, 150, 200], "mean": [-50.0, 95.0, 60.0, 90.0]}
    records[0]["evaluations"] = curve
    lines = tables.kept(study, records).splitlines()
    found = [[word.strip() for word in line.strip("|").split("|")] for line in lines]
    # before the threshold -50, at it 95; the run that was not solved has no worst evaluation
    worst, own = "60.0 [60.0, 60.0]", "0.99 [0.99, 0.99]"
    assert ["`elites`", "itself", "2", "1/2", worst, own, "37.0 [-20.0, 94.0]"] in found
    averaged = ["0.80 [0.80, 0.80]", "80.0 [80.0, 80.0]"]
    assert ["`elites`", "averaged", "2", "1/2", "", *averaged] in found
    assert ["`uniform`", "averaged", *[""] * 5] in found


def test_only_what_stands_between_markers_is_rewritten(tmp_path: Path) -> None:
    text = "before\n<!-- table:warmup -->\nstale\n<!-- end:warmup -->\nafter <!-- table:x\n"
    filled = report.fill(text, tmp_path)
    assert filled.startswith("before\n<!-- table:warmup -->\n| random actions |")
    assert filled.endswith("<!-- end:warmup -->\nafter <!-- table:x\n")
    assert "stale" not in filled
    assert report.fill(filled, tmp_path) == filled


def test_tables_are_read_from_stored_cells(tmp_path: Path) -> None:
    for record in RECORDS:
        cell = Cell("mcar", record["variant"], record["seed"], (), (), 1)
        cells.store({**record, "study": "mcar"}, cell, STUDY, tmp_path, tmp_path)
    assert "| `dcollect` | 2 | 1/2 |" in report.table("mcar", tmp_path)
    assert "| `dcollect` | 2 | 1/2 | 110.0 | 55.0 | 0.50 = 2.00 x 0.25 | 93.0 | 0.95 |" in (
        report.table("mcar/short", tmp_path)
    )
    assert "No cell" in report.table("bench/updates", tmp_path)


def test_bench_table_has_a_row_a_side(tmp_path: Path) -> None:
    sides = [
        {"name": "sb3", "rate": 100.0, "ratio": 1.0, "rounds": 5},
        {"name": "sequential", "rate": 250.0, "ratio": 2.5, "rounds": 5},
    ]
    record = {"question": "How fast?", "unit": "updates/s", "sides": sides}
    record |= {"commit": "0123456789", "machine": MACHINE}
    cells.write_json(tmp_path / "bench" / "updates.json", record)
    table = report.table("bench/updates", tmp_path)
    assert table.startswith("How fast?\n\n| updates/s | median |")
    assert "| `sequential` | 250.0 | 2.50 | 5 |" in table


def test_learning_curves_are_a_small_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "figures" / "toy.png"
    assert figures.learning_curves("Which?", RECORDS, file)
    assert 5_000 < file.stat().st_size < 300_000
    assert not figures.learning_curves("Which?", [], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
