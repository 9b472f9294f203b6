"""The last few observations as one (Mnih et al. 2015: four pictures, in which one sees motion)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from agents.packed import Packed


class Stack(VectorWrapper):
    """Shows the last `count` observations side by side along the last axis, the oldest first:
    pictures [height, width, channels] become [height, width, count * channels], vectors [n] become
    [count * n], and each array of a packed one does so by itself. An episode begins with `count`
    copies of its first one.

    It works in every autoreset mode and with resets of single slots; the obs that it returns are
    new arrays. `metadata["stack"]` is `count`, but 1 where observations are packed, whose single
    frames nobody can tell apart. Raises ValueError for other shapes.
    """

    def __init__(self, env: VectorEnv, count: int) -> None:
        super().__init__(env)
        shown = env.single_observation_space
        if not isinstance(shown, spaces.Box) or len(shown.shape) not in (1, 3):
            raise ValueError(
                f"env.stack={count} is for pictures [height, width, channels] and vectors, but the"
                f" env shows {shown}: set env.stack=1"
            )
        self.count, self.shown = count, shown
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.stacked = stacked(shown, count)
        self.single_observation_space = self.stacked
        self.observation_space = batch_space(self.stacked, env.num_envs)
        self.metadata = {**env.metadata, "stack": 1 if isinstance(shown, Packed) else count}
        self.over = np.zeros(env.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        mask = (options or {}).get("reset_mask")
        obs, info = self.env.reset(seed=seed, options=options)
        if mask is None:
            self.obs, self.over[:] = self._begun(obs), False
        else:
            self.obs, self.over = self.obs.copy(), self.over & ~mask
            self.obs[mask] = self._begun(obs[mask])
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
            self.obs[begun] = self._begun(obs[begun])
        self.over = over
        return self.obs, reward, terminated, truncated, info

    def _begun(self, obs: np.ndarray) -> np.ndarray:
        """The stacks [N, ...] of first observations."""
        if not isinstance(self.shown, Packed) or not isinstance(self.stacked, Packed):
            return np.tile(obs, self.count)
        each = self.shown.split(obs)
        return self.stacked.pack({name: np.tile(x, self.count) for name, x in each.items()})

    def _after(self, before: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """The stacks [N, ...] of what is shown after those of before."""
        if not isinstance(self.shown, Packed) or not isinstance(self.stacked, Packed):
            return onto(before, obs)
        older, each = self.stacked.split(before), self.shown.split(obs)
        return self.stacked.pack({name: onto(older[name], x) for name, x in each.items()})


def stacked(space: spaces.Box, count: int) -> spaces.Box:
    """The space of stacks of `count` observations of a space."""
    if isinstance(space, Packed):
        images = {name: (h, w, count * c) for name, (h, w, c) in space.images.items()}
        return Packed({name: count * n for name, n in space.vectors.items()}, images)
    low, high = (np.tile(bound, count) for bound in (space.low, space.high))
    return spaces.Box(low, high, dtype=space.dtype.type)


def onto(stack: np.ndarray, obs: np.ndarray) -> np.ndarray:
    """The stack [..., S x C] without its oldest part, and with the next one [..., C]."""
    return np.concatenate((stack[..., obs.shape[-1] :], obs), -1)
