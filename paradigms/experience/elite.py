"""A share of every batch is drawn from the best episodes, which are kept beside the newest
transitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Le

from agents.base import Spec, at_least, within
from paradigms.experience.layout import Fragment, Layout
from paradigms.experience.ring import Ring
from paradigms.experience.uniform import Uniform
from paradigms.runtime.memory import Shared

NUMBER, STREAM, BEGUN, LENGTH, BORN, DIED = range(6)
ALIVE = int(np.iinfo(np.int64).max)


class Elite(Uniform):
    """round(share * size) transitions of a batch are drawn from the best episodes, the others as in
    Uniform. With share 0, and until there is an episode, this is Uniform to the bit.

    Every writer keeps its episodes of the largest undiscounted return, at most `episodes` of them
    with `transitions` transitions together (see Best). Their transitions are drawn with equal
    probability and replacement, whoever collected them. Not kept are episodes that were truncated
    because their actor was replaced or their env raised, and those longer than `transitions` or
    than a stream's part of `capacity`.

    finetune: in this last share of `budget` env steps, whole batches are drawn from the best
    episodes. It begins when `heads.sum()` reaches it; the learner counts `heads`, so that all
    processes change at the same batch.

    The study `elites` (benchmarks/README.md) found no gain from either.
    """

    kind = "elite"
    frames = False

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
        share: Annotated[float, Ge(0), Le(1)] = 0.25,
        episodes: Annotated[int, Ge(1), Le(1000)] = 20,
        transitions: Annotated[int, Ge(1), Le(1_000_000)] = 20_000,
        finetune: Annotated[float, Ge(0), Le(1)] = 0.0,
        budget: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        super().__init__(
            spec, capacity=capacity, writers=writers, num_envs=num_envs,
            rollout_length=rollout_length, n_step=n_step, gamma=gamma, device=device,
        )  # fmt: skip
        within(0, 1, "replay", share=share, finetune=finetune)
        at_least(1, "replay", episodes=episodes, transitions=transitions)
        if finetune and budget is None:
            raise ValueError(f"replay.finetune={finetune} needs replay.budget, in env steps")
        self.share = share
        self.finetune_from = math.inf  # transitions added
        if finetune and budget is not None:
            self.finetune_from = (1 - finetune) * budget / spec.action_repeat
        longest = min(transitions, self.window, spec.max_episode_steps or transitions)
        self.best = Best(self.layout, writers, episodes, transitions, longest)

    def add(self, fragment: Fragment) -> int:
        before, transitions = self.heads(), self.ring.transitions
        added = super().add(fragment)
        heads = self.heads()
        for slot in range(self.num_envs):
            stream, mine = fragment.rank * self.num_envs + slot, fragment.transitions[:, slot]
            serial = np.arange(before[stream], heads[stream])
            at = self.ring.at(stream, serial)
            interrupted = np.append((mine["truncated"] & ~mine["valid"])[1:], False)[mine["valid"]]
            ended = transitions["terminated"][at] | transitions["truncated"][at]
            for last in serial[ended & ~interrupted[: len(serial)]]:
                self._enter(stream, int(last), heads)
        return added

    def columns(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        count = size if heads.sum() >= self.finetune_from else round(self.share * size)
        best = self._best(count, generator, heads) if count else None
        if best is None:
            return super().columns(size, generator, heads, ranks)
        if count == size:
            return best
        newest = super().columns(size - count, generator, heads, ranks)
        return {name: np.concatenate((newest[name], best[name])) for name in newest}

    def _best(
        self, count: int, generator: torch.Generator, heads: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """Columns of `count` transitions of the best episodes; None if there is no episode."""
        while len((kept := self.best.kept(self._added(heads))).place):
            ends = np.cumsum(kept.length)
            drawn = torch.randint(int(ends[-1]), (count,), generator=generator).numpy()
            at = np.searchsorted(ends, drawn, side="right")
            step = drawn - (ends - kept.length)[at]
            columns = self.best.ring.gather(
                kept.place[at], step, kept.length[at], n_step=self.n_step, gamma=self.gamma
            )
            if not self.best.overwritten(kept):
                index = (kept.begun[at] + step) * self.streams + kept.stream[at]
                return columns | {"index": index, "weight": np.ones(count, np.float32)}
            self._torn.array[0] += 1
        return None

    def _enter(self, stream: int, last: int, heads: np.ndarray) -> None:
        """Submits the episode that ends with transition `last`, if the ring holds it whole."""
        start = max(int(self._first(heads)[stream]), last + 1 - self.best.longest)
        at = self.ring.at(stream, np.arange(start, last + 1))
        firsts = np.flatnonzero(self.ring.transitions["is_first"][at])
        if len(firsts):
            begun, at = start + int(firsts[-1]), at[firsts[-1] :]
            packed, final = self.ring.packed.array[at], self.ring.final.array[at[-1]]
            self.best.enter(
                self._added(heads), stream // self.num_envs, stream, begun, packed, final
            )

    def _added(self, heads: np.ndarray) -> np.ndarray:
        """Transitions that each writer has ever added, int64 [writers]."""
        added: np.ndarray = heads.reshape(self.writers, self.num_envs).sum(1)
        return added

    def save(self) -> dict[str, Any]:
        """What Uniform saves, and the best episodes at its write positions."""
        state = super().save()
        while True:
            kept = self.best.kept(self._added(state["heads"]))
            packed, final = self.best.copies(kept)
            if not self.best.overwritten(kept):
                break
        return state | {
            "best_stream": kept.stream,
            "best_begun": kept.begun,
            "best_transitions": [torch.from_numpy(one) for one in packed],
            "best_last": [torch.from_numpy(obs) for obs in final],
        }

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        added = self._added(self.heads())
        best = (state[f"best_{key}"] for key in ("stream", "begun", "transitions", "last"))
        for stream, begun, packed, final in zip(*best, strict=True):
            if len(packed) <= self.best.longest:
                whose = int(stream) // self.num_envs, int(stream), int(begun)
                self.best.enter(added, *whose, np.asarray(packed), np.asarray(final))


class Kept(NamedTuple):
    """K episodes, int64 [K] each: the place an episode lies in, its number among its writer's
    episodes, the stream it came from, the serial number of its first transition there, and how many
    transitions it has."""

    place: np.ndarray
    number: np.ndarray
    stream: np.ndarray
    begun: np.ndarray
    length: np.ndarray


class Best:
    """The best episodes of each writer, in shared memory: one writer a rank, any number of readers,
    no lock. An episode has at most `longest` transitions.

    Each writer has 2 * episodes places. The episode in a place was kept while its writer had added
    at least BORN and fewer than DIED transitions, so that readers can ask which episodes were kept
    at earlier write positions, until the place is used again. NUMBER is 0 while a place is being
    written and another one afterwards: a reader that finds it changed draws again.
    """

    def __init__(
        self, layout: Layout, writers: int, episodes: int, transitions: int, longest: int
    ) -> None:
        self.episodes, self.transitions, self.longest = episodes, transitions, longest
        self.places = 2 * episodes
        self.ring = Ring(layout, streams=writers * self.places, length=longest)
        self._returns = Shared(writers * self.places, np.float64)
        self._table = Shared((writers * self.places, 8), np.int64)

    def enter(
        self,
        added: np.ndarray,
        rank: int,
        stream: int,
        begun: int,
        packed: np.ndarray,
        final: np.ndarray,
    ) -> None:
        """Takes an episode in if it is one of the best of worker `rank`, and drops those that are
        no longer; of equal returns the older one stays. For the writer of this rank alone.

        added: int64 [writers], transitions added so far. begun: the serial number of the first
        transition in `stream`. packed: uint8 [T, bytes], its transitions; final: uint8 [bytes], its
        last observation.
        """
        mine = slice(rank * self.places, (rank + 1) * self.places)
        table, returns = self._table.array[mine], self._returns.array[mine]
        alive = np.flatnonzero(table[:, DIED] == ALIVE)
        number = int(table[:, NUMBER].max()) + 1
        gained = packed.view(self.ring.layout.transition)["reward"].sum(dtype=np.float64)

        numbers, gains = np.append(table[alive, NUMBER], number), np.append(returns[alive], gained)
        order = np.lexsort((numbers, -gains))
        fits = np.cumsum(np.append(table[alive, LENGTH], len(packed))[order]) <= self.transitions
        kept = order[fits][: self.episodes]
        if len(alive) not in kept:
            return
        table[np.delete(alive, kept[kept < len(alive)]), DIED] = added[rank]
        place = int(table[:, DIED].argmin())  # never used, or dead for longest
        table[place, NUMBER] = 0
        at = self.ring.at(rank * self.places + place, np.arange(len(packed)))
        self.ring.packed.array[at], self.ring.final.array[at[-1]] = packed, final
        returns[place] = gained
        table[place, STREAM : DIED + 1] = stream, begun, len(packed), added[rank], ALIVE
        table[place, NUMBER] = number

    def kept(self, added: np.ndarray) -> Kept:
        """The episodes kept when the writers had added `added` transitions, int64 [writers]: by
        rank, the oldest first."""
        number = self._table.array[:, NUMBER].copy()  # before what it vouches for
        table, rank = self._table.array.copy(), np.arange(len(number)) // self.places
        now = added[rank]
        kept = (table[:, BORN] <= now) & (now < table[:, DIED]) & (number > 0)
        place = np.flatnonzero(kept)
        place = place[np.lexsort((number[place], rank[place]))]
        columns = (table[place, column] for column in (STREAM, BEGUN, LENGTH))
        return Kept(place, number[place], *columns)

    def overwritten(self, kept: Kept) -> bool:
        """Whether some of the episodes have been overwritten since `kept` returned them."""
        return not np.array_equal(self._table.array[kept.place, NUMBER], kept.number)

    def copies(self, kept: Kept) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """uint8 [T, bytes] and [bytes] of each episode: its transitions, its last observation."""
        sizes = zip(kept.place, kept.length, strict=True)
        at = [self.ring.at(place, np.arange(length)) for place, length in sizes]
        packed, final = self.ring.packed.array, self.ring.final.array
        return [packed[one] for one in at], [final[one[-1]].copy() for one in at]
