"""How far does DQN of Stable-Baselines3 come on Breakout in the same time?

    python -m benchmarks.breakout_peer seed=100 budget.seconds=1800 hydra.run.dir=FOLDER

Its own preparation of Atari (AtariWrapper, VecFrameStack), and the values of its collection of
tuned ones (Raffin 2020, RL Baselines3 Zoo), but a replay of 100,000 and a short warm-up, as our
side has them. It is measured between updates, on whole games. Writes FOLDER/result.json,
metrics.jsonl and config.yaml as train.py does; env steps are frames. Needs paceline[peers,atari]
and OpenCV. Stable-Baselines3: Raffin et al. 2021, JMLR 22(268).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

FRAMES = 4  # of an action
EPISODES = 5
SECONDS_BETWEEN = 60.0  # of evaluations
GAME = "BreakoutNoFrameskip-v4"
VALUES: dict[str, Any] = {
    "learning_rate": 1e-4,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "batch_size": 32,
    "train_freq": 4,
    "gradient_steps": 1,
    "target_update_interval": 1_000,
    "exploration_fraction": 25_000 / 10_000_000,  # of `ACTIONS`: where ours ends its fall too
    "exploration_final_eps": 0.01,
}
ACTIONS = 10_000_000  # more than there is time for


def main() -> None:
    options: Any = OmegaConf.from_dotlist(sys.argv[1:])
    folder, seconds = Path(options.hydra.run.dir), float(options.budget.seconds)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create({"seed": options.seed, **VALUES}), folder / "config.yaml")
    points = train(int(options.seed), time.monotonic() + seconds, folder / "metrics.jsonl")
    means, last = [point["mean"] for point in points], points[-1]
    result = {
        "stopped_by": "budget",
        "solved": False,
        "best_return": max(means),
        "final_return": last["mean"],
        **{name: last[name] for name in ("env_steps", "updates", "seconds")},
        "updates_per_second": last["updates"] / last["seconds"],
    }
    (folder / "result.json").write_text(json.dumps(result))


def train(seed: int, end: float, metrics: Path) -> list[dict[str, float]]:
    """Trains until `end`, on the clock of time.monotonic; the evaluations, also as lines."""
    import ale_py
    import gymnasium as gym
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecFrameStack

    gym.register_envs(ale_py)
    begun, points = time.monotonic(), list[dict[str, float]]()
    whole = {"terminal_on_life_loss": False, "clip_reward": False}
    tests = VecFrameStack(make_atari_env(GAME, seed=seed + 1000, wrapper_kwargs=whole), 4)

    class Measuring(BaseCallback):
        due = begun + SECONDS_BETWEEN

        def _on_step(self) -> bool:
            now = time.monotonic()
            if now < min(self.due, end):
                return True
            at = {"seconds": now - begun, "env_steps": FRAMES * self.num_timesteps}
            returns, _ = evaluate_policy(
                self.model, tests, EPISODES, deterministic=True, return_episode_rewards=True
            )
            updates = self.model._n_updates
            point = {**at, "updates": updates, "mean": np.mean(returns), "std": np.std(returns)}
            points.append({name: float(value) for name, value in point.items()})
            with metrics.open("a") as file:
                print(json.dumps({"kind": "evaluation", **points[-1]}), file=file)
            self.due = time.monotonic() + SECONDS_BETWEEN
            return now < end

    worlds = VecFrameStack(make_atari_env(GAME, seed=seed), 4)
    peer = DQN("CnnPolicy", worlds, seed=seed, device="cpu", **VALUES)
    peer.learn(ACTIONS, callback=Measuring())
    return points


if __name__ == "__main__":
    main()
