"""What is remembered and drawn: a ring of packed transitions for every env slot, in shared
memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from agents.base import Batch, Spec
from paradigms.experience.layout import Fragment, Layout
from paradigms.experience.ring import Ring
from paradigms.runtime.memory import Shared


class Uniform:
    """The last `capacity` transitions of all writers, drawn with equal probability and replacement.

    Each env slot of each writer is a stream with a ring and a head of its own, so that nobody waits
    for anybody: one process writes a stream, any number read (see `Ring` for what a transition
    becomes).

        replay.add(fragment)                           # in the one process that writes this rank
        batch = replay.sample(256, generator)          # anywhere
        replay.update(batch.index, learned.priority)   # where it was sampled

    A subclass that draws otherwise overrides `_draw`, one that has transitions elsewhere `columns`.
    """

    kind = "uniform"
    once = False  # its transitions stay: how often they are drawn is the run's setting
    shared = True  # several processes may draw from everybody's transitions

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
    ) -> None:
        self.layout = Layout(spec, rollout_length, num_envs)
        self.writers, self.num_envs, self.n_step, self.gamma = writers, num_envs, n_step, gamma
        self.device = device
        self.streams = writers * num_envs
        self.margin = 4 * (rollout_length + 1)
        self.window = max(1, capacity // self.streams)
        self.length = self.window + self.margin
        self.ring = Ring(self.layout, streams=self.streams, length=self.length)
        self._heads = Shared((self.streams, 8), np.int64)  # a cache line a stream
        self._floors = Shared((self.streams, 8), np.int64)  # serials below it are gone
        self._next_number = Shared(writers, np.int64)
        self._torn = Shared(1, np.int64)  # a rare count that two at once may get wrong by one
        self._duplicated = Shared(writers, np.int64)

    @property
    def torn(self) -> int:
        """Batches drawn again, over all processes, because a writer came round."""
        return int(self._torn.array[0])

    @property
    def duplicated(self) -> int:
        """Transitions dropped, over all processes, because they had been stored before."""
        return int(self._duplicated.array.sum())

    @property
    def late(self) -> int:
        """Priorities dropped, over all processes, because their transitions had been forgotten."""
        return 0

    @property
    def nbytes(self) -> int:
        """Bytes that a full replay takes, at most."""
        return self.ring.nbytes

    def __len__(self) -> int:
        heads = self.heads()
        return int((heads - self._first(heads)).sum())

    def heads(self) -> np.ndarray:
        """How many transitions each stream has ever held: what a reader may see, [streams]."""
        return self._heads.array[:, 0].copy()

    def add(self, fragment: Fragment) -> int:
        """Stores the valid transitions once and returns their number; one seen before is
        dropped."""
        if fragment.number < self._next_number.array[fragment.rank]:
            self._duplicated.array[fragment.rank] += fragment.n_valid
            return 0
        ring, last = self.ring.transitions, self.ring.last
        added = 0
        for slot in range(self.num_envs):
            stream = fragment.rank * self.num_envs + slot
            transitions = fragment.transitions[:, slot]
            kept = np.flatnonzero(transitions["valid"])
            head, floor = int(self._heads.array[stream, 0]), int(self._floors.array[stream, 0])
            self._floors.array[stream, 0] = max(floor, head + len(kept) + 1 - self.length)
            at = self.ring.at(stream, head + np.arange(len(kept) + 1))
            if head and len(kept) and transitions["is_first"][kept[0]]:
                self._close(self.ring.at(stream, head - 1), at[0])
            ring[at[:-1]] = transitions[kept]
            ended = kept[transitions["terminated"][kept] | transitions["truncated"][kept]]
            last[at[np.searchsorted(kept, ended)]] = fragment.final_obs[ended, slot]
            ring["obs"][at[-1]] = fragment.next_obs[slot]
            self._heads.array[stream, 0] = head + len(kept)
            added += len(kept)
        self._next_number.array[fragment.rank] = fragment.number + 1
        return added

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """`size` transitions as a Batch: obs action reward discount next_obs weight index version.

        `heads` names what may be seen (default: everything up to now), `ranks` whose transitions.
        `index` = serial number in the stream x streams + stream.
        """
        heads = self.heads() if heads is None else heads
        columns = self.columns(size, generator, heads, ranks)
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in columns.items()})

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Does nothing: all transitions are alike here."""

    def columns(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        """What `sample` puts into a batch (fields of `transitions.drawn`); drawn again if a writer
        came round while they were read."""
        while True:
            stream, serial, weight = self._draw(size, generator, heads, ranks)
            gathered = self._gather(stream, serial, heads[stream])
            if (serial >= self._floors.array[stream, 0]).all():
                index = serial * self.streams + stream
                return gathered | {"index": index, "weight": weight}
            self._torn.array[0] += 1

    def _draw(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None,
    ) -> Drawn:
        """Which transitions, and how much they weigh."""
        sizes = heads - self._first(heads)
        if ranks is not None:
            mine = np.isin(np.arange(self.streams) // self.num_envs, ranks)
            sizes = np.where(mine, sizes, 0)
        ends = np.cumsum(sizes)
        drawn = torch.randint(int(ends[-1]), (size,), generator=generator).numpy()
        stream = np.searchsorted(ends, drawn, side="right")
        return Drawn(stream, (heads - ends)[stream] + drawn, np.ones(size, np.float32))

    def _first(self, heads: np.ndarray) -> np.ndarray:
        """The oldest transition of each stream that may be drawn, of those below `heads`:
        [streams]."""
        held = np.maximum(heads - self.window, self._floors.array[:, 0])
        first: np.ndarray = np.minimum(held, heads)
        return first

    def _gather(
        self, stream: np.ndarray, serial: np.ndarray, head: np.ndarray
    ) -> dict[str, np.ndarray]:
        return self.ring.gather(stream, serial, head, n_step=self.n_step, gamma=self.gamma)

    def _close(self, previous: int, head: int) -> None:
        """An episode that its actor gave up counts as truncated at what it last saw."""
        ring, last = self.ring.transitions, self.ring.last
        if not (ring["terminated"][previous] or ring["truncated"][previous]):
            last[previous] = ring["obs"][head]
            ring["truncated"][previous] = True

    def save(self) -> dict[str, Any]:
        """The filled part of every stream, and the counters. Writers go on meanwhile: what one
        comes round to while its stream is copied is left out."""
        numbers = self._next_number.array.copy()  # first: of a later fragment nothing is refused
        heads, parts = self.heads(), []
        for stream in range(self.streams):
            heads[stream] = self._heads.array[stream, 0]
            serial = np.arange(self._first(heads)[stream], heads[stream] + 1)
            at = self.ring.at(stream, serial)
            transitions, last = self.ring.packed.array[at], self.ring.final.array[at]
            gone = np.searchsorted(serial, self._floors.array[stream, 0])
            parts.append((transitions[gone:], last[gone:]))
        return {
            "heads": heads,
            "numbers": numbers,
            "transitions": [torch.from_numpy(transitions) for transitions, _ in parts],
            "last": [torch.from_numpy(last) for _, last in parts],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `save` returned, from a replay of the same streams."""
        if len(state["heads"]) != self.streams:
            raise ValueError(
                f"the checkpoint's replay has {len(state['heads'])} streams, this run"
                f" {self.streams}: resume with the same workers and num_envs"
            )
        for stream, head in enumerate(np.asarray(state["heads"])):
            transitions = np.asarray(state["transitions"][stream])[-(self.window + 1) :]
            obs = np.asarray(state["last"][stream])[-(self.window + 1) :]
            first = head + 1 - len(transitions)
            at = self.ring.at(stream, np.arange(first, head + 1))
            self.ring.packed.array[at], self.ring.final.array[at] = transitions, obs
            self._heads.array[stream, 0], self._floors.array[stream, 0] = head, first
        self._next_number.array[:] = np.asarray(state["numbers"])


class Drawn(NamedTuple):
    """Transitions by stream and serial number, int64 [N], and their weights in the loss, float32
    [N]."""

    stream: np.ndarray
    serial: np.ndarray
    weight: np.ndarray
