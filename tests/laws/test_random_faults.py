"""Law 11 at random moments: the short, seeded form of `make chaos`. Workers fail in every way, the
main process is killed, and one that saves; the promises of docs/reliability.md are audited, and all
batches checked on the way."""

from __future__ import annotations

import random

import pytest

from benchmarks.breaking import mains, saves, workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("name", "seed", "kinds"),
    [
        ("dcollect", 8, ["raise", "kill", "delay"]),
        ("hogwild", 6, ["kill", "exit", "nan"]),
        ("gorila", 5, ["hang", "nan", "raise"]),
    ],
)
def test_a_run_outlives_what_befalls_its_workers(name: str, seed: int, kinds: list[str]) -> None:
    drawn = workers.drawn(name, len(kinds), seed)
    assert drawn == kinds  # each of them once, over the three runs
    found = workers.suffer(name, drawn, seed, heartbeat=workers.HEARTBEAT, resumes=False)
    assert found["failed"] >= 2
    left_out = found["skipped"] if name == "gorila" else 0
    assert 2 <= found["lost"] <= found["failed"] + left_out  # who is killed at its start loses none


@pytest.mark.parametrize(("paradigm", "training"), [("gorila", False), ("hogwild", True)])
def test_nothing_survives_a_main_process_that_is_killed(paradigm: str, training: bool) -> None:
    _, saved = mains.kill(paradigm, random.Random(0), training=training)
    assert saved or not training


def test_a_whole_checkpoint_is_left_by_who_is_killed_while_saving() -> None:
    assert saves.kills(8, seed=0)["kills"] == 8
