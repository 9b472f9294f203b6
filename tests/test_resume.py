"""A run goes on exactly as if it had not been broken off, or says in a sentence why it does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import train
from conf import check
from conf.compose import compose
from conf.sentences import Wrong
from tests.test_train import QUICK, SMALL, here, result, spoken, weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # commands, one after another


def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path) -> None:
    every = ["checkpoint.every_env_steps=160", "evaluation.every_seconds=null"]
    here(tmp_path / "unbroken", *every)
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "unbroken", broken)
    last = sorted((broken / "checkpoints").iterdir())[1:]
    assert last, "there was no checkpoint on the way"
    for folder in last:
        shutil.rmtree(folder)
    (broken / "final.safetensors").unlink()
    here(broken, *every, f"resume={broken}")
    assert result(broken)["extra"]["resumed_at"] < 320
    assert weights(broken) == weights(tmp_path / "unbroken")


def test_resuming_a_run_with_nothing_left_to_do_is_refused(tmp_path: Path) -> None:
    here(tmp_path / "run")
    with pytest.raises(Wrong, match=r"add budget\.env_steps="):
        here(tmp_path / "again", f"resume={tmp_path / 'run'}")


def test_a_refused_resume_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    run = tmp_path / "run"
    here(run)
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(Wrong, match=r"add budget\.env_steps="):
        here(run, f"resume={run}")
    assert (run / "config.yaml").read_bytes() == before


def test_a_population_goes_on_with_all_its_members(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["paradigm=pbt", "paradigm.members=2", "paradigm.ready=64", "crew=inline"]
    words += ["paradigm.of=hogwild", "paradigm.search.lr={low:1e-4,high:1e-2,log:true}"]
    here(run, *words)
    before = result(run)
    assert before["extra"]["members_run"] == "hogwild"
    assert "2 members, runs of hogwild, each 2 workers x 1 env" in (run / "log.txt").read_text()
    with pytest.raises(Wrong, match=r"has paradigm\.members=2, and with these settings .* be 3"):
        here(run, *words, f"resume={run}", "budget.env_steps=640", "paradigm.members=3")
    here(run, *words, f"resume={run}", "budget.env_steps=640")
    assert result(run)["extra"]["resumed_at"] == before["env_steps"] >= 320
    assert result(run)["env_steps"] >= 640
    with pytest.raises(Wrong, match=r"paradigm\.ready cannot be changed .* leave it at 64"):
        check.command_line([f"resume={run}", "paradigm.ready=32"])


@pytest.mark.parametrize("other", ["num_envs=2", "agent.hidden_sizes=[32]"])
def test_a_run_that_does_not_fit_its_checkpoint_is_refused(other: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    here(run)
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    with pytest.raises(Wrong, match="leave out what changes that"):
        here(run, f"resume={run}", "budget.env_steps=640", other)
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    from paradigms.session.checkpoint import write

    run = tmp_path / "run"
    here(run)
    write(run / "checkpoints" / "step_000000009999", {"env_steps": 9999})
    with pytest.raises(Wrong, match="not one of this version"):
        here(run, f"resume={run}", "budget.env_steps=20000")


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    setup = compose(QUICK)
    check.values(setup)
    with train.build(setup, tmp_path, 0.0, first=False):
        with pytest.raises(Wrong, match="another run is going on"):
            here(tmp_path)
    here(tmp_path)


@pytest.mark.parametrize(
    ("why", "lifted", "first"),
    [
        (
            "solved",
            "stop_when_solved=false",
            ["stop_when_solved=true", "env.threshold=-1000", "budget.env_steps=100000"],
        ),
        ("budget", "budget.seconds=null", ["budget.seconds=1.5", "budget.env_steps=100000000"]),
    ],
)
def test_the_printed_resume_command_goes_on(
    why: str, lifted: str, first: list[str], tmp_path: Path
) -> None:
    often = ["evaluation.every_seconds=0", "evaluation.confirm_episodes=5", "logger=[]"]
    spoken(*SMALL, *first, *often, "hydra.run.dir=run", cwd=tmp_path)
    before, text = result(tmp_path / "run"), (tmp_path / "run" / "log.txt").read_text()
    assert before["stopped_by"] == why
    (line,) = [line for line in text.splitlines() if "go on:" in line]
    words = line.split("python train.py")[1].split()
    assert lifted in words
    little = f"budget.env_steps={before['env_steps'] + 64}"
    spoken(*(little if w.startswith("budget.env_steps=") else w for w in words), cwd=tmp_path)
    assert result(tmp_path / "run")["env_steps"] >= before["env_steps"] + 64
