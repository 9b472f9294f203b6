"""What cannot run is refused in one sentence that names the key, with exit code 2, before any
process is started and any folder is made."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

import evaluate
import train
from conf import check, matrix
from conf.sentences import and_
from paradigms.runtime import start

ROOT = Path(__file__).resolve().parents[1]
ACTIONS = {
    "Multi": MultiDiscrete([3, 3]),
    "Dict": Dict({"a": Discrete(2)}),
    "Matrix": Box(-1, 1, (2, 2)),
}
FINITE = "must be a finite number"
WRONG = {
    "words that are none": [
        (
            "paradigm=nonsense",
            f"there are {and_(matrix.choices('paradigm'))}",
        ),
        ("env=landr", "did you mean env=lander?"),
        ("hydra/launcher=submitit", "there are basic"),
        ("paradigmm=dcollect", "did you mean paradigm?"),
        ("agent.lrr=1", "did you mean agent.lr?"),
        ("+agent.lrr=1", "did you mean agent.lr?"),
        ("lr=3", "did you mean agent.lr?"),
        ("+foo=1", "there are agent, budget"),
        ("paradigm.merge=mean", "paradigm has no settings"),
        ("experiment=diverse_lander", "+experiment=diverse_lander"),
        ("+experiment=nope", "there are ars_mcar, diverse_lander and es_mcar"),
        ("-m seed=1,2 paradigm=sequential,nope", "paradigm=nope is not a choice"),
    ],
    "lines that say nothing": [
        ("agent.lr=[", "cannot be read"),
        ("foo", "cannot be read"),
        ("+seed=3", "without the plus"),
        ("seed=1,2", "add -m"),
        ("warmup=${nope}", "'nope' not found"),
        ("agent=null", "needs a choice"),
        ("env=gym", "env.id has no value yet"),
        ("env.make=3", "env.make is missing"),
    ],
    "numbers that are not finite": [
        ("budget.seconds=nan", f"budget.seconds=nan {FINITE}"),
        ("evaluation.every_seconds=inf", f"evaluation.every_seconds=inf {FINITE}"),
        ("env.threshold=-inf", f"env.threshold=-inf {FINITE}"),
        ("paradigm=dupdate paradigm.scale=nan", f"paradigm.scale=nan {FINITE}"),
        ("agent.lr=inf", f"agent.lr=inf {FINITE} of at least 0"),
        ("-m agent.lr=1e-3,nan", f"agent.lr=nan {FINITE}"),
    ],
    "values of another type": [
        ("agent.lr=abc", "must be a number"),
        ("agent.hidden_sizes=256", "must be a list, each a whole number in [1, 65536]"),
        ("agent.betas=[0.9]", "and 2 of them"),
        ("workers=1.5", "must be a whole number"),
        ("seed=true", "must be a whole number"),
        ("env.threshold=abc", "env.threshold=abc must be a number or null"),
        ("env.kwargs=3", "env.kwargs=3 must be a mapping"),
        ("env.per_worker=[3]", "must be a list, each a mapping"),
        ("evaluation.where=moon", "one of process, inline"),
        ("agent.noise=brown", "agent.noise=brown must be one of white, pink"),
        ("agent.temperature=cold", "must be auto or a number above 0"),
        ("agent=actor_critic agent.returns=best", "one of monte_carlo, n_step, gae, vtrace"),
        ("paradigm=dupdate paradigm.sample_from=mine", "must be one of all, own, learner or null"),
        ("paradigm=gorila paradigm.shards=0", "must be a whole number of at least 1"),
        ("paradigm=a3c paradigm.copy=some", "must be one of none, rollout"),
        ("paradigm=hogwild paradigm.sample_from=learner", "must be one of all, own or null"),
        ("device=gpu", "must be cpu, cuda"),
        ("device=cuda:99", "device=cuda:99 "),
        ("-m device=cpu,cuda:99", "device=cuda:99 "),
    ],
    "values out of bounds": [
        ("workers=0", "must be a whole number of at least 1"),
        ("-m seed=0,1 workers=0", "workers=0 must be a whole number of at least 1"),
        ("evaluation.share=0.0", "must be a number above 0 and at most 1"),
        ("evaluation.share=2.0", "must be a number above 0 and at most 1"),
        ("updates_per_env_step=0", "must be a number above 0 or null"),
        ("replay.batch_size=0", "must be a whole number of at least 1 or null"),
        ("agent=ppo replay.capacity=0", "replay.capacity=0 must be a whole number of at least 1"),
        ("agent.hidden_sizes=[64,-1]", "a list, each a whole number in [1, 65536]"),
        ("paradigm=dupdate paradigm.damping=7", "paradigm.damping=7 must be a number of at"),
        ("replay=elite replay.share=-1", "replay.share=-1 must be a number in [0, 1]"),
        ("lr_schedule.until=3", "lr_schedule.until=3 must be a number in [0, 1]"),
        ("explore.steps=-1", "explore.steps=-1 must be a whole number of at least 0"),
        ("env.max_episode_steps=-1", "must be a whole number of at least 1 or null"),
    ],
    "settings that contradict each other": [
        ("warmup=1000000", "nothing would be learned"),
        ("updates_per_env_step=null", "replay=uniform needs a number"),
        ("replay=prioritized updates_per_env_step=null", "replay=prioritized needs a number"),
        ("replay.batch_size=null", "the number of transitions of a batch"),
        ("agent=ppo agent.minibatches=100000", "more than the 1024 transitions of a batch ("),
        ("agent=ppo updates_per_env_step=1", "set updates_per_env_step=null"),
        ("agent=ppo replay=uniform", "works with replay rollout"),
        ("agent=ppo replay.batch_size=64", "set replay.batch_size=null"),
        ("agent=ppo warmup=10", "set warmup=0"),
        ("agent=ppo rollout_length=1", "set rollout_length=2"),
        ("agent=actor_critic replay=fifo replay.fragments=9", "replay.capacity=4 must hold a"),
        ("agent=ppo paradigm=hogwild paradigm.sample_from=all", "set paradigm.sample_from=own"),
        ("agent=ppo paradigm=dupdate paradigm.sample_from=learner", "set paradigm.sample_from=own"),
        ("agent=ppo paradigm=dupdate paradigm.tasks=by_shares", "set paradigm.tasks=by_pace"),
        ("paradigm=es warmup=10", "warmup has no effect with paradigm=es: leave it out"),
        ("paradigm=es replay=elite", "replay has no effect with paradigm=es: leave it out"),
        ("-m seed=1,2 paradigm=ars replay.batch_size=8", "replay.batch_size has no effect with"),
        ("paradigm=ars updates_per_env_step=2", "has no effect with paradigm=ars"),
        ("paradigm=pbt paradigm.search.lr={low:2.0}", "paradigm.search.lr="),
        ("paradigm=ars paradigm.top=17", "must be at most paradigm.pairs=16"),
    ],
    "runs that could not do what was requested": [
        ("stop_when_solved=true env.threshold=null", "stop_when_solved=true needs a threshold"),
        ("stop_when_solved=true evaluation.every_seconds=null", "needs evaluations"),
        ("stop_when_solved=true paradigm=dcollect evaluation.where=worker", "while training"),
        ("score=seconds env.threshold=null", "score=seconds needs a threshold"),
        ("policy_lag=3 max_ahead=8", "add max_ahead=0"),
        ("policy_lag=2 max_ahead=0", "choose paradigm=dcollect or paradigm=dupdate"),
        ("policy_lag=2 max_ahead=0 paradigm=hogwild", "paradigm=hogwild has one copy of them"),
        ("evaluation.where=worker", "is a task of paradigm=dcollect or paradigm=dupdate"),
        ("evaluation.where=worker paradigm=locked", "not of paradigm=locked"),
    ],
    "folders": [
        ("hydra.run.dir=/dev/null/run", "hydra.run.dir=/dev/null/run cannot be made"),
        ("resume=", "resume= names no folder"),
        ("resume=/dev/null", "is not a folder"),
        ("resume=nowhere", "is not a folder"),
        (f"resume={ROOT / 'conf'}", "${agent}_${env} is more than another value's key"),
        (f"-m seed=0,1 resume={ROOT / 'conf'}", "leave out -m"),
        ("trust=mine", "trust goes with resume=FOLDER"),
    ],
    "classes that are none": [
        ("agent._target_=agents.sac.Sack", "it has SAC"),
        ("agent._target_=agents.nothing.SAC", "there is no module 'agents.nothing'; there are"),
        ("agent._target_=3", "agent._target_=3 must be module.Name"),
        ("paradigm._target_=agents.sac.SAC", "paradigm"),
        ("+agent._args_=[1]", "agent._args_ is not a setting"),
    ],
    "envs": [
        ("env=gym env.id=LunarLandr-v3", "did you mean LunarLander-v3"),
        ("env=gym env.id=nowhere:Some-v0", "cannot be imported"),
        ("env=lander +env.kwargs.foo=3", "it takes"),
        ("env=lander env.per_worker=[{},{gravty:-8.0}]", "it takes"),
        ("env.engine=unreal", "env.engine=unreal must be one of gymnasium, envpool"),
        (
            "env=race agent=ppo env.engine=arrival num_envs=4",
            "num_envs=4 must be 1 with env.engine",
        ),
        (
            "env=race env.engine=arrival num_envs=1 paradigm=dcollect workers=2",
            "workers=2: a simulator of env.engine=arrival has one car",
        ),
        ("env=lander env.engine=arrival num_envs=1", "LunarLander-v3 is no race; choose env=race"),
        ("env=gym env.id=spaces/Broken-v0", "cannot be built: NotImplementedError"),
        ("env=cartpole", "agent=sac needs continuous actions, but env=cartpole has discrete"),
        ("env=gym env.id=CarRacing-v3", "add agent.encoder=conv"),
        (
            "env=spot agent=tqc",
            "env=spot has images as observations (Box(0, 255, (24, 24, 3), uint8",
        ),
        ("env=pendulum replay.shift=4", "replay.shift=4 is for uint8 images [height, width"),
        ("env=pendulum agent.encoder=conv", "vectors as observations (Box([-1. -1. -8.]"),
        ("env=spot agent=actor_critic", "env=spot has images as observations"),
        (
            "env=identity_dict agent=dqn",
            "env=identity_dict has images as observations (Dict(vector: float32 [2], image: uint8"
            " [16, 16, 1])): add agent.encoder=conv",
        ),
        ("env=spot agent=a2c agent.encoder=conv agent.normalise=true", "agent.normalise=true is"),
        ("agent=ppo env=cartpole agent.critic_weight=0.5", "agent.critic_weight=0.5 is of the"),
        ("agent=a2c env=cartpole agent.critic_weight=0.5", "agent.critic_weight=0.5 is of the"),
        ("env=spot agent=ppo agent.encoder=conv agent.normalise=true", "agent.normalise=true is"),
        ("agent=dqn env=gym env.id=spaces/Multi-v0", "several choices at once as actions, which"),
        ("agent=sac env=gym env.id=spaces/Dict-v0", "needs continuous actions, but env=gym has"),
        ("agent=ppo env=gym env.id=spaces/Dict-v0", "MultiDiscrete ones, but the env has Dict"),
    ],
}
RIGHT = [
    "paradigm=dcollect paradigm.chunk=4",
    "env=lander_discrete agent=dqn env.kwargs={continuous:false}",
    "agent=ppo agent.minibatches=1024",
    "agent=td3 env=gym env.id=spaces/Matrix-v0",
    "agent=ppo env=gym env.id=spaces/Multi-v0",
    "agent=a2c env=gym env.id=spaces/Multi-v0",
    "policy_lag=2 max_ahead=0 paradigm=dcollect",
    "stop_when_solved=true env.threshold=3",
    "replay=prioritized paradigm=dupdate paradigm.sample_from=all",
    "replay=prioritized paradigm=dupdate paradigm.sample_from=own",
    "replay=prioritized paradigm=dupdate paradigm.sample_from=learner",
    "replay=prioritized paradigm=dupdate paradigm.tasks=by_shares",
    "paradigm=pbt paradigm.of._target_=paradigms.hogwild.Hogwild",
    "paradigm=pbt paradigm.of=hogwild paradigm.of.sample_from=own",
    "paradigm=pbt paradigm.of=locked paradigm.search.n_step={low:1,high:3}",
    "paradigm=pbt paradigm.search.lr={low:1e-5,high:0.1} paradigm.search.tau={choices:[0.1]}",
    "paradigm=es env=mcar budget.env_steps=1000",
    "paradigm=ars agent=ppo env=cartpole workers=4",
]
WRONG_EVALUATIONS = [
    ("episodes=3", "run has no value yet"),
    ("run=", "run="),
    ("run=nowhere", "is not a folder"),
    ("run=. policy=worst", "has no policy worst"),
    ("run=. episodes=0", "must be a whole number in [1, 1000000]"),
    ("run=. seeds=3", "did you mean seed?"),
    ("run=. trust=3", "must be a word or a list"),
    ("run=. policy=none.safetensors", "none.json is not a file"),
]
Refusal = Callable[[Callable[[], None], str], str]


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


@pytest.fixture
def refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refusal:
    """Runs a script's main with a command line; gives the one sentence with which it leaves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "warm", lambda *modules: None)

    def refused(main: Callable[[], None], typed: str) -> str:
        monkeypatch.setattr(sys, "argv", ["script.py", *typed.split()])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (2, ""), err
        assert len(err.splitlines()) == 1, err
        assert not any(tmp_path.iterdir()) and not multiprocessing.active_children()
        return err

    return refused


@pytest.mark.parametrize("topic", WRONG)
def test_training_is_refused_in_one_sentence(
    topic: str, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for typed, said in WRONG[topic]:
        with subtests.test(typed):
            assert said in refusal(train.main, typed)


def test_evaluation_is_refused_in_one_sentence(refusal: Refusal, subtests: pytest.Subtests) -> None:
    for typed, said in WRONG_EVALUATIONS:
        with subtests.test(typed):
            assert said in refusal(evaluate.main, typed)


def test_what_is_right_passes_the_check(subtests: pytest.Subtests) -> None:
    for typed in RIGHT:
        with subtests.test(typed):
            assert check.command_line(typed.split()).setup is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "typed", "said"),
    [
        ("train.py", "agent.lr=-1", "agent.lr=-1 must be a number of at least 0"),
        ("reproduce.py", "run=nowhere", "run=nowhere has no config.yaml"),
    ],
)
def test_a_script_prints_one_line_and_leaves_with_2(
    script: str, typed: str, said: str, tmp_path: Path
) -> None:
    words = [sys.executable, str(ROOT / script), *typed.split()]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert len(run.stderr.splitlines()) == 1 and said in run.stderr
    assert not any(tmp_path.iterdir())
