"""From the command line to a run's folder: it ends well, stops on a signal, and goes on."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import train
from conf import check
from conf.compose import compose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # commands, one after another

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "env=identity",
    "warmup=64",
    "budget.env_steps=320",
    "agent.hidden_sizes=[16,16]",
    "replay.batch_size=16",
    "replay.capacity=1000",
    "evaluation.confirm_episodes=20",
]
QUICK = [*SMALL, "evaluation.where=inline", "logger=[]", "journal=false"]
KEYS = """
paradigm agent env seed workers device stopped_by error threshold solved seconds_to_threshold
env_steps_to_threshold episodes_to_threshold updates_to_threshold confirmed_return best_return
final_return random_return retention share_above_threshold seconds env_steps episodes updates
updates_per_env_step env_steps_per_second updates_per_second episode_length_mean policy_lag_mean
policy_lag_max replay_age_mean learner_busy actor_blocked time_by_role bytes_moved merges restarts
dropped duplicated torn late lost skipped env_errors metrics extra
""".split()


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def spoken(*arguments: str, cwd: Path) -> str:
    run = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def here(folder: Path, *overrides: str) -> dict[str, Any]:
    """The same run in this process, without Hydra's part; what result.json says."""
    setup = compose([*QUICK, *overrides])
    check.values(setup)
    folder.mkdir(parents=True, exist_ok=True)
    with train.build(setup, folder, 0.0, first=False) as session:
        train.train(session)
    return result(folder)


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def weights(folder: Path) -> list[float]:
    return load_file(folder / "final.safetensors")["floats"].tolist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run's folder, and what it said."""
    home = tmp_path_factory.mktemp("whole")
    return home / "run", spoken(*SMALL, "seed=1", "hydra.run.dir=run", cwd=home)


