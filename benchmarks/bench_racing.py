"""How many control steps a second does the racing world make in one process?

The published system reports 8.7 (Learn-to-Race's simulator runs in real time, ten steps a second).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import rounds
from envs.racing.world import Race
from paradigms.runtime import machine

TRACK = "chicane"


def bench_racing_steps(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.prepare()
    steps = 5 if quick else 400
    sides = {
        "1 car": rounds.rate(drive(1, steps)),
        "64 cars": rounds.rate(drive(64, steps)),
        "256 cars": rounds.rate(drive(256, steps)),
        "1 car, camera": rounds.rate(drive(1, steps, observation="camera")),
        "64 cars, camera": rounds.rate(drive(64, steps // 4, observation="camera")),
    }
    rates = benchmark.pedantic(partial(rounds.interleave, sides, 1 if quick else 7), rounds=1)
    question = (
        "Control steps a second of the racing world in one process, a tenth of a second each."
    )
    said = rounds.keep(results, "racing", question=question, unit="env steps/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def drive(cars: int, steps: int, **options: Any) -> Callable[[], float]:
    """So many vector steps with random actions, in episodes as training has them."""
    world = Race(num_envs=cars, track=TRACK, start="anywhere", **options)
    world.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, cars, 2)).astype(np.float32)

    def work() -> float:
        for action in actions:
            world.step(action)
        return float(steps * cars)

    return work
