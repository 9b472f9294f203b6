"""What a run says on a terminal, in a pipe, and in its files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.base import Progress, Snapshot
from paradigms.session import log as logs
from paradigms.session.evaluator import EvaluationResult
from paradigms.session.log import Log, forget_after, summary
from paradigms.session.outcome import SolveTracker
from paradigms.session.sinks import Run, Sinks, TensorBoard


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(logs.time, "monotonic", clock.monotonic)
    yield clock


def progress(steps: int, seconds: float, **metrics: float) -> Progress:
    named = {k if "/" in k else k.replace("_", "/"): value for k, value in metrics.items()}
    nothing: Any = None
    return Progress(steps, steps // 2, steps // 10, seconds, named, {}, nothing, nothing, nothing)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_averaged_and_written_at_most_once_a_second(
    tmp_path: Path, clock: Clock
) -> None:
    log = Log(tmp_path, env_steps=1000, stream=io.StringIO())
    for i in range(1, 31):
        clock.now = i / 10
        log.progress(progress(10 * i, i / 10, episode_return=float(i)))
    log.close()
    written = rows(tmp_path)
    assert [row["env_steps"] for row in written] == [100, 200, 300]
    assert [row["episode/return"] for row in written] == [5.5, 15.5, 25.5]
    assert written[-1]["speed/env_steps_per_second"] == pytest.approx(100)
    assert written[-1]["speed/updates_per_second"] == pytest.approx(50)
    assert {row["kind"] for row in written} == {"metrics"}


def test_a_pipe_gets_a_plain_line_every_five_seconds(tmp_path: Path, clock: Clock) -> None:
    stream = io.StringIO()
    log = Log(tmp_path, env_steps=10_000, stream=stream)
    for i in range(1, 13):
        clock.now = float(i)
        log.progress(progress(100 * i, i, episode_return=-3.0, **{"policy_lag/mean": 2.0}))
    log.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "500 of 10,000 env steps" in lines[0]
    assert "100 steps/s  50 updates/s  return -3.0  policy lag 2.0 updates  1:35 left" in lines[0]
    assert "\x1b" not in stream.getvalue()
    assert "500 of 10,000" in (tmp_path / "log.txt").read_text()


def test_the_time_left_is_the_nearer_of_both_budgets(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path, env_steps=10**6, seconds=60.0, stream=io.StringIO())
    for i in (1, 2, 3):
        clock.now = float(i)
        log.progress(progress(100 * i, i))
    assert log.status(progress(300, 3.0)).endswith("0:57 left")
    log.close()


def test_an_evaluation_is_a_line_with_every_return(tmp_path: Path) -> None:
    log = Log(tmp_path, env_steps=1000, stream=io.StringIO())
    snapshot = Snapshot("evaluate", torch.zeros(1), torch.zeros(1), 7, 70, 3, 7, 1.25)
    log.evaluation(EvaluationResult(snapshot, np.array([1.0, 3.0]), np.array([5, 6])))
    log.close()
    (row,) = rows(tmp_path)
    expected = {"kind": "evaluation", "seconds": 1.25, "env_steps": 70, "updates": 7, "mean": 2.0}
    assert expected.items() <= row.items()
    assert row["returns"] == [1.0, 3.0]
    assert row["lengths"] == [5, 6]


def test_what_is_not_finite_does_not_break_the_file(tmp_path: Path, clock: Clock) -> None:
    log = Log(tmp_path, env_steps=1000, stream=io.StringIO())
    clock.now = 2.0
    log.progress(progress(10, 2.0, loss_critic=float("nan"), q_mean=1.0))
    log.close()
    (row,) = rows(tmp_path)
    assert "loss/critic" not in row
    assert row["q/mean"] == 1.0


def test_tensorboard_gets_the_same_scalars(tmp_path: Path, clock: Clock) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sinks = Sinks({"tensorboard": TensorBoard()})
    sinks.start(Run(tmp_path))
    log = Log(tmp_path, env_steps=1000, sinks=sinks, stream=io.StringIO())
    for i in (1, 2):
        clock.now = 2.0 * i
        log.progress(progress(100 * i, clock.now, episode_return=float(i)))
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    scalars = events.Scalars("episode/return")
    assert [(s.step, s.value) for s in scalars] == [(100, 1.0), (200, 2.0)]


def test_a_resumed_run_forgets_what_it_does_again(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"env_steps": n}) for n in (10, 20, 30)]
    broken = ['{"env_st', "[1]", '{"env_steps": null}']
    file.write_bytes("\n".join([*lines, *broken]).encode() + b"\n\xff\n")
    assert forget_after(file, 20) == 4, "lines that are none"
    assert [row["env_steps"] for row in rows(tmp_path)] == [10, 20]


def result(**changes: Any) -> dict[str, Any]:
    made = SolveTracker(100.0, 0.0).result({"env_steps": 5000, "updates": 400})
    return {**made, "seconds": 12.0, "stopped_by": "budget", **changes}


def test_the_summary_says_what_one_wants_to_know() -> None:
    text = "\n".join(summary(result()))
    assert "12.0 s, 5,000 env steps and 400 updates" in text
    assert "Not solved: the threshold of 100 was not reached." in text
    solved = {"solved": True, "seconds_to_threshold": 9.5, "env_steps_to_threshold": 3000}
    returns = {"confirmed_return": 110.0, "best_return": 120.0, "final_return": 90.0}
    text = "\n".join(summary(result(**solved, **returns, retention=0.75)))
    assert "Solved after 9.5 s and 3,000 env steps (threshold 100, confirmed 110.0)." in text
    assert "Return: 90.0 at the end, 120.0 at best, 75 % kept." in text
    text = "\n".join(summary(result(confirmed_return=95.0)))
    assert "not confirmed, the candidate had 95.0." in text


@pytest.mark.parametrize("resumed_at", [None, 50])
def test_means_are_over_everything_since_the_last_line(
    resumed_at: int | None, tmp_path: Path, clock: Clock
) -> None:
    """Episode i returns i; the progress after episode i says so however often it comes."""
    log = Log(tmp_path, env_steps=1000, stream=io.StringIO(), resumed_at=resumed_at)
    for i in range(1, 21):
        clock.now = i / 10
        means = {"episode/return": (i * (i + 1) / 2, i), "policy_lag/mean": (0.0, 0)}
        for _ in range(1 + i % 3):
            log.progress(replace(progress(10 * i, i / 10), means=means))
    log.close()
    first, second = rows(tmp_path)
    assert first["episode/return"] == np.mean(range(2 if resumed_at else 1, 11))
    assert second["episode/return"] == np.mean(range(11, 21))
    assert "policy_lag/mean" not in first
