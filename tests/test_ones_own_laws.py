"""laws.py: an agent of this library keeps the laws, and agents that break one are told which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from laws import SAME, judge, tried
from tests.pages import ROOT

PLAIN = """
import numpy as np
import torch

from agents.base import Acted, Agent, Group, Learned
from agents.parts.optim import Local


class Plain(Agent):
    needs = frozenset({"box", "vector"})

    def __init__(self, spec, seed, device="cpu", *, lr: float = 0.01):
        super().__init__(spec, seed, device)
        generator = torch.Generator().manual_seed(seed)
        self.w = torch.randn(spec.observation_space.shape[0], generator=generator)
        self.w.requires_grad_()
        self.groups["w"] = Group([self.w], lr=lr)
        self.parts = {"act": ["w"], "evaluate": ["w"]}
        self.optim = Local()
        self.calls = 0

    def initial_state(self, n):
        return {}

    def act(self, obs, state, explore):
        action = np.tanh(obs @ self.w.detach().numpy())[:, None]
        if explore is not None:
            action = action + torch.rand(action.shape, generator=self.rng.act).numpy()
        return Acted(np.clip(action, -1, 1).astype(np.float32), state, {})

    def learn(self, batch):
        self.calls += 1
        self.descend("w", (batch.obs @ self.w - batch.reward).square().mean())
        return Learned(1, {})
"""
BREAKS = {
    "a global generator": (
        "generator=self.rng.act).numpy()",
        "generator=None).numpy()",
        "Two runs of one seed",
    ),
    "a greedy policy that draws": (
        "if explore is not None:",
        "if True:",
        "The greedy policy draws nothing",
    ),
    "a hidden count": (
        "self.calls += 1\n",
        "self.calls += 1; import os, threading\n"
        "        self.w.data.mul_(1 + 1e-3 * (threading.current_thread().name != 'MainThread'))\n",
        "With one worker in lockstep",
    ),
    "no update": ("return Learned(1, {})", "return Learned(0, {})", "Every env step"),
}


def laws(folder: Path, text: str) -> list[str]:
    """The words for laws.py, of an agent with that text."""
    (folder / "agent").mkdir(exist_ok=True)
    (folder / f"{folder.name}.py").write_text(text)
    (folder / "agent" / "plain.yaml").write_text(
        f"_target_: {folder.name}.Plain\n_partial_: true\nlr: 0.01\n"
    )
    return [f"--config-dir={folder}", "agent=plain", "env=pendulum", "replay.batch_size=8"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_agent_that_keeps_the_laws_is_told_so(tmp_path: Path) -> None:
    command = [sys.executable, "laws.py", *laws(tmp_path, PLAIN)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("holds") == 12


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_law_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong, says = BREAKS[name]
    assert right in PLAIN
    folder = tmp_path / f"plain_{list(BREAKS).index(name)}"  # its name is a module's: one each
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path])
    judged = tried(laws(folder, PLAIN.replace(right, wrong)))
    assert next(law.text for law, why in judged if why is not None).startswith(says)


def test_what_is_broken_is_said_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judge.__module__ + ".tried", lambda words: [(SAME, "7 numbers differ")])
    assert judge([]) == 1
    said = capsys.readouterr().out
    assert said == f"BROKEN {SAME.text}\n       7 numbers differ: {SAME.broken}\n"
