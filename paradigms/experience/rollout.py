"""Fragments that are consumed once and then forgotten: for agents that learn from what their newest
policy has done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from agents.base import Batch, Spec
from paradigms.errors import Empty
from paradigms.experience.channel import Channel
from paradigms.experience.layout import Fragment, Layout
from paradigms.runtime.memory import Shared


class Rollout:
    """The next `fragments` fragments, side by side: the oldest first, of equals the lowest rank.

    A short ring of fragments for each writer: one process adds a rank's fragments, and the same one
    takes them, so that what was taken is taken. Nobody waits here: an actor is held back before it
    collects (see loop.pace.Once), so that there is always space.

    capacity: how many fragments of a writer may wait. fragments: of a batch; with 1 a batch, and so
    the number of updates an env step, is the same however many writers there are. None is one
    fragment of every writer, the batch of synchronous actor-critics (A2C), which grows with their
    number. n_step is the agent's own business here.
    """

    kind = "rollout"
    once = True
    shared = False

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
        self.layout = Layout(spec, rollout_length, num_envs)
        self.capacity, self.streams, self.fragments = capacity, writers, fragments
        self.gamma, self.device, self.torn, self.late = gamma, device, 0, 0
        self._ring = Channel(self.layout, writers, capacity)
        self._duplicated = Shared(writers, np.int64)

    @property
    def taken(self) -> np.ndarray:
        """How many fragments of each writer have been handed out, [writers]."""
        return self._ring.taken

    @property
    def duplicated(self) -> int:
        """Transitions dropped because they had been here before."""
        return int(self._duplicated.array.sum())

    @property
    def nbytes(self) -> int:
        """Bytes that a full replay takes."""
        return self.streams * self.capacity * int(self.layout.fragment.itemsize)

    def __len__(self) -> int:
        """How many fragments wait."""
        return self._ring.waiting()

    def heads(self) -> np.ndarray:
        """How many fragments of each writer have ever been added, [writers]."""
        return self._ring.sent

    def samples(self, fragments: np.ndarray) -> int:
        """How many samples so many fragments of each of some writers make."""
        if self.fragments is None:
            return int(fragments.min())
        return int(fragments.sum()) // self.fragments

    def add(self, fragment: Fragment) -> int:
        """Takes a fragment in and returns its valid transitions; 0 for one that was here before."""
        if fragment.number < self._ring.sent[fragment.rank]:
            self._duplicated.array[fragment.rank] += fragment.n_valid
            return 0
        self._put(fragment)
        return fragment.n_valid

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """The next sample of these writers (None: of all), time first: see Batch.

        Nothing is drawn: `size` and the generator are for replays that draw, and fragments come in
        their order, whatever `heads` says has been added. Raises Empty, and takes nothing,
        if some are still missing.
        """
        ranks = list(range(self.streams) if ranks is None else ranks)
        if not self.samples((self.heads() - self.taken)[ranks]):
            raise Empty(f"no whole sample of the workers {ranks} waits")
        ranks = self._next(ranks)
        taken = np.empty(len(ranks), self.layout.fragment)
        for place, rank in enumerate(ranks):
            taken[place] = self._ring.get(rank).data
            self._ring.free(rank)
        return self._batch(taken)

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        """Nothing: these transitions are not drawn again."""

    def save(self) -> dict[str, Any]:
        """The fragments that wait, oldest first, and the counters."""
        while True:
            heads, taken = self.heads(), self.taken
            waiting = self._waiting(self._kept(heads - taken))
            records = np.empty(len(waiting), self.layout.fragment)
            for place, (rank, number) in enumerate(waiting):
                records[place] = self._ring.peek(rank, number).data
            if (self.taken == taken).all():  # else some were handed out meanwhile
                break
        data = np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), records.itemsize)
        ranks = np.array([rank for rank, _ in waiting], np.int64)
        return {"heads": heads, "ranks": ranks, "fragments": data}

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `save` returned, from a replay of the same writers.

        All count on from the same number, so that lockstep finds them in the same round.
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
        self._ring.go_on(np.asarray(state["heads"]).max() - waiting)
        records = data.reshape(-1).view(self.layout.fragment)
        for place, rank in enumerate(ranks):
            self._put(Fragment(int(rank), records[place : place + 1].reshape(())))

    def _put(self, fragment: Fragment) -> None:
        self._ring.put(fragment)

    def _next(self, ranks: Sequence[int]) -> Sequence[int]:
        """Whose fragments the next sample of these writers has."""
        if self.fragments is None:
            return ranks
        mine = np.isin(np.arange(self.streams), ranks)
        waiting = self._waiting(np.where(mine, self.heads() - self.taken, 0))
        return [rank for rank, _ in waiting[: self.fragments]]

    def _kept(self, waiting: np.ndarray) -> np.ndarray:
        """How many of those that wait are saved: of an incomplete sample of all nothing."""
        return waiting if self.fragments else np.full_like(waiting, waiting.min())

    def _waiting(self, counts: np.ndarray) -> list[tuple[int, int]]:
        """(rank, number) of so many that wait of each writer, oldest first."""
        taken = self.taken
        each = [
            (rank, int(taken[rank]) + n) for rank, count in enumerate(counts) for n in range(count)
        ]
        return sorted(each, key=self._age)

    def _age(self, waiting: tuple[int, int]) -> tuple[int, int]:
        """What the order of fragments (rank, number) follows."""
        rank, number = waiting
        return number, rank

    def _batch(self, fragments: np.ndarray) -> Batch:
        transitions = fragments["transitions"]  # [N, T, B]
        columns = {name: transitions[name] for name in self.layout.transition.names or ()}
        next_obs = np.empty_like(columns["obs"])
        next_obs[:, :-1], next_obs[:, -1] = columns["obs"][:, 1:], fragments["next_obs"]
        ended = columns["terminated"] | columns["truncated"]
        next_obs[ended] = fragments["final_obs"][ended]
        columns["next_obs"] = next_obs
        columns["discount"] = np.float32(self.gamma) * ~columns["terminated"]
        columns["weight"] = columns["valid"].astype(np.float32)
        arrays = {name: _side_by_side(column) for name, column in columns.items()}
        for name in self.layout.states:
            arrays[name] = fragments[name].reshape(-1, *fragments[name].shape[2:])
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in arrays.items()})


class Fifo(Rollout):
    """The next `fragments` ones in the order in which they arrived, whoever collected them
    (IMPALA's queue: Espeholt et al. 2018, arXiv:1802.01561, section 3)."""

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
