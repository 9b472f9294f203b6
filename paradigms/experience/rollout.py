"""Fragments that are consumed once and then forgotten, for agents that learn on-policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from agents.base import Batch, Spec
from paradigms.errors import Empty
from paradigms.experience.channel import Channel
from paradigms.experience.frames import observations
from paradigms.experience.layout import Fragment, Layout
from paradigms.runtime.memory import Shared


class Rollout:
    """A batch is the next `fragments` fragments side by side: the oldest first, of equally old ones
    the lowest rank.

    Each writer has a Channel of fragments, which one process both fills and empties. Nothing
    blocks: the pace holds an actor back before it collects (see Once in loop/pace.py), so that
    there is always space. A stream is a writer, and write positions count fragments.

    capacity: how many fragments of a writer may wait. fragments: of a batch. With 1, batches and
    updates per env step are the same for any number of writers; None is one fragment of every
    writer (the batch of A2C), which grows with their number. n_step is ignored: agents compute
    their own returns.

    Batches have T = rollout_length steps of N = fragments x num_envs env slots: every column of a
    transition, and next_obs, discount float32 (gamma, 0 where terminated) and weight float32 (1, 0
    where not valid), [T, N, ...] each; extras per fragment are [N, ...].
    """

    kind = "rollout"
    once = True
    shared = False
    frames = True

    def __init__(
        self,
        spec: Spec,
        *,
        capacity: Annotated[int, Ge(1)] = 1,
        fragments: Annotated[int, Ge(1)] | None = 1,
        writers: int,
        num_envs: int,
        rollout_length: int,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str = "cpu",
    ) -> None:
        if fragments is not None and not 1 <= fragments <= capacity:
            raise ValueError(
                f"replay.fragments={fragments} must lie in [1, replay.capacity={capacity}], because"
                " so many fragments of one worker must be able to wait"
            )
        self.layout = Layout(spec, rollout_length, num_envs, frames=self.frames, alone=True)
        self.capacity, self.streams, self.fragments = capacity, writers, fragments
        self.gamma, self.device, self.torn, self.late = gamma, device, 0, 0
        self._ring = Channel(self.layout, writers, capacity)
        self._duplicated = Shared(writers, np.int64)
        self._before = np.zeros(writers, np.int64)  # fragments consumed before a run was resumed

    @property
    def taken(self) -> np.ndarray:
        """How many fragments of each writer have been consumed, int64 [writers]."""
        return self._ring.taken

    @property
    def duplicated(self) -> int:
        """Transitions dropped because they had been added before."""
        return int(self._duplicated.array.sum())

    @property
    def nbytes(self) -> int:
        """Bytes that a full replay takes."""
        return self.streams * self.capacity * int(self.layout.fragment.itemsize)

    def __len__(self) -> int:
        """How many fragments wait."""
        return self._ring.waiting()

    def heads(self) -> np.ndarray:
        return self._ring.sent

    def samples(self, fragments: np.ndarray) -> int:
        """How many batches can be made of `fragments`, the number of each of some writers."""
        if self.fragments is None:
            return int(fragments.min())
        return int(fragments.sum()) // self.fragments

    def add(self, fragment: Fragment) -> int:
        if fragment.number < self._ring.sent[fragment.rank]:
            self._duplicated.array[fragment.rank] += fragment.n_valid
            return 0
        self._put(fragment)
        return fragment.n_valid

    def uncounted(self, rank: int, transitions: int, fragments: int) -> int:
        number = int(self.heads()[rank])
        if number - self._before[rank] <= fragments:
            return 0
        return self._ring.peek(rank, number - 1).n_valid  # whoever died had not come to use it

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """The next batch of these writers. Nothing is drawn, so that size, generator and heads are
        ignored. Raises Empty, and consumes nothing, while fragments are missing."""
        ranks = list(range(self.streams) if ranks is None else ranks)
        if not self.samples((self.heads() - self.taken)[ranks]):
            raise Empty(f"the fragments of a whole batch of workers {ranks} have not arrived")
        ranks = list(self._next(ranks))
        taken, first = np.empty(len(ranks), self.layout.fragment), self.taken
        for place, rank in enumerate(ranks):
            number = int(first[rank]) + ranks[:place].count(rank)
            taken[place] = self._ring.peek(rank, number).data
        for rank in {*ranks}:  # at once: a process that dies consumes a whole batch or nothing
            self._ring.free(rank, ranks.count(rank))
        return self._batch(taken)

    def nothing(self) -> Batch:
        """A batch of no fragments: columns are [T, 0, ...]."""
        return self._batch(np.empty(0, self.layout.fragment))

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        """Does nothing, because these transitions are not drawn again."""

    def save(self) -> dict[str, Any]:
        """The fragments that wait, oldest first, and the counters."""
        while True:
            heads, taken = self.heads(), self.taken
            waiting = self._waiting(self._kept(heads - taken))
            records = np.empty(len(waiting), self.layout.fragment)
            for place, (rank, number) in enumerate(waiting):
                records[place] = self._ring.peek(rank, number).data
            if (self.taken == taken).all():  # else some were consumed meanwhile
                break
        data = np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), records.itemsize)
        ranks = np.array([rank for rank, _ in waiting], np.int64)
        return {"heads": heads, "ranks": ranks, "fragments": data}

    def load(self, state: dict[str, Any]) -> None:
        """See `Replay.load`; also raises ValueError for fragments of another rollout_length.

        Every writer continues from the same fragment number, so that lockstep finds them in the
        same round.
        """
        if len(state["heads"]) != self.streams:
            raise ValueError(
                f"the checkpoint's replay has {len(state['heads'])} writers, this run"
                f" {self.streams}: resume with the same workers"
            )
        ranks, data = np.asarray(state["ranks"], np.int64), np.asarray(state["fragments"])
        if len(ranks) and data.shape[-1] != self.layout.fragment.itemsize:
            raise ValueError(
                f"the checkpoint's fragments have {data.shape[-1]} bytes, this run's"
                f" {self.layout.fragment.itemsize}: resume with the same rollout_length and"
                " num_envs"
            )
        waiting = np.bincount(ranks, minlength=self.streams)
        self._before = np.asarray(state["heads"]).max() - waiting
        self._ring.go_on(self._before)
        records = data.reshape(-1).view(self.layout.fragment)
        for place, rank in enumerate(ranks):
            self._put(Fragment(int(rank), records[place : place + 1].reshape(())))

    def _put(self, fragment: Fragment) -> None:
        self._ring.put(fragment)

    def _next(self, ranks: Sequence[int]) -> Sequence[int]:
        """The ranks whose fragments make the next batch of these writers, in order."""
        if self.fragments is None:
            return ranks
        mine = np.isin(np.arange(self.streams), ranks)
        waiting = self._waiting(np.where(mine, self.heads() - self.taken, 0))
        return [rank for rank, _ in waiting[: self.fragments]]

    def _kept(self, waiting: np.ndarray) -> np.ndarray:
        """How many of the `waiting` fragments of each writer are saved: with fragments=None those
        of whole batches alone."""
        return waiting if self.fragments else np.full_like(waiting, waiting.min())

    def _waiting(self, counts: np.ndarray) -> list[tuple[int, int]]:
        """(rank, number) of the oldest `counts` waiting fragments of each writer, oldest first."""
        taken = self.taken
        each = [
            (rank, int(taken[rank]) + n) for rank, count in enumerate(counts) for n in range(count)
        ]
        return sorted(each, key=self._age)

    def _age(self, waiting: tuple[int, int]) -> tuple[int, int]:
        """The sort key of a waiting fragment (rank, number)."""
        rank, number = waiting
        return number, rank

    def _batch(self, fragments: np.ndarray) -> Batch:
        transitions = fragments["transitions"]  # [N, T, B]
        columns = {name: transitions[name] for name in self.layout.transition.names or ()}
        columns["obs"], columns["next_obs"] = observations(self.layout, fragments)
        columns["discount"] = np.float32(self.gamma) * ~columns["terminated"]
        columns["weight"] = columns["valid"].astype(np.float32)
        arrays = {name: _side_by_side(column) for name, column in columns.items()}
        for name in self.layout.states:
            arrays[name] = fragments[name].reshape(-1, *fragments[name].shape[2:])
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in arrays.items()})


class Fifo(Rollout):
    """A batch is the next `fragments` fragments in their order of arrival, whoever collected them
    (the queue of IMPALA: Espeholt et al. 2018, arXiv:1802.01561, section 3)."""

    kind = "fifo"

    def __init__(
        self,
        spec: Spec,
        *,
        capacity: Annotated[int, Ge(1)] = 4,
        fragments: Annotated[int, Ge(1)] = 1,
        writers: int,
        num_envs: int,
        rollout_length: int,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            spec, capacity=capacity, fragments=fragments, writers=writers, num_envs=num_envs,
            rollout_length=rollout_length, n_step=n_step, gamma=gamma, device=device,
        )  # fmt: skip
        self._arrival = Shared((writers, capacity), np.int64)

    def _put(self, fragment: Fragment) -> None:
        number = int(self.heads()[fragment.rank])
        self._arrival.array[fragment.rank, number % self.capacity] = self.heads().sum()
        self._ring.put(fragment)

    def _age(self, waiting: tuple[int, int]) -> tuple[int, int]:
        rank, number = waiting
        return int(self._arrival.array[rank, number % self.capacity]), rank


def _side_by_side(column: np.ndarray) -> np.ndarray:
    """[N, T, B, ...] -> [T, N * B, ...]."""
    n, rollout_length, num_envs, *shape = column.shape
    return np.ascontiguousarray(np.moveaxis(column, 0, 1)).reshape(
        rollout_length, n * num_envs, *shape
    )
