"""Latents in the place of images: what an autoencoder that was trained beforehand makes of them (Ha
and Schmidhuber 2018, arXiv:1803.10122). So they are what travels, what is stored, and what agents
see, and no agent has to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space


class Reader(Protocol):
    """What makes latents of images. shape: rows, columns and channels; size: how many latents."""

    shape: tuple[int, int, int]
    size: int

    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        """uint8 [n, rows, columns, channels] -> float32 [n, size], a new array."""
        ...


Readers: TypeAlias = Callable[[], Reader] | None


class Latents(VectorWrapper):
    """Shows float32 [size] for every uint8 image; all slots of a step are read at once.

    It works in every autoreset mode and with resets of single slots. Raises ValueError, in one
    sentence, for an env that shows something else than such images.
    """

    def __init__(self, env: VectorEnv, reader: Reader) -> None:
        super().__init__(env)
        shown = env.single_observation_space
        if shown.dtype != np.uint8 or shown.shape != reader.shape:
            rows, columns, channels = reader.shape
            raise ValueError(
                f"env.encoder reads uint8 images of {rows} x {columns} x {channels}, but the env"
                f" shows {' '.join(str(shown).split())}: train one with these settings and"
                " env.stack=1, or set env.encoder=null"
            )
        self.reader = reader
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (reader.size,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._read(obs), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        over = terminated | truncated
        if self.mode == AutoresetMode.SAME_STEP and over.any():
            final = np.array(obs)
            for slot in np.flatnonzero(over):
                final[slot] = info["final_obs"][slot]
            info = {**info, "final_obs": self._read(final)}
        return self._read(obs), reward, terminated, truncated, info

    def _read(self, images: np.ndarray) -> np.ndarray:
        return self.reader.forward_numpy(np.array(images))
