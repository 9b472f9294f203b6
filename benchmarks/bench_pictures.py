"""What do pictures cost? Env steps a second of one process, with random actions of four steps."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import rounds
from envs.make import make_env
from envs.uniform import draw
from paradigms.runtime import machine

REPEAT = 4
ATARI: Mapping[str, Any] = {"kwargs": {"game": "breakout"}, "action_repeat": REPEAT, "stack": 4}


def bench_carracing_steps(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.prepare()
    actions = 3 if quick else 100
    sides = {
        "CarRacing-v3, every step drawn": stepping("CarRacing-v3", actions, action_repeat=REPEAT),
        "env=carracing": stepping("paceline/CarRacing-v0", actions, action_repeat=REPEAT, stack=4),
    }
    question = "Env steps a second of CarRacing, of which an action lasts four."
    measure(benchmark, "carracing", question, sides, quick, results, capsys)


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="needs paceline[atari]")
def bench_breakout_frames(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.prepare()
    actions = 3 if quick else 400
    sides = {
        "ale-py in C++, 4 games": in_cpp(4, actions),
        "env=breakout, 4 games": stepping("paceline/Atari-v0", actions, num_envs=4, **ATARI),
        "env=breakout": stepping("paceline/Atari-v0", actions, **ATARI),
    }
    question = "Frames a second of Breakout, of which an action lasts four."
    measure(benchmark, "breakout", question, sides, quick, results, capsys)


def measure(
    benchmark: Any,
    suite: str,
    question: str,
    sides: Mapping[str, Callable[[], float]],
    quick: bool,
    results: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    timed = {name: rounds.rate(work) for name, work in sides.items()}
    rates = benchmark.pedantic(partial(rounds.interleave, timed, 1 if quick else 7), rounds=1)
    said = rounds.keep(results, suite, question=question, unit="env steps/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def stepping(id: str, actions: int, **options: Any) -> Callable[[], float]:
    """So many random actions in each slot of a worker's vector."""
    env, rng = make_env(id, seed=1, **options), np.random.default_rng(0)
    env.reset()

    def work() -> float:
        for _ in range(actions):
            env.step(draw(env.action_space, rng))
        return float(REPEAT * actions * env.num_envs)

    return work


def in_cpp(games: int, actions: int) -> Callable[[], float]:
    """ale-py's own vector, on one thread."""
    from ale_py.vector_env import AtariVectorEnv

    env, rng = AtariVectorEnv("breakout", games, num_threads=1), np.random.default_rng(0)
    env.reset(seed=1)

    def work() -> float:
        for _ in range(actions):
            env.step(rng.integers(0, 4, games))
        return float(REPEAT * actions * games)

    return work
