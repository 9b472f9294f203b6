"""A run's folder says who the run was, and a damaged one is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from paradigms.base import Snapshot
from paradigms.session.checkpoint import Checkpoints, Damaged
from paradigms.session.folder import WRITTEN, RunFolder, choices_of
from paradigms.session.policy import load_policy

CONFIG = {"agent": {"lr": 1.0}, "env": {"id": "X-v0"}, "seed": 3, "workers": 2}
CHOICES = {"agent": "sac", "env": "x", "paradigm": "sequential"}


def test_the_choices_of_a_run_are_found_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, config=CONFIG, choices=CHOICES)
    assert choices_of(tmp_path) == {}
    folder.describe()
    assert choices_of(tmp_path) == CHOICES
    assert {"command", "commit", "python", "torch"} <= json.loads(
        (tmp_path / "run.json").read_text()
    ).keys()


def test_a_damaged_run_json_is_refused_in_a_sentence(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for text in ["", "{", "[]", "{}", '{"choices": 3}', "[" * 100_000, "\xff"]:
        with subtests.test(text[:9]):
            (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
            with pytest.raises(Damaged, match=r"run\.json is damaged"):
                choices_of(tmp_path)


def test_a_policy_is_kept_with_what_rebuilds_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, config=CONFIG, choices=CHOICES)
    folder.keep("best", Snapshot("evaluate", torch.ones(4), torch.tensor([1]), 1), 12.5)
    _, about = load_policy(tmp_path / "best.safetensors")
    assert (about["agent"], about["env"], about["seed"]) == ({"lr": 1.0}, {"id": "X-v0"}, 3)
    assert (about["which"], about["evaluated"], about["choices"]) == ("best", 12.5, CHOICES)
    assert "workers" not in about


def test_one_run_at_a_time_is_in_a_folder(tmp_path: Path) -> None:
    first, second = (RunFolder(tmp_path, config=CONFIG, choices=CHOICES) for _ in range(2))
    first.lock()
    with pytest.raises(ValueError, match="another run is going on"):
        second.lock()
    first.release()
    second.lock()
    second.release()


def test_a_folder_with_the_checkpoints_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, config=CONFIG, choices=CHOICES)
    folder.for_a_run(None)
    Checkpoints(folder.checkpoints).save({}, 100)
    folder.for_a_run(str(tmp_path))
    for resumed in (None, str(tmp_path / "other")):
        with pytest.raises(ValueError, match=f"go on with that one by resume={tmp_path}"):
            folder.for_a_run(resumed)


def test_the_lock_dies_with_its_owner(tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        RunFolder(tmp_path, config=CONFIG, choices=CHOICES).lock()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    RunFolder(tmp_path, config=CONFIG, choices=CHOICES).lock()


def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        RunFolder(Path("/proc/self"), config=CONFIG, choices=CHOICES).lock()


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_written_through_a_link_or_into_a_pipe(name: str, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    for make in (lambda: (run / name).symlink_to(elsewhere), lambda: os.mkfifo(run / name)):
        make()
        with pytest.raises(ValueError, match=f"{name} is a link or no file"):
            RunFolder(run, config=CONFIG, choices=CHOICES).lock()
        (run / name).unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not list(run.iterdir())


def test_a_policy_that_is_kept_goes_through_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    for name in ("best.safetensors.new", "best.json.partial", "best.safetensors", "best.json"):
        (tmp_path / name).symlink_to(elsewhere)
    folder = RunFolder(tmp_path, config=CONFIG, choices=CHOICES)
    folder.keep("best", Snapshot("evaluate", torch.ones(4), torch.tensor([1]), 1), 12.5)
    assert elsewhere.read_text() == "mine"
    assert load_policy(tmp_path / "best.safetensors")[0].version == 1
