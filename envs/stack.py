"""The last few observations as one (Mnih et al. 2015: four pictures, in which one sees motion)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space


class Stack(VectorWrapper):
    """Shows the last `count` observations side by side along the last axis, the oldest first:
    pictures [height, width, channels] become [height, width, count * channels], vectors [n] become
    [count * n]. An episode begins with `count` copies of its first one.

    It works in every autoreset mode and with resets of single slots; the obs that it returns are
    new arrays. `metadata["stack"]` is `count`. Raises ValueError for other shapes.
    """

    def __init__(self, env: VectorEnv, count: int) -> None:
        super().__init__(env)
        shown = env.single_observation_space
        if not isinstance(shown, spaces.Box) or len(shown.shape) not in (1, 3):
            raise ValueError(
                f"env.stack={count} is for pictures [height, width, channels] and vectors, but the"
                f" env shows {shown}: set env.stack=1"
            )
        self.count, self.last = count, shown.shape[-1]
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        low, high = (np.tile(bound, count) for bound in (shown.low, shown.high))
        self.single_observation_space = spaces.Box(low, high, dtype=shown.dtype.type)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.metadata = {**env.metadata, "stack": count}
        self.over = np.zeros(env.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        mask = (options or {}).get("reset_mask")
        obs, info = self.env.reset(seed=seed, options=options)
        if mask is None:
            self.obs, self.over[:] = np.tile(obs, self.count), False
        else:
            self.obs, self.over = self.obs.copy(), self.over & ~mask
            self.obs[mask] = np.tile(obs[mask], self.count)
        return self.obs, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        over = terminated | truncated
        before, self.obs = self.obs, self._after(self.obs, obs)
        begun = self.over if self.mode == AutoresetMode.NEXT_STEP else np.zeros_like(over)
        if self.mode == AutoresetMode.SAME_STEP and over.any():
            begun, final = over, np.array(obs)
            for slot in np.flatnonzero(over):
                final[slot] = info["final_obs"][slot]
            info = {**info, "final_obs": self._after(before, final)}
        if "env_error" in info:
            begun = begun | info["env_error"]["interrupted"]
        if begun.any():
            self.obs[begun] = np.tile(obs[begun], self.count)
        self.over = over
        return self.obs, reward, terminated, truncated, info

    def _after(self, before: np.ndarray, obs: np.ndarray) -> np.ndarray:
        return np.concatenate((before[..., self.last :], obs), -1)
