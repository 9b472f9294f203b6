"""What an env measures of its episodes, from the env to the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import train
from conf import check
from conf.compose import compose
from tests.test_train import QUICK, result


@pytest.mark.slow
def test_what_an_env_measures_of_its_episodes_is_logged_and_kept(tmp_path: Path) -> None:
    """A car that creeps for 2 s from rest: of the last policy, and of the best, which is another or
    the same one."""
    race = ["agent=ppo", "env=race", "env.kwargs.track=oval", "env.reference.seconds=2.0"]
    few = ["agent.hidden_sizes=[8,8]", "num_envs=4", "budget.env_steps=1000"]
    told = ["evaluation.every_seconds=0", "evaluation.share=1", "logger=[tensorboard]"]
    quick = [word for word in QUICK if not word.startswith(("replay.", "env=", "agent."))]
    given = [*quick, *race, *few, *told, "warmup=0", "updates_per_env_step=null"]
    setup = compose(given)
    check.values(setup)
    with train.build(setup, tmp_path, 0.0, first=False) as session:
        train.train(session)
    kept = result(tmp_path)["metrics"]
    assert kept["final"]["total_time"] == pytest.approx(2.0)
    assert 0 < kept["final"]["total_distance"] < 12 and kept["best"]["laps_completed"] == 0
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    evaluations = [line["metrics"] for line in logged if line["kind"] == "evaluation"]
    assert evaluations and all(set(each) == set(kept["final"]) for each in evaluations)
    (events,) = tmp_path.glob("events.out.tfevents*")
    assert b"evaluation/total_distance" in events.read_bytes()
