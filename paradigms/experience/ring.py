"""Packed transitions in shared memory, one ring a stream, and how n-step transitions are read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paradigms.experience.layout import Layout
from paradigms.runtime.memory import Shared

KEPT = ("action", "version")


class Path(NamedTuple):
    """The next n steps after some transitions, [N] each. reward, discount: float32, see
    `Ring.gather`. steps: int64, fewer than n at an episode's end and at the write position. end:
    int64, where the last of them lies. terminated, ended: bool, whether it ends the episode."""

    reward: np.ndarray
    discount: np.ndarray
    steps: np.ndarray
    end: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray


class Ring:
    """The last `length` transitions of each of `streams` streams. The transition with serial number
    n (its place in the life of its stream) lies at n % length.

    A transition's next observation is that of the next transition of its stream; where an episode
    ends, it is the episode's last observation, which lies in `final`. The owner knows which
    transitions are complete.

        ring.put(at, transitions)                      # the writer; then, of episodes that end,
        ring.end(at[ended], final)
    """

    def __init__(self, layout: Layout, *, streams: int, length: int) -> None:
        self.layout, self.length = layout, length
        self.packed = Shared((streams * length, layout.transition.itemsize), np.uint8)
        self.final = Shared((streams * length, layout.frame.itemsize), np.uint8)
        self.extras = [k for k in layout.extras if k not in (*KEPT, "obs", "reward", "is_first")]

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
        """A view of `final`, by place: [streams x length, *frame shape]."""
        frame = self.layout.frame
        return self.final.array.view(frame.base).reshape(-1, *frame.shape)

    def at(self, stream: np.ndarray | int, serial: np.ndarray | int) -> Any:
        """Positions in `transitions` and `last`, int64."""
        return stream * self.length + serial % self.length

    def put(self, at: np.ndarray, transitions: np.ndarray) -> None:
        """Overwrites the transitions at `at`, int64 [N]. The writer's, as `end` is."""
        self.transitions[at] = transitions

    def end(self, at: np.ndarray, final: np.ndarray) -> None:
        """Keeps the last observations [N, ...] of episodes that end with the transitions at `at`,
        int64 [N]."""
        self.last[at] = final

    def finals(self, at: np.ndarray) -> np.ndarray:
        """Copies of the last observations [N, ...] of episodes that end at `at`, int64 [N]."""
        final: np.ndarray = self.last[at]
        return final

    def shown(self, stream: np.ndarray, serial: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Copies of the whole observations [N, ...] at (stream, serial), int64 [N] each; first:
        bool [N], whether an episode begins there."""
        obs: np.ndarray = self.transitions["obs"][self.at(stream, serial)]
        return obs

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
        path = self.walk(stream, serial, head, n_step=n_step, gamma=gamma)
        transitions, at = self.transitions, self.at(stream, serial)
        next_obs = self.shown(stream, serial + path.steps, np.zeros(len(serial), bool))
        over = np.flatnonzero(path.ended)
        self.layout.kept(next_obs)[over] = self.finals(path.end[over])
        columns = {name: transitions[name][at] for name in (*KEPT, *self.extras)}
        return columns | {
            "obs": self.shown(stream, serial, transitions["is_first"][at]),
            "reward": path.reward,
            "discount": path.discount,
            "next_obs": next_obs,
        }

    def walk(
        self,
        stream: np.ndarray,
        serial: np.ndarray,
        head: np.ndarray,
        *,
        n_step: int,
        gamma: float,
    ) -> Path:
        """What follows the transitions (stream, serial), int64 [N] each; arguments as of
        `gather`."""
        transitions, at = self.transitions, self.at(stream, serial)
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
        discount = np.where(terminated, 0, gamma**steps).astype(np.float32)
        return Path(reward, discount, steps, end, terminated, ended)

    def errors(
        self,
        stream: np.ndarray,
        serial: np.ndarray,
        head: np.ndarray,
        *,
        n_step: int,
        gamma: float,
    ) -> np.ndarray:
        """Absolute n-step TD errors, float32 [N], by what the actors stored: |reward + discount
        `value` - `q`|, `q` that of the transition and `value` that of the one n steps later. NaN
        where the latter is not there: at the write position, and at a time limit. Arguments as of
        `gather`."""
        transitions = self.transitions
        path = self.walk(stream, serial, head, n_step=n_step, gamma=gamma)
        value = transitions["value"][self.at(stream, serial + path.steps)]
        known = path.terminated | (~path.ended & (serial + path.steps < head))
        value = np.where(path.terminated, 0, np.where(known, value, np.nan))
        q = transitions["q"][self.at(stream, serial)]
        error: np.ndarray = np.abs(path.reward + path.discount * value - q)
        return error
