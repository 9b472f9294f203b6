"""How many more updates a second do two workers make than one process, on this machine?

Short runs of train.py on LunarLanderContinuous, the paradigms in turn, no evaluation. A second core
doubles the rate at best; what is lost is shared cache, waiting and merging.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, rounds
from benchmarks.rounds import Side
from benchmarks.studies import QUIET

COMMON = (
    "env=lander",
    "workers=2",
    "warmup=1000",
    "evaluation.every_seconds=null",
    "evaluation.confirm_episodes=0",
    *QUIET,
)


def bench_two_workers_against_sequential(
    benchmark: Any, quick: bool, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_steps = 1_300 if quick else 5_000
    sides = {
        paradigm: updates_per_second(tmp_path / paradigm, paradigm, env_steps)
        for paradigm in ("sequential", "hogwild", "dupdate", "dcollect")
    }
    rates = benchmark.pedantic(partial(rounds.interleave, sides, 1 if quick else 5), rounds=1)
    question = "Updates a second with two workers, against one process."
    said = rounds.keep(results, "parallel", question=question, unit="updates/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def updates_per_second(folder: Path, paradigm: str, env_steps: int) -> Side:
    """A side that runs train.py once and reads `updates_per_second` of its result."""

    def side() -> float:
        overrides = (f"paradigm={paradigm}", f"budget.env_steps={env_steps}", *COMMON)
        subprocess.run(
            [sys.executable, "train.py", *overrides, f"hydra.run.dir={folder}"],
            cwd=cells.ROOT,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        return float(json.loads((folder / "result.json").read_text())["updates_per_second"])

    return side
