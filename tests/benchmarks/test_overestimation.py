"""Returns with entropy, worked out by hand, and states that follow from how long is played."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.sac import SAC
from benchmarks import cells, overestimation
from envs.make import make_env
from paradigms.loop.build import make_agent
from tests import jobs

GAMMA = math.exp(-2.6)  # a reward two steps ahead counts for exp(-5.2)


def columns(*slots: list[float]) -> torch.Tensor:
    """[T, B] from one list a slot."""
    return torch.tensor(slots).T


def test_the_return_has_the_entropy_of_later_steps_in_it() -> None:
    reward = columns([1.0, 2.0, 4.0], [1.0, 2.0, 100.0])
    logp = columns([7.0, -1.0, 3.0], [7.0, -1.0, 50.0])
    valid = columns([True, True, True], [True, True, False])
    found = overestimation.soft_return(reward, logp, valid, alpha=0.1, gamma=0.5)
    # 4, 2 + (4 - 0.3) / 2, 1 + (3.85 + 0.1) / 2; and 2, 1 + (2 + 0.1) / 2
    assert found[:, 0].tolist() == pytest.approx([2.975, 3.85, 4.0])
    assert found[:2, 1].tolist() == pytest.approx([2.05, 2.0])


def test_states_count_where_the_return_is_not_cut_off() -> None:
    valid = columns([True] * 5, [True, True, False, False, False], [True] * 4 + [False])
    terminated = columns([False] * 5, [False, True, False, False, True], [False] * 5)
    assert overestimation.horizon(GAMMA) == 2
    found = overestimation.whole(terminated, valid, GAMMA)
    assert found.T.tolist() == [
        [True, True, True, False, False],  # two steps follow
        [True, True, False, False, False],  # it ended
        [True, True, False, False, False],  # it was truncated
    ]


def test_the_error_of_the_mean_is_between_episodes() -> None:
    reward, logp = torch.ones(5, 2), torch.zeros(5, 2)
    valid, terminated = torch.ones(5, 2, dtype=torch.bool), torch.zeros(5, 2, dtype=torch.bool)
    returns = overestimation.soft_return(reward, logp, valid, alpha=0.3, gamma=GAMMA)
    play = {"reward": reward, "logp": logp, "valid": valid, "terminated": terminated}
    q = returns + torch.tensor([0.5, 1.5])
    q[3:] = 1e6  # what does not count
    found = overestimation.compared(play | {"q": q}, alpha=0.3, gamma=GAMMA)
    assert (found["states"], found["episodes"]) == (6, 2)
    assert found["difference_mean"] == pytest.approx(1.0)
    assert found["difference_error"] == pytest.approx(0.5)
    assert found["q_mean"] - found["return_mean"] == pytest.approx(1.0)


def test_every_step_before_the_time_limit_counts_and_none_after() -> None:
    worlds = functools.partial(make_env, "Pendulum-v1")
    job = jobs.job(worlds, functools.partial(jobs.sac, gamma=0.9))
    agent = make_agent(job)
    assert isinstance(agent, SAC)
    play = overestimation.played(job, agent, 3)
    assert len(play["q"]) == 200 + 48  # 0.9^48 < exp(-5) < 0.9^47
    found = overestimation.compared(play, alpha=1.0, gamma=0.9)
    assert (found["states"], found["episodes"]) == (600, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "code"), [("tqc", 0), ("td3", 2)])
def test_a_cell_writes_what_the_table_reads(agent: str, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.overestimation", f"agent={agent}", "env=pendulum"]
    command += ["warmup=100", "budget.env_steps=160", "evaluation.episodes=2", "seed=100"]
    run = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path}"], cwd=cells.ROOT, capture_output=True, text=True
    )
    assert run.returncode == code, run.stderr
    if code:
        assert "use agent=sac or agent=tqc" in run.stderr
        return
    assert json.loads((tmp_path / "result.json").read_text())["extra"]["states"] == 400
    assert cells.config_hash(tmp_path / "config.yaml")
