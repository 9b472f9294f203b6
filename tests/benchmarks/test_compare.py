"""compare.py: words become a study, runs become one page, and its verdict says how sure it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cells, comparison, page, store
from benchmarks.plans import Cell, Study
from benchmarks.store import Record
from benchmarks.verdict import rows_of, verdict
from conf.sentences import Wrong
from tests.benchmarks.test_report import make_record, solved, unsolved


def answer(records: list[Record], budget: float = 90) -> str:
    names = list(dict.fromkeys(record["variant"] for record in records))
    return verdict(rows_of(names, records, budget, names[0]), names[0]).sentence


def test_a_key_with_several_values_makes_the_rows() -> None:
    words = comparison.read(["paradigm=sequential,hogwild", "env=pendulum", "seeds=1-2"])
    assert (words.swept, words.common) == (
        {"paradigm": ["sequential", "hogwild"]},
        {"env": "pendulum"},
    )
    wanted, out = comparison.plan(words)
    assert list(wanted.variants) == ["sequential", "hogwild"]
    assert [(cell.variant, cell.seed) for cell in wanted.cells("runs")] == [
        ("sequential", 1),
        ("hogwild", 1),
        ("sequential", 2),
        ("hogwild", 2),
    ], "rows take turns"
    assert out.name.startswith("pendulum_paradigm_")
    assert "budget.seconds=300" in wanted.common
    assert wanted.cap == 300


def test_commas_in_brackets_separate_no_rows() -> None:
    assert comparison.split("[64,64],[32,32]") == ["[64,64]", "[32,32]"]
    assert comparison.split("a") == ["a"]
    words = comparison.read(["paradigm=sequential,hogwild", "env.kwargs.track=[oval,chicane]"])
    assert words.common == {"env.kwargs.track": "[oval,chicane]"}


def test_two_swept_keys_make_every_pair() -> None:
    found = dict(comparison.variants({"paradigm": ["a", "b"], "workers": ["1", "2"]}))
    assert list(found) == [
        "paradigm=a workers=1",
        "paradigm=a workers=2",
        "paradigm=b workers=1",
        "paradigm=b workers=2",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["env=pendulum"], "needs a key with several values"),
        (["paradigm"], "is no setting"),
        (["runs=x"], "needs by=KEY"),
        (["runs=x", "by=paradigm", "env=pendulum"], "leave out env"),
        (["by=paradigm", "env=a,b"], "belongs to runs"),
        (["paradigm=a,b", "seed=1"], "leave out seed"),
    ],
)
def test_words_that_mean_nothing_are_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(Wrong, match=sentence):
        comparison.read(arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["paradigm=sequential,hogwild", "seeds=one"], "seeds must be like"),
        (["paradigm=sequential,hogwild", "budget.seconds=long"], "seeds must be like"),
        (["paradigm=sequential,nothing", "env=pendulum"], "nothing"),
    ],
)
def test_a_row_that_cannot_run_is_refused_before_any_does(
    arguments: list[str], sentence: str
) -> None:
    with pytest.raises(Wrong, match=sentence):
        comparison.plan(comparison.read(arguments))


def test_the_verdict_names_the_soonest_and_what_few_seeds_allow() -> None:
    records = [
        solved("sequential", 1, 40, 4000, 100),
        solved("sequential", 2, 60, 6000, 100),
        solved("hogwild", 1, 20, 4000, 200),
        solved("hogwild", 2, 20, 4000, 200),
    ]
    assert answer(records) == (
        "Use hogwild: it reaches 90 after 20.0 s, sequential after 50.0 s (2.50 times as long);"
        " with 2 seeds nobody can be sure (P = 1.00 that a run is better)."
        " On as many cores, 2 independent runs of sequential, of which the first counts,"
        " take longer: 40.0 s."
    )


def test_an_unsolved_run_counts_and_ten_seeds_tell_rows_apart() -> None:
    records = [solved("sequential", s, 50 + s, 5000, 100) for s in range(10)]
    records += [solved("hogwild", s, 20 + s, 4000, 200) for s in range(10)]
    assert "10 seeds tell them apart (P = 1.00" in answer(records)
    mixed = [unsolved("hogwild", 1, 14000, 200), solved("sequential", 1, 40, 4000, 100)]
    assert answer(mixed).startswith("Use sequential: it reaches 90 after 40.0 s, hogwild does not")
    alone = [unsolved("sequential", s, 9000, 100) for s in (1, 2)]
    alone += [solved("hogwild", 1, 20, 4000, 200)]
    assert "2 independent runs of sequential, of which the first counts, do not reach it" in (
        answer(alone)
    )


def test_without_a_solution_or_a_threshold_the_returns_speak() -> None:
    assert answer([unsolved("sequential", 1, 10, 1)]) == (
        "No run reached 90 within its budget; the best final return was -20.0."
    )
    free = [
        make_record("sequential", 1, threshold=None, final_return=3.0),
        make_record("hogwild", 1, threshold=None, final_return=5.0),
    ]
    assert answer(free).startswith(
        "Use hogwild: its final return is 5.0 (IQM), that of sequential, the next, 3.0;"
        " with 1 seed nobody can be sure"
    )


def test_a_page_has_everything_in_it(tmp_path: Path) -> None:
    records = [
        solved("sequential", 1, 40, 4000, 100),
        solved("hogwild", 1, 20, 4000, 200),
        {**unsolved("hogwild", 2, 5, 1), "exit_code": 1, "log_tail": ["<Broken> at 3"]},
    ]
    names = ("sequential", "hogwild")
    wanted = Study("Which?", {name: () for name in names}, (), (1, 2), 90)
    for number, name in enumerate(names):
        folder = tmp_path / "runs" / f"{name}_1"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"seed: {number}\nagent: {{lr: {number}, n: 2}}\n")
    for record in records:
        record["machine"] |= {"gymnasium": "1.2"}
    sentence = page.write(wanted, records, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert sentence.split(";")[0] in text
    assert "1 of 2" in text, "an unsolved run is not dropped"
    assert "&lt;Broken&gt; at 3" in text, "words of a run are shown, not executed"
    assert "agent.lr" in text
    assert "agent.n" not in text
    assert "<svg" in text
    assert "<script" not in text
    assert len(text) < 1_000_000
    assert json.loads((tmp_path / "report.json").read_text())["best"] == "sequential"
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["hogwild"].shape == (2, 1)


def test_failed_and_missing_runs_are_run_and_runs_of_other_rows_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        solved("sequential", 1, 40, 4000, 100),
        {**unsolved("hogwild", 1, 5, 1), "exit_code": 1, "log_tail": []},
        solved("dcollect", 1, 40, 4000, 100),
        solved("sequential", 9, 40, 4000, 100),
    ]
    for record in found:
        store.append("runs", record, tmp_path)
    seen: dict[str, list[str]] = {}

    def run_cells(missing: list[Cell], *_: object, **__: object) -> bool:
        seen["run"] = [cell.name for cell in missing]
        return True

    def write(_: Study, runs: list[Record], out: Path) -> str:
        seen["shown"] = [f"{record['variant']}_{record['seed']}" for record in runs]
        return "verdict"

    monkeypatch.setattr(comparison.study, "run_cells", run_cells)
    monkeypatch.setattr(comparison.page, "write", write)
    words = ["paradigm=sequential,hogwild", "seeds=1-2", "env=pendulum", f"out={tmp_path}"]
    assert comparison.main(words) == 0
    assert seen["run"] == ["hogwild_1", "sequential_2", "hogwild_2"]
    assert seen["shown"] == ["hogwild_1", "sequential_1"]


def test_runs_of_others_keep_their_commit_and_say_how_they_failed(tmp_path: Path) -> None:
    for name, ended in (("sequential", "budget"), ("hogwild", "error")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("seed: 4\nworkers: 2\n")
        result = {"paradigm": name, "stopped_by": ended, "seconds": 7.0, "threshold": 90.0}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "run.json").write_text(json.dumps({"commit": "f" * 40, "cores": 8}))
        (folder / "log.txt").write_text("12:00:00 it broke\n")
    words = comparison.read([f"runs={tmp_path}", "by=paradigm"])
    wanted, out, found = comparison.there(words)
    assert (list(wanted.variants), wanted.seeds, wanted.cap) == (["sequential", "hogwild"], (4,), 7)
    assert {record["commit"] for record in found} == {"f" * 9}
    assert {record["machine"]["cores"] for record in found} == {8}
    page.write(wanted, found, out)
    text = (out / "index.html").read_text()
    assert "12:00:00 it broke" in text and "8 cores" in text
    with pytest.raises(Wrong, match="by=nothing is no key"):
        comparison.there(comparison.read([f"runs={tmp_path}", "by=nothing"]))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_one_command_trains_and_goes_on_and_reads_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "compare.py", f"out={tmp_path}", "seeds=3", "env=pendulum"]
    command += ["paradigm=sequential,hogwild", "budget.env_steps=400", "budget.seconds=30"]
    command += ["evaluation.episodes=2", "evaluation.confirm_episodes=2", "workers=2", "warmup=100"]
    first = subprocess.run(command, cwd=cells.ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "0 of 2 runs are there" in first.stdout
    assert (tmp_path / "runs" / "hogwild_3" / "result.json").exists()
    again = subprocess.run(command, cwd=cells.ROOT, capture_output=True, text=True)
    assert "2 of 2 runs are there" in again.stdout
    (tmp_path / "index.html").unlink()
    words = comparison.read([f"runs={tmp_path / 'runs'}", "by=paradigm", f"out={tmp_path}"])
    wanted, out, found = comparison.there(words)
    assert list(wanted.variants) == ["sequential", "hogwild"]
    assert {record["seed"] for record in found} == {3}
    page.write(wanted, found, out)
    assert "hogwild" in (tmp_path / "index.html").read_text()
