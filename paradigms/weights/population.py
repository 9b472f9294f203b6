"""The weights, settings and scores of a population, one round after another, in shared memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agents.parts.draws import key
from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared
from paradigms.weights.kept import MOST_TRIES, Kept


class Population:
    """What members tell each other at the end of a round: whole vectors, points of the search and
    scores. Each member writes its own; all read when the round is complete:

        population.show(rank, number, floats, counts, point, score)
        population.keep(rank, {"number": number, "ended": True, "run": progress.save(), ...})
        population.end(rank, number)
        link.wait("population", lambda: population.complete(number))
        donor = population.donor(rank, number, seed=seed)

    Two rounds are shown: nobody ends one before everybody has ended the one before it. Who leaves
    is not waited for any more, and what it showed last stands for its later rounds. What a member
    keeps is for the one that replaces it, and for checkpoints: `number` is its round,
    `ended` whether it waits for the others then, `run` the state of its own run.
    """

    def __init__(self, vector: Vector, members: int, settings: int) -> None:
        self.members = members
        self._shown = {
            "floats": Shared((2, members, len(vector.floats)), np.float32),
            "counts": Shared((2, members, len(vector.counts)), np.int64),
            "points": Shared((2, members, settings), np.float64),
            "scores": Shared((2, members), np.float64),
        }
        self._ended = Shared((members, 8), np.int64)  # rounds; a cache line each
        self._left = Shared((members, 8), np.int64)  # 1 + the last round of a member that is done
        self._copies = Shared((members, 8), np.int64)
        self._kept = Kept(members)
        self._shown["floats"].tensor[:] = vector.floats.cpu()
        self._shown["counts"].tensor[:] = vector.counts

    @property
    def copies(self) -> int:
        """How many times a member has taken over another one's weights."""
        return int(self._copies.array[:, 0].sum())

    @property
    def bytes_moved(self) -> int:
        """Bytes of all vectors that were shown and copied."""
        shown = int(self._ended.array[:, 0].sum())
        return (shown + self.copies) * 4 * int(self._shown["floats"].shape[2])

    def show(
        self,
        rank: int,
        number: int,
        floats: torch.Tensor,
        counts: torch.Tensor,
        point: np.ndarray,
        score: float,
    ) -> None:
        """A member's whole vector, settings and score at the end of round `number`, which the
        others read after `end`."""
        at = (number % 2, rank)
        self._shown["floats"].tensor[at].copy_(floats)
        self._shown["counts"].tensor[at].copy_(counts)
        self._shown["points"].array[at], self._shown["scores"].array[at] = point, score

    def keep(self, rank: int, state: dict[str, Any]) -> None:
        """Keeps what a member goes on from (see the class)."""
        self._kept.put(rank, state)

    def kept(self, rank: int) -> dict[str, Any] | None:
        """What the member has kept last, a copy; None if nothing."""
        return self._kept.newest(rank)

    def end(self, rank: int, number: int) -> None:
        """Marks the round as ended by a member."""
        self._ended.array[rank, 0] = number + 1

    def leave(self, rank: int, number: int) -> None:
        """Marks a member as done with the run, after the last round that it has shown."""
        self._left.array[rank, 0] = number + 1

    def complete(self, number: int) -> bool:
        """Whether every member has ended the round or left."""
        return bool(((self._ended.array[:, 0] > number) | (self._left.array[:, 0] > 0)).all())

    def scores(self, number: int) -> np.ndarray:
        """What members have shown as their scores of a round, float64 [members]; the last round but
        one at the earliest."""
        at = [self._at(rank, number) for rank in range(self.members)]
        return np.array([self._shown["scores"].array[place] for place in at])

    def donor(self, rank: int, number: int, *, seed: int) -> int | None:
        """Whom a member copies after a round: None, or for the worst max(1, 20 %) of the members
        one of the best as many, drawn by (seed, round, member) (Jaderberg et al. 2017,
        arXiv:1711.09846, truncation selection). None too if its score is not below the donor's."""
        scores = self.scores(number)
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
        at = self._at(donor, number)
        self._copies.array[rank, 0] += 1
        floats, counts = (self._shown[name].tensor[at].clone() for name in ("floats", "counts"))
        return floats, counts, self._shown["points"].array[at].copy()

    def snapshot(self, part: str, size: int) -> Snapshot:
        """The best member's newest weights, of the last round that all have ended."""
        while True:
            number = self._complete()
            best = int(self.scores(number).argmax()) if number >= 0 else 0
            at = self._at(best, number)
            floats = self._shown["floats"].tensor[at][:size].clone()
            counts = self._shown["counts"].tensor[at].clone()
            if self._complete() == number:  # else it may be another round's
                return Snapshot(part, floats, counts, int(counts[0]))

    def save(self) -> dict[str, Any]:
        """What is shown, and what every member has kept, all of one moment: nested dicts of arrays,
        tensors and numbers. Any process may call it while members go on; it begins anew where one
        of them ends a round meanwhile, and raises OSError where that does not end."""
        for _ in range(MOST_TRIES):
            before = self._stand()
            shown = {name: part.array.copy() for name, part in self._shown.items()}
            kept = [self.kept(rank) for rank in range(self.members)]
            if np.array_equal(self._stand(), before):
                return {"population": shown, "members": kept}
        raise OSError("the members end rounds faster than their population can be read")

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `save` returned, before members start. Raises ValueError for a population
        of another size or other settings, LookupError or TypeError for what is none."""
        shown, kept = state["population"], state["members"]
        if len(kept) != self.members:
            raise ValueError(
                f"the checkpoint's population has {len(kept)} members, this run {self.members}:"
                f" set paradigm.members={len(kept)}"
            )
        for name, part in self._shown.items():
            if shown[name].shape != part.shape or shown[name].dtype != part.dtype:
                raise ValueError(
                    f"the checkpoint's population/{name} has another shape: resume with the same"
                    " agent and paradigm.search"
                )
            part.array[...] = shown[name]
        for rank, one in enumerate(kept):
            if one is None:
                continue
            number, ended, point = one["number"], one["ended"], one["point"]
            if not isinstance(ended, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"the checkpoint's members/{rank} is at no round")
            if point.shape != self._shown["points"].shape[2:] or point.dtype != np.float64:
                raise ValueError(f"the checkpoint's members/{rank}/point has another shape")
            self.keep(rank, one)
            self._ended.array[rank, 0] = number + int(ended)

    def _at(self, rank: int, number: int) -> tuple[int, int]:
        """Where a member's part of a round is."""
        last = int(self._left.array[rank, 0])
        return (min(number, last - 1) if last else number) % 2, rank

    def _complete(self) -> int:
        """The last complete round, -1 if there is none; the last one of all where all have left."""
        ended, left = self._ended.array[:, 0], self._left.array[:, 0] > 0
        return int(ended.max() if left.all() else ended[~left].min()) - 1

    def _stand(self) -> np.ndarray:
        return np.stack([self._ended.array[:, 0], self._kept.versions])