def test_a_run_leaves_everything_in_its_folder(whole: tuple[Path, str]) -> None:
    folder, said = whole
    there = result(folder)
    assert sorted(there) == sorted(KEYS)
    assert (there["paradigm"], there["agent"], there["env"]) == ("sequential", "sac", "identity")
    assert (there["stopped_by"], there["error"], there["seed"]) == ("budget", None, 1)
    assert there["env_steps"] >= 320
    assert there["updates_per_env_step"] == pytest.approx(1.0, abs=0.05)
    assert there["final_return"] is not None
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "run.json", "log.txt", "metrics.jsonl", "checkpoints"} <= names
    assert {"final.safetensors", "final.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert json.loads((folder / "run.json").read_text())["command"].startswith("train.py env=")
    assert "processes: main, evaluator" in said
    assert "stopped because its budget was spent" in said.lower()


def test_the_printed_evaluation_command_plays_the_policy(whole: tuple[Path, str]) -> None:
    folder, said = whole
    (line,) = [line for line in said.splitlines() if "evaluate:" in line]
    words = line.split("evaluate:")[1].split()
    assert ("video=true" in words) == (importlib.util.find_spec("imageio_ffmpeg") is not None)
    words = [word for word in words if word != "video=true"]  # this env draws no pictures
    assert words[:2] == ["python", "evaluate.py"]
    words[:2] = [sys.executable, str(ROOT / "evaluate.py")]
    run = subprocess.run(words, cwd=folder.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "over 20 episodes" in run.stdout


def test_a_seed_gives_the_same_weights_in_a_multirun_alone_and_within_a_program(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    spoken("-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    first, second = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert (first.name, second.name) == ("0_sequential_identity_s0", "1_sequential_identity_s1")
    here(tmp_path / "third", "seed=1")
    assert weights(second) == weights(whole[0]) == weights(tmp_path / "third")
    assert weights(first) != weights(second)
    assert result(second)["seconds"] < 30


@pytest.mark.parametrize("paradigm", ["sequential", "dcollect"])
def test_ctrl_c_saves_and_stops_and_the_run_goes_on_from_there(
    paradigm: str, tmp_path: Path
) -> None:
    long = [*SMALL, f"paradigm={paradigm}", "budget.env_steps=100000000", "logger=[]"]
    long += [
        "env.threshold=-1000",
        "evaluation.every_seconds=0",
    ]  # so that it speaks when it learns
    run = subprocess.Popen(
        command(*long, "hydra.run.dir=run"), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout is not None
        said = []
        for line in run.stdout:
            said.append(line)
            if "(1 of 3 in a row)" in line:
                run.send_signal(signal.SIGINT)
                break
        said += list(run.stdout)
    assert run.returncode == 128 + signal.SIGINT, "".join(said)
    folder = tmp_path / "run"
    stopped = result(folder)
    assert stopped["stopped_by"] == "signal"
    assert stopped["updates"] > 0

    spoken(
        f"resume={folder}",
        f"budget.env_steps={stopped['env_steps'] + 64}",
        "evaluation.every_seconds=null",
        cwd=tmp_path,
    )
    gone_on = result(folder)
    assert gone_on["stopped_by"] == "budget"
    assert gone_on["paradigm"] == paradigm
    assert gone_on["extra"]["resumed_at"] == stopped["env_steps"]
    assert stopped["env_steps"] + 64 <= gone_on["env_steps"] < stopped["env_steps"] + 640
    assert gone_on["updates"] > stopped["updates"]
    assert gone_on["seconds"] > stopped["seconds"]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    steps = [line["env_steps"] for line in logged if line["kind"] == "metrics"]  # others come late
    assert steps == sorted(steps)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_saves_and_stops_the_run(
    number: signal.Signals, tmp_path: Path
) -> None:
    long = [*SMALL, "paradigm=dcollect", "budget.env_steps=100000000", "logger=[]"]
    run = subprocess.Popen(
        command(*long, "env.threshold=-1000", "evaluation.every_seconds=0", "hydra.run.dir=run"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with run:
        assert run.stdout is not None
        for line in run.stdout:
            if "(1 of 3 in a row)" in line:
                os.killpg(run.pid, number)
                break
        said = run.stdout.read()
    assert run.returncode == 128 + number, said
    assert result(tmp_path / "run")["stopped_by"] == "signal"
    assert any((tmp_path / "run" / "checkpoints").iterdir())


def test_a_run_is_reproduced_to_the_same_bits_or_refused(tmp_path: Path) -> None:
    def reproduced() -> tuple[int, str]:
        words = [sys.executable, str(ROOT / "reproduce.py"), "run=run"]
        run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr

    wiring = ["paradigm=dupdate", "workers=2", "logger=[]", "evaluation.every_seconds=null"]
    spoken(*SMALL, *wiring, "hydra.run.dir=run", cwd=tmp_path)
    code, said = reproduced()
    assert (code, "updates executed again: the same bits" in said) == (0, True), said
    journal = tmp_path / "run" / "journal.bin"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: -len(whole) // 4])
    code, said = reproduced()
    assert (code, "its journal is not whole" in said) == (2, True), said
    journal.write_bytes(whole)
    spoken("resume=run", "budget.env_steps=400", cwd=tmp_path)
    code, said = reproduced()
    assert (code, "was resumed" in said) == (2, True), said


def test_a_run_goes_on_when_nobody_reads_its_output(tmp_path: Path) -> None:
    run = subprocess.Popen(
        command(*SMALL, "logger=[]", "hydra.run.dir=run"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()
        run.stdout.close()
        complaints = run.stderr.read()
    assert (run.returncode, complaints) == (0, "")
    assert result(tmp_path / "run")["stopped_by"] == "budget"
    assert "Stopped because its budget was spent" in (tmp_path / "run" / "log.txt").read_text()


def test_a_second_signal_ends_at_once_with_a_result_and_without_a_checkpoint(
    tmp_path: Path,
) -> None:
    run = subprocess.Popen(
        command(*SMALL, "budget.env_steps=100000000", "hydra.run.dir=run", "logger=[]"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("processes"):
                break
        os.kill(run.pid, signal.SIGTERM)
        os.kill(run.pid, signal.SIGHUP)  # another one: two of a kind may come as one
        run.stdout.read()
    assert run.returncode in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    assert result(tmp_path / "run")["stopped_by"] == "signal"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_better_final_policy_is_kept_as_the_best(tmp_path: Path) -> None:
    from paradigms.session.policy import load_policy

    once = ["evaluation.every_seconds=0", "evaluation.share=1e-9"]  # after the first updates
    there = here(tmp_path / "run", *once)
    assert there["extra"]["evaluations"] == 1
    assert there["best_return"] == there["final_return"]
    best, about = load_policy(tmp_path / "run" / "best.safetensors")
    assert best.updates == there["updates"]
    assert about["evaluated"] == there["final_return"]


def test_a_run_stops_when_its_env_is_solved(tmp_path: Path) -> None:
    always = ["env.threshold=-1000", "evaluation.every_seconds=0", "stop_when_solved=true"]
    solved = here(tmp_path / "run", *always, "budget.env_steps=100000")
    assert (solved["stopped_by"], solved["solved"]) == ("solved", True)
    assert solved["env_steps"] < 1000
    assert solved["env_steps_to_threshold"] <= solved["env_steps"]
    assert solved["extra"]["evaluations"] == 3
    assert (tmp_path / "run" / "solving.safetensors").exists()


def test_evaluation_takes_the_given_share_of_a_core(tmp_path: Path) -> None:
    def evaluations(share: float) -> int:
        often = ["evaluation.every_seconds=0", f"evaluation.share={share}"]
        return here(tmp_path / f"{share}", *often)["extra"]["evaluations"]

    assert evaluations(1) > 5  # as often as the loop turns
    assert evaluations(1e-9) == 1  # the second would wait for hours


def test_a_run_stops_when_its_seconds_are_over(tmp_path: Path) -> None:
    stopped = here(tmp_path / "run", "budget.seconds=0.5", "budget.env_steps=100000000")
    assert stopped["stopped_by"] == "budget"
    assert stopped["env_steps"] < 1_000_000


def test_sequential_has_one_worker_whatever_the_number_given(tmp_path: Path) -> None:
    alone = here(tmp_path / "run", "paradigm=sequential", "workers=3")
    assert alone["workers"] == 1
    assert "1 worker x" in (tmp_path / "run" / "log.txt").read_text()
