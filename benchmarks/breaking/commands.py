"""Small runs of train.py in a process of their own, found again by a mark in the environment."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.breaking import leftovers
from paradigms.session.checkpoint import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
COMMON = (
    "env=pendulum",
    "workers=2",
    "budget.env_steps=1000000000",
    "agent.hidden_sizes=[32,32]",
    "checkpoint.every_env_steps=200",
    "evaluation.episodes=2",
    "evaluation.confirm_episodes=0",
    "logger=[]",
)
KEEPS = ("warmup=64", "rollout_length=16", "replay.batch_size=32", "replay.capacity=5000")
OWN = {"es": (), "pbt": (*KEEPS, "paradigm.members=2", "paradigm.ready=400")}
WITH_FAULTS = (
    "from benchmarks.breaking import inside; inside.install(*{given!r}); import train; train.main()"
)


class Command:
    """train.py with small settings, which runs in `folder`. given: what `inside.install` gets."""

    def __init__(self, paradigm: str, folder: Path, *overrides: str, given: Any = None) -> None:
        self.folder, self.environment = folder, leftovers.mark()
        self.environment["PYTHONPATH"] = str(ROOT)
        program = [str(ROOT / "train.py")]
        if given is not None:
            program = ["-c", WITH_FAULTS.format(given=given)]
        words = [f"paradigm={paradigm}", *COMMON, *OWN.get(paradigm, KEEPS), *overrides]
        words = [*{word.partition("=")[0]: word for word in words}.values()]  # the last one counts
        folder.mkdir(parents=True)
        with (folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *program, *words, f"hydra.run.dir={folder / 'run'}"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "run" / "checkpoints")

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "run" / "result.json").read_text())
        return found

    def saved(self) -> bool:
        """Whether there is a checkpoint; raises Damaged if none of those is whole."""
        return bool(self.checkpoints.names()) and bool(self.checkpoints.newest())

    def wait_for_a_checkpoint(self, most: float = 60.0) -> None:
        deadline = time.monotonic() + most
        while not self.checkpoints.names():
            assert time.monotonic() < deadline, f"no checkpoint in {most:.0f} s: {self.said()}"
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)

    def said(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")[-2000:]


@contextmanager
def running(*words: Any, **options: Any) -> Iterator[Command]:
    """A Command, which is killed, with all that came of it, where it has not ended."""
    command = Command(*words, **options)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()
