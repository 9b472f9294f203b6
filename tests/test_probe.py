"""workers=auto: the number of workers is the smallest that no other one beats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import probe
import train
from conf import check
from conf.compose import compose
from paradigms.base import Job, Paradigm

SMALL = ["env=pendulum", "agent.hidden_sizes=[8]", "replay.batch_size=8", "budget.env_steps=400"]
QUIET = ["warmup=64", "evaluation.every_seconds=null", "evaluation.confirm_episodes=0", "logger=[]"]


def test_numbers_of_workers_double_up_to_the_cores() -> None:
    assert [probe.counts(cores) for cores in (1, 2, 3, 6, 8)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4, 6],
        [1, 2, 4, 8],
    ]


def test_more_workers_must_be_worth_it() -> None:
    assert probe.fewest({1: 100.0, 2: 104.0}) == 1
    assert probe.fewest({1: 100.0, 2: 190.0, 4: 195.0, 8: 150.0}) == 2


def test_sequential_needs_no_trial() -> None:
    setup = compose([*SMALL, "workers=auto"])
    assert setup.auto and setup.values["workers"] >= 1
    assert probe.settled(setup).values["workers"] == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_has_the_number_that_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "core_count", lambda: 3)
    monkeypatch.setattr(probe, "SECONDS", 0.3)
    speeds, real = dict[int, float](), probe.speed

    def tried(job: Job, paradigm: Paradigm, workers: int) -> float:
        speeds[workers] = real(job, paradigm, workers)
        return 9.0 if workers == 3 else 1.0

    monkeypatch.setattr(probe, "speed", tried)
    words = [*SMALL, *QUIET, "paradigm=dcollect", "crew=inline", "workers=auto"]
    setup = check.command_line(words).setup
    assert setup is not None
    with train.build(replace(setup, hydra=None), tmp_path, 0.0, first=False) as session:
        assert train.train(session)["workers"] == 3
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["workers"] == 3
    said = capsys.readouterr().out
    assert "workers=3, because the env steps a second were 1 with 1, 1 with 2, 9 with 3" in said
    assert {*speeds} == {1, 2, 3} and min(speeds.values()) > 0
