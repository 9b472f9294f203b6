"""Who may go ahead: updates owed by env steps, and env steps held back by updates."""

from __future__ import annotations

import math

import numpy as np

from paradigms.parts.memory import Shared

COLUMNS = (
    "collected",  # env steps
    "added",  # env steps that reached the replay
    "fragments",
    "episodes",
    "length",  # summed over finished episodes
    "updates",
    "granted",  # updates claimed
    "rounds",
    "merges",
    "lost",  # merges refused for a NaN
)


class Pace:
    """Shared counters, one writer each, and the two questions that they answer.

    ratio: updates per env step, after `warmup` env steps over all workers. slack: how many owed
    updates the actors may be ahead; 0 is lockstep: a worker begins its next fragment when the round
    of the last one is done. limit: the budget in env steps. The table has a row a worker (rank 0..)
    and one for the learner (rank -1).
    """

    def __init__(self, *, ratio: float, warmup: int, slack: int, workers: int, limit: int) -> None:
        if ratio < 0 or slack < 0:
            raise ValueError("updates_per_env_step and slack must be 0 or more")
        self.ratio, self.warmup, self.slack = ratio, warmup, slack
        self.workers, self.limit = workers, limit
        self._table = Shared((workers + 1, 16), np.int64)  # two cache lines a row

    def total(self, column: str) -> int:
        """The sum of a column over all processes."""
        return int(self._table.array[:, COLUMNS.index(column)].sum())

    def count(self, column: str, rank: int, n: int = 1) -> None:
        """Adds to the caller's own counter (rank -1: the learner's)."""
        self._table.array[rank, COLUMNS.index(column)] += n

    def own(self, column: str, rank: int) -> int:
        return int(self._table.array[rank, COLUMNS.index(column)])

    def owed(self, steps: int, share: int = 1) -> int:
        """Updates that so many env steps ask for; with a share of 1/`share` of the warm-up."""
        return math.floor(self.ratio * max(0, steps - self.warmup // share))

    def claim(self, most: int, rank: int = -1) -> int:
        """Grants at most `most` of the owed updates to the one dispenser, or to a worker (rank >=
        0) those that its own rows owe, as long as all rows together owe them too."""
        if rank < 0:
            due = self.owed(self.total("added")) - self.own("granted", -1)
        else:
            due = self.owed(self.own("added", rank), self.workers) - self.own("granted", rank)
            due = min(due, self.debt())
        grant = max(0, min(most, due))
        self.count("granted", rank, grant)
        return grant

    def debt(self) -> int:
        """Updates owed by what is added and not granted yet."""
        return max(0, self.owed(self.total("added")) - self.total("granted"))

    def may_collect(self, rank: int) -> bool:
        """Whether the worker may begin another fragment."""
        if self.slack == 0:
            return self.own("rounds", -1) >= self.own("fragments", rank)
        return self.owed(self.total("collected")) - self.total("updates") <= self.slack

    def spent(self, rank: int | None = None) -> bool:
        """Whether the budget of env steps is used up, for a worker or (None) for what is added."""
        if rank is None:
            return self.total("added") >= self.limit
        if self.slack == 0:
            return self.own("collected", rank) * self.workers >= self.limit
        return self.total("collected") >= self.limit

    def share(self) -> float:
        """How much of the env-step budget is done, 0..1."""
        return min(1.0, self.total("added") / max(1, self.limit))

    def save(self) -> dict[str, np.ndarray]:
        return {"table": self._table.array.copy()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Takes the counters up. Rows that were on their way to the replay are gone: they count as
        never collected, and their round as done, or everybody would wait for them. Updates that
        were granted and not made are owed again."""
        table = np.array(state["table"])
        table[:, COLUMNS.index("granted")] = table[:, COLUMNS.index("updates")]
        collected, added = COLUMNS.index("collected"), COLUMNS.index("added")
        gone = int(table[:, collected].sum() - table[:, added].sum())
        for rank in range(self.workers):
            taken = min(max(0, gone), int(table[rank, collected]))
            table[rank, collected] -= taken
            gone -= taken
        table[-1, COLUMNS.index("rounds")] = table[:, COLUMNS.index("fragments")].max()
        self._table.array[...] = table
