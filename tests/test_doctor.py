"""doctor.py: it describes the machine, and what it advises follows from what it measured."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import doctor
import probe
from conf.build import assemble
from conf.compose import compose
from tests.pages import ROOT


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    text = "\n".join(doctor.machine())
    for word in ("cores", "memory", "disk", "CUDA", "torch", "other work is going on"):
        assert word in text
    assert "+ matplotlib" in text or "- matplotlib" in text


@pytest.mark.parametrize(
    ("step", "update", "words"),
    [
        (1.0, 99.0, "learning is the bottleneck"),
        (99.0, 1.0, "env steps are the bottleneck"),
        (50.0, 50.0, "weigh alike: dcollect overlaps them, at most 2.00 times"),
    ],
)
def test_what_is_advised_follows_from_the_costs(
    monkeypatch: pytest.MonkeyPatch, step: float, update: float, words: str
) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    trial = doctor.Trial(env_steps=100, updates=100, step=step, update=update)
    text = "\n".join(doctor.spread(trial, compose(["workers=8"])))
    assert words in text
    assert "workers=8 are more than the 2 cores" in text
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert "one core" in "\n".join(doctor.spread(trial, compose([])))


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    words = ["env=pendulum", "paradigm=dupdate", "agent.hidden_sizes=[8]", "replay.capacity=2000"]
    lines = list(doctor.run(compose(words)))
    text = "\n".join(lines)
    assert "main and the evaluator, 2 workers" in text
    assert "an env step costs" in text
    assert int(re.search(r"SAC of (\d+) parameters", text)[1]) > 100  # type: ignore[index]
    ratio = float(re.search(r"ms; ([\d.]+) updates an env step", text)[1])  # type: ignore[index]
    assert 0.9 < ratio <= 1.1


@pytest.mark.slow
def test_a_trial_does_not_wait_for_a_long_warm_up() -> None:
    words = ["env=pendulum", "agent.hidden_sizes=[8]", "warmup=500000", "budget.env_steps=600000"]
    job, _ = assemble(compose([*words, "replay.capacity=2000"]).values)
    assert doctor.measure(job, seconds=0.3).env_steps < 20_000


@pytest.mark.slow
def test_a_wrong_word_is_one_sentence() -> None:
    command = [sys.executable, "doctor.py", "env=pendulum", "agent=dqn"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "needs discrete actions" in run.stderr + run.stdout


@pytest.mark.slow
def test_an_environment_is_examined_even_where_the_agent_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor.py", "agent=sac", "env=gym", "env.id=tests.envs.worlds:worlds/Pairs-v0"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        doctor.main()
    out, error = capsys.readouterr()
    assert left.value.code == 2 and "sac needs continuous actions" in error
    assert "worlds/Pairs-v0:\n- " in out and "terminated after exactly 10 steps" in out
