"""A checkpoint is due when a multiple of its distance is passed; one that fails is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paradigms.base import Progress
from paradigms.session.checkpoint import Checkpoints
from paradigms.session.saving import CheckpointSchedule, resumed, shape_of
from paradigms.settings import Checkpointing
from tests.jobs import job

SHAPE = {"workers": 2, "num_envs": 1}


def progress(env_steps: int, state: Any = None) -> Progress:
    nothing: Any = None
    return Progress(
        env_steps, 0, 0, 1.5, {}, {}, nothing, lambda: {"n": env_steps, "state": state}, nothing
    )


def schedule(folder: Path, every: int | None, said: list[str], **others: Any) -> CheckpointSchedule:
    settings = Checkpointing(every_env_steps=every, at_end=True, keep=9)
    return CheckpointSchedule(
        folder, settings, SHAPE, lambda: {"more": 1}, say=said.append, **others
    )


def saved(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step_")) for path in folder.glob("step_*"))


def test_a_checkpoint_is_due_when_a_multiple_has_been_passed(tmp_path: Path) -> None:
    saves = schedule(tmp_path, 100, [], saved_at=130)
    for steps in (140, 199, 210, 250, 299, 300, 460):
        saves.save_if_due(progress(steps))
    assert saved(tmp_path) == [210, 300, 460]
    state = {"run": {"n": 460, "state": None}, "more": 1, "env_steps": 460, "seconds": 1.5}
    state |= {"shape": SHAPE}
    assert Checkpoints(tmp_path).newest() == state


def test_without_a_distance_none_is_written_on_the_way(tmp_path: Path) -> None:
    saves = schedule(tmp_path, None, [])
    saves.save_if_due(progress(10**9))
    assert saved(tmp_path) == []
    assert saves.save_at_last(progress(10**9)) == ""
    assert saved(tmp_path) == [10**9]


def test_a_state_that_cannot_be_saved_is_counted_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    saves = schedule(tmp_path, 100, said)
    saves.save_if_due(progress(100, state={1, 2}))
    assert said == [
        "the checkpoint could not be saved: run/state is a set, which no checkpoint can hold"
    ]
    saves.save_if_due(progress(110))
    assert (saves.failures, saved(tmp_path)) == (1, [])
    saves.save_if_due(progress(200))
    assert (saves.failures, saved(tmp_path)) == (1, [200])


def test_an_error_in_the_code_that_collects_the_state_is_not_hidden(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise TypeError("a mistake in a replay's save")

    nothing: Any = None
    with pytest.raises(TypeError, match="a mistake"):
        schedule(tmp_path, 100, []).save_if_due(
            Progress(100, 0, 0, 0.0, {}, {}, nothing, broken, nothing)
        )


def test_a_resumed_job_counts_its_seconds_on_and_has_no_journal() -> None:
    state = {"run": {"x": 1}, "env_steps": 64, "seconds": 10.0, "shape": SHAPE}
    before = job(started=1000.0, journal="journal.bin")
    after = resumed(before, state, "run", SHAPE)
    assert (after.started, after.journal, after.resume) == (990.0, None, {"x": 1})
    with pytest.raises(ValueError, match=r"add budget\.env_steps=2000"):
        resumed(before, {**state, "env_steps": 1000}, "run", SHAPE)


def test_a_job_of_another_shape_does_not_go_on() -> None:
    state = {"run": {}, "env_steps": 64, "seconds": 10.0, "shape": shape_of(job(workers=2), 100)}
    for other in (shape_of(job(workers=3), 100), shape_of(job(workers=2), 96)):
        with pytest.raises(ValueError, match="leave out what changes that"):
            resumed(job(workers=2), state, "run", other)
