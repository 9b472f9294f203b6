"""The main process of train.py, killed by SIGKILL at random moments: while it starts, and while it
trains. Everything that came of it has to be gone at once, and its last checkpoint to be whole."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.breaking import leftovers
from benchmarks.breaking.commands import running

PARADIGMS = ("dcollect", "dupdate", "hogwild", "allreduce", "gorila", "es", "pbt")
LONGEST_START, LONGEST_TRAINING = 3.0, 2.0  # seconds; the latter from the first checkpoint on


def kill(paradigm: str, draws: random.Random, *, training: bool) -> tuple[float, bool]:
    """One run that is killed: the seconds until everything was gone, and whether it had saved."""
    before = leftovers.shared_memory()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(paradigm, Path(folder) / "it") as run,
    ):
        if training:
            run.wait_for_a_checkpoint()
        time.sleep(draws.uniform(0.0, LONGEST_TRAINING if training else LONGEST_START))
        assert run.process.poll() is None, run.said()
        run.process.kill()
        run.process.wait()
        seconds = leftovers.gone(run.environment)
        saved = run.saved()
    assert saved or not training
    assert leftovers.shared_memory() <= before
    return seconds, saved


def kills(paradigm: str, count: int, seed: int) -> dict[str, Any]:
    """So many runs that are killed, every other one in training."""
    gone, saved = [], 0
    for number in range(count):
        draws = random.Random(f"main {paradigm} {seed} {number}")
        seconds, whole = kill(paradigm, draws, training=bool(number % 2))
        gone.append(seconds)
        saved += whole
    return {"kills": count, "gone_max": max(gone), "checkpoints": saved}
