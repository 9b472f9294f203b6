"""Worlds of other packages, and with spaces of their own, learned in four paradigms; those whose
package is not installed are skipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from train import learn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PARADIGMS = ("sequential", "dcollect", "dupdate", "hogwild")
CONV = [
    "agent.encoder=conv",
    "agent.hidden_sizes=[32]",
    "env.max_episode_steps=200",
    "replay.batch_size=16",
]
WORLDS = {  # the package that it needs, and what to type
    "minigrid": ("minigrid", ["env.id=minigrid:MiniGrid-Empty-5x5-v0", "agent=ppo"]),
    "racetrack": ("highway_env", ["env.id=highway_env:racetrack-v1", "agent=sac"]),
    "halfcheetah": ("mujoco", ["env.id=HalfCheetah-v5", "agent=td3"]),
    "pairs": ("numpy", ["env.id=tests.envs.worlds:worlds/Pairs-v0", "agent=ppo"]),
    "several": ("numpy", ["env.id=tests.envs.worlds:worlds/Pairs-v0", "agent=a2c"]),
    "matrix": ("numpy", ["env.id=tests.envs.worlds:worlds/Matrix-v0", "agent=sac"]),
    "breakout": ("ale_py", ["env=breakout", "agent=dqn", *CONV]),
    "carracing": ("Box2D", ["env=carracing", "agent=sac", *CONV]),
}
KEPT = ["warmup=500", "updates_per_env_step=0.02", "replay.capacity=1000", "num_envs=1"]
ALL = [
    "budget.env_steps=2000",
    "crew=inline",
    "evaluation.where=inline",
    "evaluation.every_seconds=null",
    "evaluation.episodes=1",
    "evaluation.confirm_episodes=0",
    "checkpoint.at_end=false",
    "logger=[]",
]


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("world", WORLDS)
def test_a_world_is_played_for_2000_steps(
    world: str, paradigm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its log into the current folder
    package, words = WORLDS[world]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    once = "agent=ppo" in words or "agent=a2c" in words
    env = [] if any(word.startswith("env=") for word in words) else ["env=gym"]
    result = learn(
        *env, *words, *ALL, *([] if once else KEPT),
        f"paradigm={paradigm}", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert result["env_steps"] >= 2000 and result["updates"] > 0


def test_several_choices_are_learned(tmp_path: Path) -> None:
    result = learn(
        "env=gym", "env.id=tests.envs.worlds:worlds/Pairs-v0", "agent=ppo", *ALL[1:],
        "budget.env_steps=12000", "rollout_length=64", "agent.lr=3e-3",
        "evaluation.confirm_episodes=20",
        "paradigm=sequential", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert result["final_return"] > -2
