"""Studies, with a small program in the place of train.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from agents.encoders.trained import Trained
from agents.encoders.vae import VAE
from benchmarks import cells, memory, store, study
from benchmarks.plans import Cell, Study
from benchmarks.studies import ENCODER, STUDIES
from conf import check, encoders

pytestmark = pytest.mark.slow
CIRCUITS = ("thruxton", "anglesey")

PROGRAM = """
import json, os, pathlib, signal, struct, sys, time
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"])
(folder / "config.yaml").write_text(f"seed: {given['seed']}\\nname: {given['name']}\\n"
    "evaluation: {confirm_episodes: 100}\\n")
if given["name"] == "broken":
    sys.exit("agent.lr must be a number")
if given["name"] == "endless":
    child = os.fork()
    (folder / "pids").write_text(f"{os.getpid()} {child}") if child else None
    time.sleep(3600)
lines = [{"kind": "train", "env_steps": 5}]
for i in range(100):
    point = {"seconds": 1.25 * (i + 1), "env_steps": 10 * (i + 1), "updates": i}
    lines += [{"kind": "evaluation", "mean": i, "std": 2, **point}]
(folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
weights = {"floats": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}
header = json.dumps(weights).encode()
data = struct.pack("<Q", len(header)) + header + struct.pack("<3f", 0.5, 0.5, 0.5)
(folder / "final.safetensors").write_bytes(data)
about = {"updates": 5, "agent": {"lr": 1}, "env": {"id": "toy"}}
(folder / "final.json").write_text(json.dumps(about))
result = {"stopped_by": "budget", "solved": False, "seconds_to_threshold": None, "seconds": 2.0}
result |= {"final_return": -2.5, "updates_to_threshold": 49}
(folder / "result.json").write_text(json.dumps(result))
"""


def make_study(tmp_path: Path, *names: str, cap: float = 30, policies: bool = False) -> Study:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return Study(
        question="Does it run?",
        variants={name: (f"name={name}",) for name in names},
        common=("env=toy",),
        seeds=(1, 2),
        cap=cap,
        margin=0,
        packable=True,
        policies=policies,
        program=(str(program),),
    )


def run(some: Study, tmp_path: Path, **options: int) -> bool:
    results, folders = tmp_path / "results", tmp_path / "runs"
    missing = some.cells("toy")
    return study.run_cells(missing, some, results=results, folders=folders, **options)


def test_a_record_holds_the_result_the_curve_and_where_both_came_from(tmp_path: Path) -> None:
    assert run(make_study(tmp_path, "a", policies=True), tmp_path)
    record = store.load("toy", tmp_path / "results")[0]
    assert record["overrides"] == "name=a env=toy seed=1"
    assert record["result"]["stopped_by"] == "budget"
    assert record["result"]["worst_after_threshold"] == 50
    assert record["spacing"] == 1.25
    assert len(record["curve"]["mean"]) == cells.POINTS
    assert [record["curve"][key][0] for key in cells.CURVE] == [1.25, 10, 0, 0]
    assert [record["curve"][key][-1] for key in cells.CURVE] == [125, 1000, 99, 99]
    assert record["machine"]["cores"] >= 1
    assert record["machine"]["torch"]
    assert len(record["config_hash"]) == 12
    assert record["policy"] == {"which": "final", "mean": -2.5, "episodes": 100, "std": 2}
    floats, about = store.load_policies("toy", tmp_path / "results")["a_1"]
    assert floats.tolist() == [0.5] * 3
    assert about == {"agent": {"lr": 1}, "env": {"id": "toy"}}


def test_the_hash_of_a_configuration_leaves_the_seed_out(tmp_path: Path) -> None:
    assert run(make_study(tmp_path, "a", "b"), tmp_path, pack=2)
    a1, a2, b1, _ = store.load("toy", tmp_path / "results")
    assert a1["config_hash"] == a2["config_hash"] != b1["config_hash"]


def test_every_variant_has_its_first_seed_before_any_has_a_second(tmp_path: Path) -> None:
    names = [cell.name for cell in make_study(tmp_path, "a", "b").cells("toy")]
    assert names == ["a_1", "b_1", "a_2", "b_2"]


def test_only_missing_cells_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = make_study(tmp_path, "a", "broken")
    monkeypatch.setitem(STUDIES, "toy", some)
    results = tmp_path / "results"
    assert run(some, tmp_path)

    def missing(**options: object) -> list[str]:
        return [cell.name for cell in study.find_missing("toy", results=results, **options)]

    assert missing() == []
    assert missing(again=True) == ["broken_1", "broken_2"]
    lines = (results / "toy.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"variant": "a", "seed": 2' not in line]
    (results / "toy.jsonl").write_text("".join(f"{line}\n" for line in kept))
    assert missing() == ["a_2"]
    assert missing(only=["name=broken"]) == []
    assert missing(seeds=[7], only=["a"]) == ["a_7"]


def test_a_cell_that_fails_is_stored_with_the_end_of_its_log(tmp_path: Path) -> None:
    assert run(make_study(tmp_path, "broken"), tmp_path)
    record = store.load("toy", tmp_path / "results")[0]
    assert cells.failed(record)
    assert record["log_tail"] == ["agent.lr must be a number"]
    assert "FAILED with exit code 1: agent.lr must be a number" in study.summary(record)


def test_a_cell_over_its_time_is_killed_with_its_children(tmp_path: Path) -> None:
    some = make_study(tmp_path, "endless", cap=1)
    cell = some.cells("toy")[0]
    assert study.run_cells([cell], some, results=tmp_path / "r", folders=tmp_path / "runs")
    assert store.load("toy", tmp_path / "r")[0]["exit_code"] == -signal.SIGKILL
    for pid in (tmp_path / "runs" / "toy" / "endless_1" / "pids").read_text().split():
        assert not _alive(int(pid))


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of nohup ignores it
from conf.sentences import command
from tests.benchmarks.test_study import make_study, run
folder = Path(sys.argv[1])
command("", lambda _: run(make_study(folder, "endless"), folder))
"""


def endless(tmp_path: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A command whose study runs a cell that never ends, and the file of the cell's pids."""
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=cells.ROOT)
    pids = tmp_path / "runs" / "toy" / "endless_1" / "pids"
    _until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    return parent, pids


def test_a_study_that_is_killed_takes_its_run_with_it(tmp_path: Path) -> None:
    parent, pids = endless(tmp_path)
    program, child = map(int, pids.read_text().split())
    try:
        parent.kill()
        parent.wait()
        _until(lambda: not _alive(program))
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_and_no_half_cell(tmp_path: Path, number: int) -> None:
    parent, pids = endless(tmp_path)
    parent.send_signal(number)
    assert parent.wait(30) == 0  # run_cells returned False
    assert store.load("toy", tmp_path / "results") == []
    for pid in pids.read_text().split():
        assert not _alive(int(pid))


def test_the_memory_of_a_run_is_that_of_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SECONDS_BETWEEN_LOOKS", 0.0)
    mine = memory.held(os.getsid(0))
    assert mine >= memory.proportional(Path("/proc/self/smaps_rollup")) > 10**7
    some = make_study(tmp_path, "endless", cap=1)
    assert study.run_cells(some.cells("toy")[:1], some, results=tmp_path / "r", folders=tmp_path)
    record = store.load("toy", tmp_path / "r")[0]
    assert 10**6 < record["memory"] < 10**8


def test_a_row_may_have_a_program_of_its_own() -> None:
    some = Study(
        question="?",
        variants={"ours": (), "theirs": ()},
        common=(),
        seeds=(1,),
        cap=1,
        programs={"theirs": ("-m", "theirs")},
    )
    assert [cell.program for cell in some.cells("toy")] == [("train.py",), ("-m", "theirs")]


def test_wall_clock_studies_are_not_packed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["mcar", "--pack", "2"])
    assert "the figures of mcar are wall-clock times" in capsys.readouterr().err


