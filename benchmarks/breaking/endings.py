"""Runs of train.py that lose a process which nobody replaces, or that diverge: each has to end by
itself, with the true cause and a checkpoint, and to leave nothing behind."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breaking import leftovers
from benchmarks.breaking.commands import Command, running

SECONDS_TO_END = 60.0  # a deadline against hanging, not a claim
KILLED = "was killed by SIGKILL"
ENDINGS: dict[str, tuple[str, str, str]] = {  # paradigm, role, and what result.json says of it
    "dcollect_learner": ("dcollect", "learner", f"role learner {KILLED}"),
    "dupdate_learner": ("dupdate", "learner", f"role learner {KILLED}"),
    "hogwild_fork_server": ("hogwild", "fork server", "the fork server died"),
    "dcollect_fork_server": ("dcollect", "fork server", "the fork server died"),
}
DIVERGING: dict[str, tuple[str, str, str]] = {  # paradigm, agent, cause
    "hogwild_gradients": ("hogwild", "Diverging", "10 steps in a row had a loss or a gradient"),
    "dcollect_gradients": (
        "dcollect",
        "Diverging",
        "10 steps in a row had a loss or a gradient",
    ),
    "dcollect_actions": ("dcollect", "Broken", "the policy of worker"),
}
QUIET = (
    "evaluation.every_seconds=null",
    "checkpoint.every_env_steps=null",
    "checkpoint.at_end=false",
)
OFTEN = ("evaluation.every_seconds=0.2", "evaluation.share=1")


def end(name: str, runs: int, seed: int) -> dict[str, Any]:
    """So many runs with an ending of ENDINGS or DIVERGING; seconds: of whole runs."""
    seconds = []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            begun, before = time.monotonic(), leftovers.shared_memory()
            if name in ENDINGS:
                paradigm, role, cause = ENDINGS[name]
                given = (role, 1, 1000 * seed + number)
                command = running(paradigm, Path(folder) / "it", *QUIET, given=given)
            else:
                paradigm, agent, cause = DIVERGING[name]
                target = f"agent._target_=benchmarks.breaking.diverging.{agent}"
                command = running(paradigm, Path(folder) / "it", *QUIET, target)
            with command as run:
                run.process.wait(SECONDS_TO_END)
                check(run, cause)
                leftovers.gone(run.environment)
            assert leftovers.shared_memory() <= before
            seconds.append(time.monotonic() - begun)
    return {"runs": runs, "seconds_p50": float(np.median(seconds)), "seconds_max": max(seconds)}


def check(run: Command, cause: str) -> None:
    """Asserts that a run has ended by this error, and kept what it had learned."""
    result = run.result()
    assert run.process.returncode == 1, run.said()
    assert result["stopped_by"] == "error" and cause in result["error"], result["error"]
    assert result["updates"] > 0
    assert run.saved(), "no checkpoint"
    assert (run.folder / "run" / "final.safetensors").exists()


def evaluator(kills: int, seed: int) -> dict[str, Any]:
    """One run whose evaluation process is killed so many times, and evaluates on each time."""
    with tempfile.TemporaryDirectory() as folder:
        begun, before = time.monotonic(), leftovers.shared_memory()
        given = ("evaluator", kills, seed)
        with running("hogwild", Path(folder) / "it", *OFTEN, given=given) as run:
            run.process.wait(4 * SECONDS_TO_END)
            result = run.result()
            assert run.process.returncode == 0, run.said()
            assert result["restarts"] == kills, result
            assert result["extra"]["evaluations"] > kills
            assert run.saved(), "no checkpoint"
            leftovers.gone(run.environment)
        assert leftovers.shared_memory() <= before
    return {"kills": kills, "wall_seconds": time.monotonic() - begun}
