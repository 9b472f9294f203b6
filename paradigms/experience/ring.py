"""Packed transitions in shared memory, one ring a stream, and how n-step transitions are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from paradigms.experience.layout import Layout
from paradigms.runtime.memory import Shared

KEPT = ("obs", "action", "version")


class Ring:
    """The last `length` transitions of each of `streams` streams. The transition with serial number
    n (its place in the life of its stream) lies at n % length.

    A transition's next observation is that of the next transition of its stream; where an episode
    ends, it is the episode's last observation, which lies in `final`. The owner knows which
    transitions are complete.
    """

    def __init__(self, layout: Layout, *, streams: int, length: int) -> None:
        self.layout, self.length = layout, length
        self.packed = Shared((streams * length, layout.transition.itemsize), np.uint8)
        self.final = Shared((streams * length, layout.obs.itemsize), np.uint8)
        self.extras = [k for k in layout.extras if k not in (*KEPT, "reward", "is_first")]

    @property
    def nbytes(self) -> int:
        """Bytes of a full ring."""
        return self.packed.nbytes + self.final.nbytes

    @property
    def transitions(self) -> np.ndarray:
        """A view of all transitions, dtype `Layout.transition`, [streams x length]."""
        view: np.ndarray = self.packed.array.view(self.layout.transition)[:, 0]
        return view

    @property
    def last(self) -> np.ndarray:
        """A view of the last observations of episodes that end there, [streams x length, ...]."""
        obs = np.dtype((self.layout.obs.base, self.layout.obs.shape))
        return self.final.array.view(obs.base).reshape(-1, *obs.shape)

    def at(self, stream: np.ndarray | int, serial: np.ndarray | int) -> Any:
        """Positions in `transitions` and `last`, int64."""
        return stream * self.length + serial % self.length

    def gather(
        self,
        stream: np.ndarray,
        serial: np.ndarray,
        head: np.ndarray,
        *,
        n_step: int,
        gamma: float,
    ) -> dict[str, np.ndarray]:
        """Copies of the transitions (stream, serial), int64 [N] each, by column: obs, action,
        version, extras, reward, discount, next_obs.

        head: int64 [N], the write positions of their streams. reward: float32 [N], the discounted
        sum over n steps, stopping at the episode's end and at the write position (Sutton and Barto
        2018, section 7.1). discount: float32 [N], gamma^steps, 0 where terminated.
        """
        transitions, last = self.transitions, self.last
        at = self.at(stream, serial)
        reward, terminated = transitions["reward"][at], transitions["terminated"][at]
        ended = terminated | transitions["truncated"][at]
        end, steps = at, np.ones(len(serial), np.int64)
        for k in range(1, n_step):
            more = ~ended & (serial + k < head)
            if not more.any():
                break
            following = np.where(more, self.at(stream, serial + k), end)
            reward += np.where(more, np.float32(gamma**k) * transitions["reward"][following], 0)
            terminated = transitions["terminated"][following]
            ended = terminated | transitions["truncated"][following]
            end = following
            steps += more
        next_obs = transitions["obs"][self.at(stream, serial + steps)]
        over = np.flatnonzero(ended)
        next_obs[over] = last[end[over]]
        discount = np.where(terminated, 0, gamma**steps).astype(np.float32)
        transition = transitions[at]
        columns = {name: transition[name] for name in (*KEPT, *self.extras)}
        return columns | {"reward": reward, "discount": discount, "next_obs": next_obs}
