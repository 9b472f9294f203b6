"""How many warm-up episodes reach the goal, by the number of steps for which an action is held?

    python -m benchmarks.warmup env=mcar hold=16 episodes=200 seed=100 hydra.run.dir=FOLDER

Takes its arguments as train.py does and writes FOLDER/result.json. Reached: ended by the env, not
by its time limit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from agents.parts.explore import HeldActions
from benchmarks.cells import ROOT
from envs.make import make_env

SLOTS = 20


def reached(id: str, *, hold: int, episodes: int, seed: int) -> tuple[int, float]:
    """How many of `episodes` ended by themselves, and their mean length in env steps."""
    env = make_env(id, num_envs=SLOTS, seed=seed, autoreset="next_step")
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(env.single_action_space.shape or ()))
    goals, lengths = 0, 0
    for _ in range(episodes // SLOTS):
        actions = HeldActions(size, hold)
        state = actions.initial_state(SLOTS)
        env.reset()
        running = np.ones(SLOTS, bool)
        while running.any():
            action, state = actions(np.zeros((SLOTS, size), np.float32), state, 1.0, generator)
            _, _, terminated, truncated, _ = env.step(action)
            lengths += int(running.sum())
            goals += int((terminated & running).sum())
            running &= ~(terminated | truncated)
    env.close()
    return goals, lengths / episodes


def main() -> None:
    options = OmegaConf.to_container(OmegaConf.from_dotlist(sys.argv[1:]))
    assert isinstance(options, dict)
    world = OmegaConf.load(ROOT / "conf" / "env" / f"{options['env']}.yaml")
    episodes = int(options["episodes"])
    if episodes % SLOTS:
        sys.exit(f"episodes={episodes} must be a multiple of {SLOTS}")
    goals, length = reached(
        world.id, hold=int(options["hold"]), episodes=episodes, seed=int(options["seed"])
    )
    extra = {"episodes": episodes, "reached": goals, "episode_length_mean": length}
    folder = Path(options["hydra"]["run"]["dir"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps({"env": options["env"], "extra": extra}))


if __name__ == "__main__":
    main()
