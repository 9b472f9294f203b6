"""The best episodes of every writer, in shared memory that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from paradigms.experience.layout import Layout
from paradigms.experience.ring import Ring
from paradigms.runtime.memory import Shared

EDITION, NUMBER, STREAM, BEGUN, LENGTH, BORN, DIED = range(7)
NEVER = int(np.iinfo(np.int64).max)


class Best:
    """What each of `writers` keeps: its episodes of the largest undiscounted return, in that order,
    of equals the older first, as many as `episodes` and `transitions` (env steps) allow. None is
    longer than `longest`.

    An episode lies in one of twice as many places as may be kept, and counts from when its writer
    had added `born` transitions until `died`. So what is kept depends on how much has been added,
    and an older moment can be asked for until so many have come since that a place was needed. Its
    `edition` is odd while a place is written, and another one afterwards: a reader that sees it
    change draws again. Each writer writes its own places; memory is taken where episodes lie.

        best.enter(rank, now, stream, begun, packed, final)      # in the one process of this rank
        kept = best.kept(added); ...; torn = best.changed(kept)  # anywhere
    """

    def __init__(
        self, layout: Layout, *, writers: int, episodes: int, transitions: int, longest: int
    ) -> None:
        self.writers, self.episodes, self.transitions, self.longest = (
            writers,
            episodes,
            transitions,
            longest,
        )
        self.places = 2 * episodes
        self.ring = Ring(layout, streams=writers * self.places, length=longest)
        self.returns = Shared(writers * self.places, np.float64)
        self._table = Shared((writers * self.places, 8), np.int64)

    def enter(
        self, rank: int, now: int, stream: int, begun: int, packed: np.ndarray, final: np.ndarray
    ) -> None:
        """Takes an episode in, if it is one of the best, and lets worse ones go.

        now: transitions that the writer has added. stream, begun: where its first transition was.
        packed: bytes of its transitions, [T, width]; final: of its last observation.
        """
        mine = slice(rank * self.places, (rank + 1) * self.places)
        table, returns = self._table.array[mine], self.returns.array[mine]
        alive = np.flatnonzero(table[:, DIED] == NEVER)
        number = int(table[:, NUMBER].max()) + 1
        total = packed.view(self.ring.layout.transition)["reward"].sum(dtype=np.float64)

        numbers, totals = np.append(table[alive, NUMBER], number), np.append(returns[alive], total)
        order = np.lexsort((numbers, -totals))
        fits = np.cumsum(np.append(table[alive, LENGTH], len(packed))[order]) <= self.transitions
        kept = order[fits][: self.episodes]
        if len(alive) not in kept:
            return
        table[np.delete(alive, kept[kept < len(alive)]), DIED] = now
        place = int(table[:, DIED].argmin())  # never used, or dead for longest
        table[place, EDITION] += 1
        at = self.ring.at(rank * self.places + place, np.arange(len(packed)))
        self.ring.packed.array[at], self.ring.final.array[at[-1]] = packed, final
        returns[place] = total
        table[place, NUMBER : DIED + 1] = number, stream, begun, len(packed), now, NEVER
        table[place, EDITION] += 1

    def kept(self, added: np.ndarray, ranks: Sequence[int] | None = None) -> Kept:
        """Episodes kept when writers had `added` [writers] transitions, of `ranks` or of all, in
        the order in which each writer's came."""
        edition = self._table.array[:, EDITION].copy()  # before what it vouches for
        table, rank = self._table.array.copy(), np.arange(len(edition)) // self.places
        now = added[rank]
        kept = (table[:, BORN] <= now) & (now < table[:, DIED]) & (edition % 2 == 0)
        if ranks is not None:
            kept &= np.isin(rank, ranks)
        place = np.flatnonzero(kept)
        place = place[np.lexsort((table[place, NUMBER], rank[place]))]
        transition = table[place]
        return Kept(
            place,
            edition[place],
            transition[:, STREAM],
            transition[:, BEGUN],
            transition[:, LENGTH],
        )

    def changed(self, kept: Kept) -> bool:
        """Whether some of the episodes have been written over since."""
        return not np.array_equal(self._table.array[kept.place, EDITION], kept.edition)

    def copy(self, kept: Kept) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Bytes of the episodes' transitions and of their last observations."""
        sizes = zip(kept.place, kept.length, strict=True)
        at = [self.ring.at(place, np.arange(length)) for place, length in sizes]
        packed, final = self.ring.packed.array, self.ring.final.array
        return [packed[one] for one in at], [final[one[-1]].copy() for one in at]


class Kept(NamedTuple):
    """Episodes [K]: the places they lie in and those places' editions, the streams they came from,
    the serial numbers of their first transitions, and how many transitions they have."""

    place: np.ndarray
    edition: np.ndarray
    stream: np.ndarray
    begun: np.ndarray
    length: np.ndarray