def test_seeds_are_ranges_and_lists() -> None:
    assert study.parse_seeds("100-102,7") == [100, 101, 102, 7]


def test_every_study_has_distinct_cells_and_no_tuning_seed() -> None:
    for name, some in STUDIES.items():
        found: list[Cell] = some.cells(name)
        assert len({cell.name for cell in found}) == len(found)
        assert all(cell.seed >= 100 for cell in found)


def test_train_accepts_every_override_of_a_study(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Where EnvPool is not installed, so would it be with Gymnasium's engine; where l2r is not,
    with an oval; where ale-py is not, with a toy that shows pictures. The autoencoder is one that
    has learned nothing."""
    others = {} if find_spec("l2r") else {f"track={c}": "track=oval" for c in CIRCUITS}
    others |= {} if find_spec("ale_py") else {"env=breakout": "env=drift"}
    made = tmp_path / "made.safetensors"
    vae = VAE((64, 64, 1), 32, generator=torch.Generator().manual_seed(0))
    encoders.write(made, Trained.of(vae, str(made)), {})
    others |= {ENCODER: str(made)}
    for name in STUDIES:
        with subtests.test(name):
            lacking, seen = find_spec("envpool") is None, set[str]()
            for cell in STUDIES[name].cells(name, seeds=[100]):
                if cell.program != ("train.py",):
                    continue
                words = {w for w in cell.overrides if not (lacking and w == "env.engine=envpool")}
                for one, other in others.items():
                    words = {w.replace(one, other) for w in words}
                if not words <= seen:
                    assert check.command_line(sorted(words))
                seen |= words


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _until(ready: object, seconds: float = 30) -> None:
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        os.sched_yield()
