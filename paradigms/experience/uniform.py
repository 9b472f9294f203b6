"""The newest transitions, drawn with equal probability: a ring for every env slot, in shared
memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from agents.base import Batch, Spec
from paradigms.experience.frames import Frames
from paradigms.experience.layout import Fragment, Layout
from paradigms.experience.ring import Ring
from paradigms.experience.shift import check, moved
from paradigms.runtime.memory import Shared

HEAD, CLOSED = range(2)  # of a stream: its write position; episodes whose actor was replaced


class Uniform:
    """The last `capacity` transitions of all writers, drawn with equal probability and replacement.

    Each env slot of each writer is a stream with a ring and a write position of its own (see
    `Ring`), so that writers and readers never wait for each other.

        replay.add(fragment)                           # in the one process that writes this rank
        batch = replay.sample(256, generator)          # anywhere

    `sample` makes tensors of `columns`, which gathers from the ring what `_draw` chooses. A
    subclass that chooses otherwise overrides `_draw`, one that has transitions elsewhere `columns`.

    shift: pixels by which images are shifted at random when they are drawn (see shift.py).
    """

    kind = "uniform"
    once = False
    shared = True
    frames = True

    def __init__(
        self,
        spec: Spec,
        *,
        capacity: Annotated[int, Ge(1)],
        writers: int,
        num_envs: int,
        rollout_length: int,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str = "cpu",
        shift: Annotated[int, Ge(0)] = 0,
    ) -> None:
        check(spec, shift)
        self.layout = Layout(spec, rollout_length, num_envs, frames=self.frames)
        self.writers, self.num_envs, self.n_step, self.gamma = writers, num_envs, n_step, gamma
        self.device, self.shift = device, shift
        self.streams = writers * num_envs
        self.history = self.layout.stack - 1  # transitions before one that its stack may need
        self.margin = 4 * (rollout_length + 1) + self.history
        self.window = max(1, capacity // self.streams)
        self.length = self.window + self.margin
        kind = Ring if self.layout.stack == 1 else Frames
        self.ring = kind(self.layout, streams=self.streams, length=self.length)
        self._heads = Shared((self.streams, 8), np.int64)  # a cache line a stream: HEAD, CLOSED
        self._floors = Shared((self.streams, 8), np.int64)  # serial numbers below it are gone
        self._next_number = Shared(writers, np.int64)
        self._torn = Shared(1, np.int64)  # a rare count that two at once may get wrong by one
        self._duplicated = Shared(writers, np.int64)

    @property
    def torn(self) -> int:
        """Draws repeated, over all processes, because a writer came round, or closed an episode."""
        return int(self._torn.array[0])

    @property
    def duplicated(self) -> int:
        """Transitions dropped, over all processes, because they had been added before."""
        return int(self._duplicated.array.sum())

    @property
    def late(self) -> int:
        """Priorities dropped, over all processes, because their transitions were gone."""
        return 0

    def __len__(self) -> int:
        """How many transitions may be drawn now."""
        heads = self.heads()
        return int((heads - self._first(heads)).sum())

    def heads(self) -> np.ndarray:
        return self._heads.array[:, HEAD].copy()

    def add(self, fragment: Fragment) -> int:
        if fragment.number < self._next_number.array[fragment.rank]:
            self._duplicated.array[fragment.rank] += fragment.n_valid
            return 0
        ring, added = self.ring, 0
        for slot in range(self.num_envs):
            stream = fragment.rank * self.num_envs + slot
            transitions = fragment.transitions[:, slot]
            valid = np.flatnonzero(transitions["valid"])
            head, floor = int(self._heads.array[stream, HEAD]), int(self._floors.array[stream, 0])
            intact = head + len(valid) + 1 - self.length + self.history
            self._floors.array[stream, 0] = max(floor, intact)
            at = ring.at(stream, head + np.arange(len(valid) + 1))
            if head and (transitions["is_first"][0] or not transitions["valid"][0]):
                self._close(stream, ring.at(stream, head - 1), at[0])
            ring.put(at[:-1], transitions[valid])
            ended = np.flatnonzero(
                transitions["terminated"][valid] | transitions["truncated"][valid]
            )
            ring.end(at[ended], fragment.final_obs[valid[ended], slot])
            ring.transitions["obs"][at[-1]] = fragment.next_obs[slot]
            self._heads.array[stream, HEAD] = head + len(valid)
            added += len(valid)
        self._next_number.array[fragment.rank] = fragment.number + 1
        return added

    def uncounted(self, rank: int, transitions: int, fragments: int) -> int:
        mine = self.heads()[rank * self.num_envs : (rank + 1) * self.num_envs]
        return max(0, int(mine.sum()) - transitions)

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        heads = self.heads() if heads is None else heads
        columns = self.columns(size, generator, heads, ranks)
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in columns.items()})

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Does nothing, because draws have no priorities here."""

    def columns(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        """What `sample` makes a batch of, as arrays: the fields of `Layout.sampled`."""
        while True:
            closed = self._heads.array[:, CLOSED].copy()
            stream, serial, weight = self._draw(size, generator, heads, ranks)
            columns = self.ring.gather(
                stream, serial, heads[stream], n_step=self.n_step, gamma=self.gamma
            )
            there = (serial >= self._floors.array[stream, 0]).all()
            if there and (closed == self._heads.array[:, CLOSED])[stream].all():
                break
            self._torn.array[0] += 1
        for name in ("obs", "next_obs") if self.shift else ():
            columns[name] = moved(columns[name], self.layout.space, self.shift, generator)
        return columns | {"index": serial * self.streams + stream, "weight": weight}

    def _draw(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stream and serial number of `size` transitions, int64 [size] each, and their weights
        in the loss, float32 [size]."""
        sizes = heads - self._first(heads)
        if ranks is not None:
            mine = np.isin(np.arange(self.streams) // self.num_envs, ranks)
            sizes = np.where(mine, sizes, 0)
        ends = np.cumsum(sizes)
        drawn = torch.randint(int(ends[-1]), (size,), generator=generator).numpy()
        stream = np.searchsorted(ends, drawn, side="right")
        return stream, (heads - ends)[stream] + drawn, np.ones(size, np.float32)

    def _first(self, heads: np.ndarray) -> np.ndarray:
        """The serial number of the oldest transition of each stream that may be drawn when the
        write positions are `heads`, int64 [streams]."""
        held = np.maximum(heads - self.window, self._floors.array[:, 0])
        first: np.ndarray = np.minimum(held, heads)
        return first

    def _close(self, stream: int, previous: int, head: int) -> None:
        """Marks an episode as truncated whose actor was replaced, or whose env raised, before it
        ended. Whoever has read that it goes on must not take what is written to `head` next for its
        next observation: the count of CLOSED, between the two, tells."""
        ring = self.ring.transitions
        if not (ring["terminated"][previous] or ring["truncated"][previous]):
            self.ring.end(np.array([previous]), ring["obs"][[head]])
            ring["truncated"][previous] = True
            self._heads.array[stream, CLOSED] += 1

    def save(self) -> dict[str, Any]:
        """The filled part of every stream, the last observations of its episodes, and the
        counters."""
        numbers = self._next_number.array.copy()  # before `heads`: an older one is harmless
        heads, parts = self.heads(), []
        for stream in range(self.streams):
            closed = -1
            while closed != (now := int(self._heads.array[stream, CLOSED])):
                closed = now
                heads[stream] = self._heads.array[stream, HEAD]
                part = self._filled(stream, heads)
            parts.append(part)
        return {
            "heads": heads,
            "numbers": numbers,
            "transitions": [torch.from_numpy(transitions) for transitions, _ in parts],
            "final": [torch.from_numpy(final) for _, final in parts],
        }

    def _filled(self, stream: int, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Copies of a stream's transitions, with the observation at the write position, uint8
        [N + 1, bytes], and of the last observations of the episodes that end in them."""
        oldest = max(0, int(self._first(heads)[stream]) - self.history)
        serial = np.arange(oldest, heads[stream] + 1)
        at = self.ring.at(stream, serial)
        packed = self.ring.packed.array[at]
        ended = self._ended(packed)
        final = self.ring.finals(at[ended]).reshape(len(ended), -1 if len(ended) else 0)
        gone = np.searchsorted(serial, self._floors.array[stream, 0] - self.history)
        return packed[gone:], final[np.searchsorted(ended, gone) :]

    def load(self, state: dict[str, Any]) -> None:
        if len(state["heads"]) != self.streams:
            raise ValueError(
                f"the checkpoint's replay has {len(state['heads'])} streams, this run"
                f" {self.streams}: resume with the same workers and num_envs"
            )
        for stream, head in enumerate(np.asarray(state["heads"])):
            packed = np.asarray(state["transitions"][stream])[-(self.window + self.history + 1) :]
            first = head + 1 - len(packed)
            at = self.ring.at(stream, np.arange(first, head + 1))
            self.ring.packed.array[at] = packed
            for name in ("terminated", "truncated"):
                self.ring.transitions[name][at[-1:]] = False  # there is only an observation
            ended, final = at[self._ended(packed)], np.asarray(state["final"][stream])
            final = final[len(final) - len(ended) :]
            self.ring.end(ended, final.reshape(len(ended), *self.layout.frame.shape))
            self._heads.array[stream, HEAD] = head
            self._floors.array[stream, 0] = first + self.history if first else 0
        self._next_number.array[:] = np.asarray(state["numbers"])

    def _ended(self, packed: np.ndarray) -> np.ndarray:
        """Which transitions end an episode, int64. The last one is none: it has only the obs at the
        write position."""
        transitions = packed[:-1].view(self.layout.transition)[:, 0]
        ended: np.ndarray = np.flatnonzero(transitions["terminated"] | transitions["truncated"])
        return ended
