"""A stand-in for EnvPool that steps Gymnasium's own envs, so that bits can be compared."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


class PoolStandIn:
    """What `envpool.make` of version 1.2.5 returns, over Gymnasium's envs."""

    def __init__(self, id: str, env_type: str, num_threads: int, **config: Any) -> None:
        if unknown := config.keys() - {"num_envs", "seed", "max_episode_steps"}:
            raise TypeError(f"Config.__new__() got an unexpected keyword argument {unknown}")
        assert env_type == "gymnasium" and len(config["seed"]) == config["num_envs"]
        self.seeds = dict(enumerate(config["seed"]))
        self.threads, self.closed = num_threads, False
        limit = config.get("max_episode_steps")
        self.envs = [gym.make(id, max_episode_steps=limit) for _ in self.seeds]
        shown, self.action_space = self.envs[0].observation_space, self.envs[0].action_space
        if isinstance(shown, gym.spaces.Box):  # wrong, as they are for lunar lander
            shown = gym.spaces.Box(1.2e-38, np.inf, shown.shape, shown.dtype)
        self.observation_space = shown
        self.over = np.zeros(len(self.envs), bool)

    def _start(self, slot: int) -> Any:
        self.over[slot] = False
        return self.envs[slot].reset(seed=self.seeds.pop(slot, None))[0]

    def reset(self, env_id: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        slots = range(len(self.envs)) if env_id is None else env_id
        return np.stack([self._start(slot) for slot in slots]), {"env_id": slots}

    def step(self, actions: np.ndarray, env_id: np.ndarray | None = None) -> tuple[Any, ...]:
        rows = []
        slots = range(len(self.envs)) if env_id is None else env_id
        for action, slot in zip(actions, slots, strict=True):
            if self.over[slot]:
                rows.append((self._start(slot), 0.0, False, False))
                continue
            obs, reward, terminated, truncated, _ = self.envs[slot].step(action)
            rows.append((obs, reward, terminated and not truncated, truncated))
            self.over[slot] = terminated or truncated
        obs, reward, terminated, truncated = map(np.array, zip(*rows, strict=True))
        return obs, reward.astype(np.float32), terminated, truncated, {"elapsed_step": None}

    def close(self) -> None:
        self.closed = True
