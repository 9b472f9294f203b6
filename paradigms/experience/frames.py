"""Images that are stacks of frames, each frame stored once: uint8, stacked again when drawn.

Mnih et al. 2015 (Human-level control through deep reinforcement learning, Methods) show an agent
the last four frames. Kept whole, a transition has eight: one new, and seven that neighbours have.
"""

from __future__ import annotations

import numpy as np

from paradigms.experience.layout import Layout
from paradigms.experience.ring import Ring
from paradigms.runtime.memory import Shared

# N transitions, S frames of a stack, H, W, C rows, columns and channels of a frame


class Frames(Ring):
    """A ring whose transitions have the newest frame of their observation (see `Layout.frame`).

    An observation is the last S frames of its episode, the oldest first; where the episode has
    fewer, its first one stands for those that are missing, as in envs/stack.py. So what
    comes before a transition must be in the ring, as far as its episode and S - 1 transitions go:
    the owner sees to it.

    An episode's last frame belongs to no transition. Places for these frames are taken where they
    are needed and given back with their transitions, so that they occupy memory for as many
    episodes as have ended in the ring at once.
    """

    def __init__(self, layout: Layout, *, streams: int, length: int) -> None:
        super().__init__(layout, streams=streams, length=length)
        fields = layout.transition.fields
        assert fields is not None
        start = fields["obs"][1]
        self._bytes = slice(start, start + layout.frame.itemsize)  # copied faster than fields are
        self._place = Shared(streams * length, np.int64)  # in `last`, of an episode's end
        self._taken = Shared((streams, length), np.bool_)

    @property
    def nbytes(self) -> int:
        """Bytes of a full ring, and of the last frames that it has now."""
        return self.packed.nbytes + int(self._taken.array.sum()) * self.layout.frame.itemsize

    def put(self, at: np.ndarray, transitions: np.ndarray) -> None:
        were = self.transitions
        gone = at[were["terminated"][at] | were["truncated"][at]]
        self._taken.array.reshape(-1)[self._place.array[gone]] = False
        super().put(at, transitions)

    def end(self, at: np.ndarray, final: np.ndarray) -> None:
        for one, frame in zip(at, final, strict=True):
            stream = int(one) // self.length
            place = stream * self.length + int(self._taken.array[stream].argmin())
            self.last[place] = frame
            self._place.array[one] = place
            self._taken.array.reshape(-1)[place] = True

    def finals(self, at: np.ndarray) -> np.ndarray:
        final: np.ndarray = self.last[self._place.array[at]]
        return final

    def shown(self, stream: np.ndarray, serial: np.ndarray, first: np.ndarray) -> np.ndarray:
        """[N, H, W, S x C]; where C is 1, a view of [N, S, H, W], as convolutions want it."""
        frame, begins = self.layout.frame, self.transitions["is_first"]
        rows = np.empty((len(serial), self.layout.stack), np.int64)
        rows[:, -1] = self.at(stream, serial)
        for k in reversed(range(self.layout.stack - 1)):
            serial = np.where(first, serial, serial - 1)
            rows[:, k] = self.at(stream, serial)
            first = begins[rows[:, k]]
        frames = self.packed.array[:, self._bytes][rows].view(frame.base)
        frames = frames.reshape(*rows.shape, *frame.shape)
        return np.moveaxis(frames, 1, -2).reshape(len(rows), *self.layout.obs.shape)


def observations(layout: Layout, fragments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The whole observations of fragments [M] and those after them within their episodes, copies
    [M, T, B, ...] each; after a step with valid=False, arbitrary ones."""
    transitions = fragments["transitions"]
    obs = np.concatenate((transitions["obs"], fragments["next_obs"][:, None]), 1)
    if layout.stack > 1:
        begins = np.concatenate((transitions["is_first"], ~transitions["valid"][:, -1:]), 1)
        obs = stacked(layout, obs, fragments["before"], begins)
    obs, next_obs = obs[:, :-1], obs[:, 1:].copy()
    ended = transitions["terminated"] | transitions["truncated"]
    final = fragments["final_obs"][ended]
    if layout.stack > 1:
        final = np.concatenate((obs[ended][..., layout.frame.shape[-1] :], final), -1)
    next_obs[ended] = final
    return obs, next_obs


def stacked(
    layout: Layout, newest: np.ndarray, before: np.ndarray, begins: np.ndarray
) -> np.ndarray:
    """Stacks [M, T, B, H, W, S x C] of their newest frames [M, T, B, H, W, C]; before: the older
    ones of the first of them, [M, B, H, W, (S - 1) x C]; begins: bool [M, T, B], where episodes
    do."""
    (many, length, slots), older = begins.shape, layout.stack - 1
    sides, depth = layout.frame.shape[:-1], layout.frame.shape[-1]
    split = before.reshape(many, slots, *sides, older, depth)
    frames = np.concatenate((np.moveaxis(split, -2, 1), newest), 1)
    place = np.arange(older, older + length)[:, None]
    first = np.maximum.accumulate(np.where(begins, place, 0), 1)
    shown = np.maximum(place[..., None] + np.arange(-older, 1), first[..., None])  # [M, T, B, S]
    slot = np.arange(slots)[:, None]
    chosen = np.moveaxis(frames[np.arange(many)[:, None, None, None], shown, slot], 3, -2)
    whole: np.ndarray = chosen.reshape(many, length, slots, *layout.obs.shape)
    return whole
