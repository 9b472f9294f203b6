"""The weights, settings and scores of a population, one round after another, in shared memory."""

from __future__ import annotations

import numpy as np
import torch

from agents.parts.draws import key
from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared


class Population:
    """What members tell each other at the end of a round: whole vectors, points of the search and
    scores. Each member writes its own; all read when the round is complete:

        population.publish(rank, number, snapshot, point, score)
        link.wait("population", lambda: population.complete(number))
        donor = population.donor(rank, number, seed=seed)

    Two rounds are kept: nobody ends one before everybody has ended the one before it.
    """

    def __init__(self, vector: Vector, members: int, settings: int) -> None:
        self.members = members
        self._floats = Shared((2, members, len(vector.floats)), np.float32)
        self._counts = Shared((2, members, len(vector.counts)), np.int64)
        self._points = Shared((2, members, settings), np.float64)
        self._scores = Shared((2, members), np.float64)
        self._ended = Shared((members, 8), np.int64)  # rounds; a cache line each
        self._copies = Shared((members, 8), np.int64)
        self._floats.tensor[:] = vector.floats.cpu()
        self._counts.tensor[:] = vector.counts

    @property
    def copies(self) -> int:
        """How many times a member has taken over another one's weights."""
        return int(self._copies.array[:, 0].sum())

    @property
    def bytes_moved(self) -> int:
        """Bytes of all vectors that were published and copied."""
        published = int(self._ended.array[:, 0].sum())
        return (published + self.copies) * 4 * int(self._floats.shape[2])

    def publish(
        self, rank: int, number: int, snapshot: Snapshot, point: np.ndarray, score: float
    ) -> None:
        """A member's weights ("all"), settings and score at the end of round `number`."""
        at = (number % 2, rank)
        self._floats.tensor[at].copy_(snapshot.floats)
        self._counts.tensor[at].copy_(snapshot.counts)
        self._points.array[at], self._scores.array[at] = point, score
        self._ended.array[rank, 0] = number + 1

    def complete(self, number: int) -> bool:
        """Whether every member has ended the round."""
        return bool((self._ended.array[:, 0] > number).all())

    def donor(self, rank: int, number: int, *, seed: int) -> int | None:
        """Whom a member copies after a round: None, or for the worst max(1, 20 %) of the members
        one of the best as many, drawn by (seed, round, member) (Jaderberg et al. 2017,
        arXiv:1711.09846, truncation selection). None too if its score is not below the donor's."""
        scores = self._scores.array[number % 2]
        few = max(1, self.members // 5)
        order = np.argsort(-scores, kind="stable")
        if rank not in order[-few:]:
            return None
        donor = int(order[key(seed, "donor", number, rank) % few])
        return donor if scores[donor] > scores[rank] else None

    def copy(
        self, rank: int, donor: int, number: int
    ) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """The donor's floats, counts and point of a complete round, for member `rank`."""
        at = (number % 2, donor)
        self._copies.array[rank, 0] += 1
        floats, counts = self._floats.tensor[at].clone(), self._counts.tensor[at].clone()
        return floats, counts, self._points.array[at].copy()

    def snapshot(self, part: str, size: int) -> Snapshot:
        """The best member's newest weights, of the last round that all have ended."""
        number = int(self._ended.array[:, 0].min()) - 1
        best = int(self._scores.array[number % 2].argmax()) if number >= 0 else 0
        at = (number % 2, best)
        counts = self._counts.tensor[at].clone()
        return Snapshot(part, self._floats.tensor[at][:size].clone(), counts, int(counts[0]))
