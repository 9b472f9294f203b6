"""One car as an env of Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from envs.racing.world import Race


class RaceEnv(gym.Env[np.ndarray, np.ndarray]):
    """world.Race with one car, and the same keywords; `info["metrics"]` holds plain numbers."""

    def __init__(self, **keywords: Any) -> None:
        self.race = Race(1, autoreset_mode=AutoresetMode.DISABLED, **keywords)
        self.metadata = self.race.metadata
        self.render_mode = keywords.get("render_mode")
        self.observation_space = self.race.single_observation_space
        self.action_space = self.race.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None and not self.race.steps.any():
            seed = int(self.np_random.integers(2**31))
        return self.race.reset(seed=seed)[0][0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.race.step(np.asarray(action)[None])
        if "metrics" in info:
            info = {"metrics": {name: float(v[0]) for name, v in info["metrics"].items()}}
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        frames = self.race.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        self.race.close()
