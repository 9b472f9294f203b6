"""tune.py: spaces are read and checked; trials train every seed, and a stopped search goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import tuning
from conf.sentences import Wrong
from tests.pages import ROOT


@pytest.mark.parametrize("path", sorted(tuning.SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_fits_its_agent(path: Path) -> None:
    env = "cartpole" if path.stem == "dqn" else "pendulum"
    search = tuning.read([f"space={path.stem}", f"agent={path.stem}", f"env={env}"])
    assert search.space
    assert (search.trials, search.seeds, search.score) == (20, [0, 1], "return")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["env=pendulum"], "space=NAME is missing: there are dqn, ppo and sac"),
        (["space=none"], "space=none is not a choice"),
        (["space=sac", "seed=1"], "leave out seed"),
        (["space=sac", "trials=many"], "trials must be a number"),
        (["space=sac", "score=fame"], "must be return or seconds"),
        (["space=sac", "score=seconds", "env=pendulum"], "needs budget.seconds"),
        (["space=ppo", "env=pendulum"], "agent.entropy is not a setting"),
    ],
)
def test_what_cannot_be_searched_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(Wrong, match=sentence):
        tuning.read(words)


@pytest.mark.parametrize(
    "text",
    [
        "agent.lr: 3",
        "agent.lr: {low: 1}",
        "agent.lr: {low: 2, high: 1}",
        "agent.lr: {low: 0, high: 1, log: true}",
        "agent.lr: {choices: []}",
        "agent.lr: {low: 0.1, high: 1, step: 3}",
        "{}",
    ],
)
def test_a_space_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(Wrong, match=r"space\.yaml"):
        tuning.read_space(str(tmp_path / "space.yaml"))


@pytest.mark.skipif(find_spec("optuna") is None, reason="the extra hpo is not installed")
def test_returns_are_maximised_and_seconds_minimised(tmp_path: Path) -> None:
    for score, direction in (("return", "MAXIMIZE"), ("seconds", "MINIMIZE")):
        words = ["space=sac", "env=pendulum", "budget.seconds=9", f"score={score}"]
        search = tuning.read([*words, f"out={tmp_path / score}"])
        search.out.mkdir()
        assert tuning.opened(search).direction.name == direction


class Hopeless:
    """A trial that shall be stopped at its second report."""

    number = 0

    def __init__(self) -> None:
        self.told: list[tuple[float, int]] = []

    def report(self, value: float, step: int) -> None:
        self.told.append((value, step))

    def should_prune(self) -> bool:
        return len(self.told) > 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_hopeless_trial_is_stopped_in_the_middle_of_its_run(tmp_path: Path) -> None:
    words = "space=sac env=pendulum budget.env_steps=20000 warmup=64 agent.hidden_sizes=[8]".split()
    often = ["evaluation.every_seconds=0.1", "evaluation.share=1", "evaluation.episodes=1"]
    search, trial = tuning.read([*words, *often, f"out={tmp_path}"]), Hopeless()
    assert tuning.train(trial, search, [], 0, 1, [-100.0]) is None
    assert len(trial.told) == 2
    assert all(step > tuning.PARTS for _, step in trial.told), "steps of the second seed"
    log = (tmp_path / "runs" / "0_0" / "log.txt").read_text()
    assert "Stopped because" in log, "the run was asked to end, not killed"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(find_spec("optuna") is None, reason="the extra hpo is not installed")
def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "tune.py", "space=sac", "env=pendulum", "trials=2", "seeds=5-6"]
    command += [f"out={tmp_path}", "budget.env_steps=300", "warmup=64", "agent.hidden_sizes=[8]"]
    command += ["evaluation.episodes=1", "evaluation.confirm_episodes=1"]
    begun = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 100
    while not (tmp_path / "runs" / "1_5" / "study.log").exists():
        assert time.monotonic() < end
        assert begun.poll() is None
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    said, _ = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "the same command goes on" in said
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 of 2 trials are there" in again.stdout
    assert "python train.py env=pendulum" in again.stdout
    settings = json.loads((tmp_path / "best.json").read_text())["settings"]
    tried = [line for line in (said + again.stdout).splitlines() if line.startswith("trial")]
    assert any(f"agent.lr={settings['agent.lr']} " in line for line in tried), "as it was trained"
