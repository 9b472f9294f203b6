"""What cannot run is refused in one sentence that names the key, with exit code 2, before any
process is started and any folder is made."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

import evaluate
import train
from conf import check
from paradigms.runtime import start

ROOT = Path(__file__).resolve().parents[1]
ACTIONS = {
    "Multi": MultiDiscrete([3, 3]),
    "Dict": Dict({"a": Discrete(2)}),
    "Matrix": Box(-1, 1, (2, 2)),
}
FINITE = "must be a finite number"
WRONG = [
    # numbers that are none
    ("budget.seconds=nan", f"budget.seconds=nan {FINITE}"),
    ("budget.seconds=inf", f"budget.seconds=inf {FINITE}"),
    ("evaluation.share=nan", f"evaluation.share=nan {FINITE}"),
    ("evaluation.every_seconds=inf", f"evaluation.every_seconds=inf {FINITE}"),
    ("env.threshold=nan", f"env.threshold=nan {FINITE}"),
    ("env.threshold=-inf", f"env.threshold=-inf {FINITE}"),
    ("updates_per_env_step=nan", f"updates_per_env_step=nan {FINITE}"),
    ("updates_per_env_step=inf", f"updates_per_env_step=inf {FINITE}"),
    ("paradigm=dupdate paradigm.scale=nan", f"paradigm.scale=nan {FINITE}"),
    ("agent.lr=inf", f"agent.lr=inf {FINITE} of at least 0"),
    # bounds of parts
    ("paradigm=dupdate paradigm.damping=7", "paradigm.damping=7 must be a number in [0, 1]"),
    ("paradigm=dupdate paradigm.task_updates=0", "paradigm.task_updates=0 must be a whole number"),
    ("paradigm=dupdate paradigm.sample_from=mine", "must be one of all, own, learner or null"),
    ("paradigm=dcollect paradigm.depth=0", "must be a whole number of at least 1"),
    ("paradigm=hogwild paradigm.sample_from=learner", "must be one of all, own or null"),
    ("agent.hidden_sizes=[0]", "a list, each a whole number in [1, 65536]"),
    ("agent.hidden_sizes=[64,-1]", "a list, each a whole number in [1, 65536]"),
    ("agent.betas=[0.9]", "and 2 of them"),
    ("agent.noise=brown", "agent.noise=brown must be one of white, pink"),
    ("agent.temperature=cold", "must be auto or a number above 0"),
    ("agent=ppo agent.epochs=0", "agent.epochs=0 must be a whole number of at least 1"),
    (
        "agent=ppo agent.minibatches=100000",
        "more than the 1024 transitions of a batch (rollout_length",
    ),
    ("agent=actor_critic agent.returns=best", "one of monte_carlo, n_step, gae, vtrace"),
    ("replay=prioritized replay.beta=2", "replay.beta=2 must be a number in [0, 1]"),
    ("replay=elite replay.share=-1", "replay.share=-1 must be a number in [0, 1]"),
    ("lr_schedule.until=3", "lr_schedule.until=3 must be a number in [0, 1]"),
    ("explore.steps=-1", "explore.steps=-1 must be a whole number of at least 0"),
    # fields of env
    ("env.threshold=abc", "env.threshold=abc must be a number or null"),
    ("env.max_episode_steps=-1", "must be a whole number of at least 1 or null"),
    ("env.action_repeat=0", "env.action_repeat=0 must be a whole number of at least 1"),
    ("env.engine=unreal", "env.engine=unreal must be one of gymnasium, envpool"),
    ("env.kwargs=3", "env.kwargs=3 must be a mapping"),
    ("env.per_worker=[3]", "must be a list, each a mapping"),
    ("env.make=3", "env.make is missing"),
    ("env=lander env.kwargs.gravty=-8", "gravty"),
    # contradictions
    ("stop_when_solved=true env.threshold=null", "stop_when_solved=true needs a threshold"),
    (
        "stop_when_solved=true evaluation.every_seconds=null",
        "stop_when_solved=true needs evaluations",
    ),
    (
        "stop_when_solved=true paradigm=dcollect evaluation.where=worker",
        "needs evaluations while training",
    ),
    ("score=seconds env.threshold=null", "score=seconds needs a threshold"),
    ("policy_lag=2 max_ahead=0", "choose paradigm=dcollect or paradigm=dupdate"),
    ("policy_lag=2 max_ahead=0 paradigm=hogwild", "paradigm=hogwild has one copy of them"),
    ("evaluation.where=worker", "is a task of paradigm=dcollect or paradigm=dupdate"),
    ("evaluation.where=worker paradigm=locked", "not of paradigm=locked"),
    # folders
    ("hydra.run.dir=/dev/null/run", "hydra.run.dir=/dev/null/run cannot be made"),
    ("resume=", "resume= names no folder"),
    ("resume=/dev/null", "is not a folder"),
    ("trust=mine", "trust goes with resume=FOLDER"),
    # parts that are none
    ("agent._target_=agents.sac.SAC2", "agents.sac has no SAC2; it has SAC"),
    ("agent._target_=3", "agent._target_=3 must be module.Name"),
    ("paradigm._target_=agents.sac.SAC", "paradigm"),
    ("+agent._args_=[1]", "agent._args_ is not a setting"),
    ("-m seed=0,1 workers=0", "workers=0 must be a whole number of at least 1"),
    ("-m agent.lr=1e-3,nan", f"agent.lr=nan {FINITE}"),
    # spaces
    ("agent=dqn env=gym env.id=spaces/Multi-v0", "needs discrete actions, but env=gym has other"),
    ("agent=sac_discrete env=gym env.id=spaces/Dict-v0", "needs discrete actions"),
    ("agent=sac env=gym env.id=spaces/Dict-v0", "needs continuous actions, but env=gym has other"),
    ("agent=td3 env=gym env.id=spaces/Matrix-v0", "actions of shape (2, 2)"),
    ("agent=ppo env=gym env.id=spaces/Multi-v0", "MultiDiscrete"),
    ("env=gym env.id=spaces/Broken-v0", "cannot be built: NotImplementedError"),
]
RIGHT = [
    "paradigm=dcollect paradigm.chunk=4",
    "agent=sac agent.critics=3",
    "env=lander env.kwargs.continuous=true",
    "env=lander_discrete agent=dqn env.kwargs.continuous=false",
    "env=lander_discrete agent=dqn env.kwargs={continuous:false}",
    "agent=ppo agent.minibatches=1024",
    "policy_lag=2 max_ahead=0 paradigm=dcollect",
    "stop_when_solved=true env.threshold=3",
]


class Spaces(gym.Env):
    """An env with an action space of a kind; Broken raises."""

    def __init__(self, kind: str) -> None:
        if kind == "Broken":
            raise NotImplementedError("no such thing")
        self.observation_space = Box(-1, 1, (3,))
        self.action_space = ACTIONS[kind]


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    for kind in (*ACTIONS, "Broken"):
        gym.register(f"spaces/{kind}-v0", Spaces, kwargs={"kind": kind})


@pytest.mark.parametrize(("typed", "said"), WRONG, ids=[typed for typed, _ in WRONG])
def test_it_is_refused_in_one_sentence(
    typed: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *typed.split()])
    monkeypatch.setattr(start, "warm", lambda: None)
    with pytest.raises(SystemExit) as left:
        train.main()
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, ""), err
    assert len(err.splitlines()) == 1 and said in err
    assert not any(tmp_path.iterdir()) and not multiprocessing.active_children()


@pytest.mark.parametrize("typed", RIGHT)
def test_it_is_right(typed: str) -> None:
    assert check.command_line(typed.split()).setup is not None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("episodes=3", "run has no value yet"),
        ("run=", "run="),
        ("run=nowhere", "is not a folder"),
        ("run=. policy=worst", "has no policy worst"),
        ("run=. episodes=0", "must be a whole number in [1, 1000000]"),
        ("run=. seeds=3", "did you mean seed?"),
        ("run=. trust=3", "must be a word or a list"),
        ("run=. policy=none.safetensors", "none.json is not a file"),
    ],
)
def test_evaluation_is_refused_in_one_sentence(
    typed: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *typed.split()])
    with pytest.raises(SystemExit) as left:
        evaluate.main()
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, ""), err
    assert len(err.splitlines()) == 1 and said in err


@pytest.mark.parametrize(
    ("script", "typed", "said"),
    [
        ("train.py", "paradigm=nonsense", "there are dcollect, dupdate"),
        ("train.py", "agent.lr=-1", "agent.lr=-1 must be a number of at least 0"),
        ("reproduce.py", "run=nowhere", "run=nowhere has no config.yaml"),
    ],
)
def test_a_script_says_one_line_and_leaves_with_2(
    script: str, typed: str, said: str, tmp_path: Path
) -> None:
    words = [sys.executable, str(ROOT / script), *typed.split()]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert len(run.stderr.splitlines()) == 1 and said in run.stderr
    assert not any(tmp_path.iterdir())
