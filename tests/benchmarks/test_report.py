"""Tables from invented runs whose figures are worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import multiples, report, store, tables
from benchmarks.plans import Study
from benchmarks.rows import footnote
from benchmarks.store import Record
from benchmarks.studies import STUDIES

MACHINE = {"cores": 2, "cpu": "A CPU", "torch": "2.13.0", "python": "3.11.7"}


def make_record(variant: str, seed: int, **result: object) -> Record:
    whole = {"threshold": 90.0, "confirmed_return": 93.0, "share_above_threshold": 0.95}
    return {
        "variant": variant,
        "seed": seed,
        "overrides": f"paradigm={variant} budget.env_steps=900",
        "config_hash": "aa",
        "exit_code": 0,
        "commit": "012345678",
        "machine": MACHINE,
        "result": {"stopped_by": "budget", **whole, "retention": 0.99, **result},
        "spacing": 2.0,
        "curve": {"seconds": [1.0, 3.0], "env_steps": [100, 300], "mean": [-1.0, 95.0]},
    }


def solved(variant: str, seed: int, seconds: float, updates: int, rate: float) -> Record:
    reached = {"seconds": seconds, "env_steps": 1000 * seconds, "updates": updates}
    return make_record(
        variant,
        seed,
        **{f"{unit}_to_threshold": value for unit, value in reached.items()},
        updates=updates + 50,
        updates_per_second=rate,
        final_return=94.0,
    )


def unsolved(variant: str, seed: int, updates: int, rate: float) -> Record:
    more = {"updates": updates, "updates_per_second": rate, "final_return": -20.0}
    return make_record(variant, seed, **more)


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


def cells(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cut = [[word.strip() for word in line.strip("|").split("|")] for line in lines]
    return {words[0]: words[1:] for words in cut}


def test_a_timed_table_counts_the_unsolved_run_and_splits_the_speed_up() -> None:
    found = cells(tables.table(STUDY, RECORDS, RECORDS[:2]))
    assert found["`sequential`"][:6] == ["2", "2/2", "50.0", "50.0", "50,000", "100"]
    # (20 + 90) / 1 solved; median of 20 and 90
    assert found["`dcollect`"][:4] == ["2", "1/2", "110.0", "55.0"]
    # rates 200 / 100; updates 5000 against (6000 + 14000) / 1
    assert found["`dcollect`"][6] == "0.50 = 2.00 x 0.25"
    assert found["`dcollect`"][7] == "too few seeds (P = 0.50)"
    assert found["`sequential`, best of 2 independent"][:4] == ["", "100 %", "40.0", "40.0"]
    assert set(found["`dupdate`"]) == {""}
    assert len({len(row) for row in found.values()}) == 1


def test_the_short_form_compares_times() -> None:
    found = cells(tables.table(STUDY, RECORDS, RECORDS[:2], "short"))
    assert found["`sequential`"] == ["50.0", "2/2", "1.00 x"]
    assert found["`sequential`, best of 2 independent"] == ["40.0", "100 %", "1.25 x"]
    assert found["`dcollect`"] == ["110.0", "1/2", "0.45 x, too few seeds"]


def test_the_footnote_names_machine_commit_and_spacing_and_what_went_wrong() -> None:
    assert footnote([]) == "No run of this table has been made yet."
    assert footnote(RECORDS) == (
        "2 cores of A CPU, torch 2.13.0. Commit 012345678. Evaluations about 2.0 s apart."
    )
    crashed = {**make_record("dupdate", 1), "exit_code": 1, "result": {}}
    other = {**solved("dcollect", 3, 1, 1, 1), "config_hash": "bb"}
    note = footnote([*RECORDS, crashed, other])
    assert "1 runs ended in an error and count as unsolved." in note
    assert "Not all seeds ran the same configuration in dcollect." in note


def test_a_crashed_run_counts_as_unsolved() -> None:
    crashed = {**make_record("dcollect", 3), "exit_code": 1, "result": {}}
    found = cells(tables.table(STUDY, [*RECORDS, crashed], RECORDS[:2]))
    assert found["`dcollect`"][:3] == ["3", "1/3", "200.0"]


def test_speed_of_averaging_is_in_rounds_of_parallel_updates() -> None:
    records = [
        solved("sequential", 1, 10, 4000, 100),
        solved("delta_2", 1, 10, 5000, 100),
        unsolved("damped_1", 1, 9000, 100),
        solved("damped_4", 1, 10, 4000, 100),
    ]
    found = cells(tables.table(STUDIES["averaging"], records, records[:1]))
    # two workers make 5000 updates in 2500 rounds: 4000 / 2500
    assert found["`delta_2`"] == ["1", "1/1", "5,000", "1.60", "1.41"]
    assert found["`damped_1`"] == ["1", "0/1", "never", "0.00", "0.20"]
    assert found["`damped_4`"][-2:] == ["4.00", "0.50"]


def test_medians_count_the_unsolved_runs_of_a_variant() -> None:
    study = replace(STUDY, table="solved")
    runs = [solved("dcollect", seed, 10 * seed, 100 * seed, 5.0) for seed in (1, 2)]
    found = cells(tables.table(study, [*runs, unsolved("dcollect", 3, 900, 5.0)], []))
    assert found["`dcollect`"][:6] == ["3", "2/3", "20,000", "never", "900", "20.0"]
    lost = [unsolved("dcollect", seed, 900, 5.0) for seed in (3, 4, 5)]
    found = cells(tables.table(study, [*runs, *lost], []))
    assert found["`dcollect`"][2] == found["`dcollect`"][5] == "never"


def test_a_role_is_as_busy_as_its_processes_on_average() -> None:
    spent = {
        "learner": {"seconds": 9.0, "busy": 0.9, "fragment": 0.1},
        "worker-0": {"seconds": 9.0, "busy": 0.5, "pace": 0.4, "room": 0.1},
        "worker-1": {"seconds": 9.0, "busy": 0.7, "pace": 0.2, "room": 0.1},
    }
    study = replace(STUDY, table="workers")
    found = cells(tables.table(study, [make_record("dcollect", 1, time_by_role=spent)], []))
    assert found["`dcollect`"][-2:] == ["90 %", "60 %"]


def test_warm_up_episodes_are_added_over_seeds() -> None:
    records = [
        make_record("hold_16", seed, extra={"episodes": 200, "reached": reached})
        for seed, reached in ((1, 180), (2, 160))
    ]
    found = cells(tables.table(STUDIES["warmup"], records, []))
    assert found == {"`hold_1`": ["", "", ""], "`hold_16`": ["2", "400", "85.0 %"]}


def test_an_overestimation_is_that_of_all_seeds() -> None:
    extra = {"q_mean": -60.0, "return_mean": -70.0, "difference_error": 0.25}
    records = [
        make_record("tqc_1", seed, extra={**extra, "difference_mean": 10.0}) for seed in (1, 2, 3)
    ]
    found = cells(tables.table(STUDIES["overestimation"], records, []))
    assert found["`tqc_1`"] == ["3", "-60.0", "-70.0", "10.00 [10.00, 10.00]", "0.25"]


def test_retention_is_that_of_a_policy_and_of_its_average() -> None:
    study = replace(STUDY, variants={"elites": ()}, table="kept")
    records = [solved("elites", 1, 10, 100, 50), unsolved("elites", 2, 900, 50)]
    ends = {"best_return": 100.0, "random_return": 0.0, "extra": {"averaged_return": 80.0}}
    for record in records:
        record["result"] |= ends
    records[0]["result"]["worst_after_threshold"] = 60.0
    found = cells(tables.table(study, records, []))["`elites`"]
    intervals = ["60.0 [60.0, 60.0]", "0.99 [0.99, 0.99]", "0.80 [0.80, 0.80]"]
    assert found == ["2", "1/2", *intervals, "37.0 [-20.0, 94.0]"]


def test_only_what_stands_between_markers_is_rewritten(tmp_path: Path) -> None:
    for record in RECORDS:
        store.append("mcar", record, tmp_path)
    text = "before\n<!-- table:mcar/short -->\nstale\n<!-- end:mcar/short -->\nafter <!-- table:x\n"
    filled = report.fill(text, tmp_path)
    assert filled.startswith("before\n<!-- table:mcar/short -->\n|  | time to the threshold")
    assert "\n| `dcollect` | 110.0 | 1/2 | 0.45 x, too few seeds |\n" in filled
    assert filled.endswith("<!-- end:mcar/short -->\nafter <!-- table:x\n")
    assert "stale" not in filled
    assert report.fill(filled, tmp_path) == filled
    assert report.table("bench/updates", tmp_path) == footnote([])


def test_a_bench_table_has_a_line_a_side(tmp_path: Path) -> None:
    sides = [
        {"name": "sb3", "rate": 100.0, "ratio": 1.0, "rounds": 5},
        {"name": "sequential", "rate": 250.0, "ratio": 2.5, "rounds": 5},
    ]
    record = {"variant": "updates", "seed": 0, "question": "How fast?", "unit": "updates/s"}
    more = {"sides": sides, "commit": "0123456789", "machine": MACHINE}
    store.append("bench", {**record, **more}, tmp_path)
    table = report.table("bench/updates", tmp_path)
    assert table.startswith("How fast?\n\n| updates/s | median |")
    assert "| `sequential` | 250.0 | 2.50 | 5 |" in table


def test_a_figure_has_the_variants_of_the_study(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "figures" / "toy.png"
    report.draw(RECORDS, file, {"seconds": 2})
    assert 5_000 < file.stat().st_size < 300_000


def race(seed: int, laps: list[float], best: list[float | None]) -> Record:
    seconds = [5.0 * (i + 1) for i in range(len(laps))]
    driven = {"seconds": seconds, "laps_completed": laps, "lap_time_best": best}
    final = {"metrics": {"final": {"lap_time_best": best[-1], "total_distance": 9000.0 + seed}}}
    return {**make_record("sequential", seed, **final, env_steps=800, seconds=40.0), "laps": driven}


def test_a_table_of_races_says_when_laps_come_and_whether_they_stay() -> None:
    runs = [race(1, [0, 1, 0, 3], [None, None, None, 90]), race(2, [0, 0, 2, 2], [None] * 4)]
    study = replace(STUDY, variants={"sequential": ()}, table="race")
    row = cells(tables.table(study, runs, runs))["`sequential`"]
    assert row[1] == "12.5 (15.0)", "the median and the last of 10 s and 15 s"
    assert row[2] == "never (never)", "three laps in 20 s, and never"
    assert row[3] == "4/5", "of 3 and 2 evaluations from the first lap on, one has none"
    assert row[6:] == ["never (never)", "90.00", "20"]
    assert cells(tables.table(study, runs, runs, "driving"))["`sequential`"][0] == "9,001.50"
    alone = cells(tables.table(study, runs[:1], runs[:1]))["`sequential`"]
    assert (alone[2], alone[4]) == ("20.0 (20.0)", "90.0 (90.0)")


def test_panels_show_the_plain_rows_of_every_paradigm(tmp_path: Path) -> None:
    curve = {"seconds": [1.0, 2.0, 3.0], "mean": [5.0, 9.0, 7.0]}

    def record(variant: str, paradigm: str) -> Record:
        words = {"variant": variant, "overrides": f"paradigm={paradigm} seed=1", "curve": curve}
        return {**words, "result": {"seconds_to_threshold": 2.0}}

    runs = [record("sequential", "sequential"), record("gorila_2", "gorila")]
    runs += [record("gorila3_2", "gorila"), record("gorila_4", "gorila")]
    rows = report.panels(runs)
    assert {name: (len(row.curves), row.reached) for name, row in rows.items()} == {
        "sequential": (1, 2.0),
        "gorila": (1, 2.0),
    }
    file = tmp_path / "panels.png"
    multiples.draw(rows, file, baseline="sequential", threshold=8.0, x_max=4.0)
    assert file.stat().st_size > 1000
