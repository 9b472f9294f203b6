"""Who may go ahead: updates owed by env steps, and env steps held back by updates."""

from __future__ import annotations

import math

import numpy as np

from paradigms.experience.rollout import Rollout
from paradigms.runtime.memory import Shared

COLUMNS = (
    "collected",  # env steps
    "added",  # env steps that reached the replay
    "fragments",
    "episodes",
    "length",  # summed over finished episodes
    "updates",
    "granted",  # learns claimed
    "rounds",
    "merges",
    "lost",  # merges refused for a NaN
    "learns",  # calls of `learn`: one makes an update, or with PPO many
    "arrived",  # fragments that reached the replay
    "resumed",  # learns granted before the run was resumed
)


class Pace:
    """Shared counters, one writer each, and the two questions that they answer.

    updates_per_env_step: updates per env step, after `warmup` env steps over all workers.
    max_ahead: how many owed updates the actors may be ahead; 0 is lockstep: a worker begins its
    next fragment when the round of the last one is done. limit: the budget in env steps.
    action_repeat: env steps of a stored row. The table has a row a worker (rank 0..) and one for
    the learner (rank -1). What is claimed are calls of `learn`; with a ratio each is taken for one
    update.
    """

    def __init__(
        self,
        *,
        updates_per_env_step: float,
        warmup: int,
        max_ahead: int,
        workers: int,
        limit: int,
        action_repeat: int = 1,
    ) -> None:
        if updates_per_env_step < 0 or max_ahead < 0:
            raise ValueError("updates_per_env_step and max_ahead must be 0 or more")
        self.updates_per_env_step, self.warmup, self.max_ahead = (
            updates_per_env_step,
            warmup,
            max_ahead,
        )
        self.workers, self.limit, self.action_repeat = workers, limit, action_repeat
        self._table = Shared((workers + 1, 16), np.int64)  # two cache lines a row

    def total(self, column: str) -> int:
        """The sum of a column over all processes."""
        return int(self._table.array[:, COLUMNS.index(column)].sum())

    def count(self, column: str, rank: int, n: int = 1) -> None:
        """Adds to the caller's own counter (rank -1: the learner's)."""
        self._table.array[rank, COLUMNS.index(column)] += n

    def own(self, column: str, rank: int) -> int:
        return int(self._table.array[rank, COLUMNS.index(column)])

    def collected(self, rank: int, rows: int) -> None:
        """Counts a fragment that the worker has collected, and the env steps of its valid rows."""
        self.count("fragments", rank)
        self.count("collected", rank, rows * self.action_repeat)

    def arrived(self, rank: int, rows: int) -> None:
        """Counts a fragment of that worker which has reached the replay, and its env steps; none if
        it had been there before. Called by whoever decides what is learned from it."""
        self.count("arrived", rank, int(rows > 0))
        self.count("added", rank, rows * self.action_repeat)

    def learned(self, rank: int, updates: int, learns: int = 1) -> None:
        """Counts what the caller has learned: so many calls of `learn`, and the updates made."""
        self.count("learns", rank, learns)
        self.count("updates", rank, updates)

    def owed(self, steps: int, share: int = 1) -> int:
        """Updates that so many env steps ask for; with a share of 1/`share` of the warm-up."""
        return math.floor(self.updates_per_env_step * max(0, steps - self.warmup // share))

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

    def grant(self, most: int, rank: int) -> int:
        """What the one dispenser grants to a worker: in lockstep an even share of a round's
        updates, so that nobody collects next to a long task."""
        if self.max_ahead == 0:
            most = min(most, -(-self.debt() // (self.workers - rank)))
        return self.claim(most)

    def debt(self) -> int:
        """What is owed by all rows together and not granted yet."""
        return max(0, self.owed(self.total("added")) - self.total("granted"))

    def may_collect(self, rank: int) -> bool:
        """Whether the worker may begin another fragment."""
        if self.max_ahead == 0:
            return self.own("rounds", -1) >= self.own("fragments", rank)
        return self.owed(self.total("collected")) - self.total("learns") <= self.max_ahead

    def spent(self, rank: int | None = None) -> bool:
        """Whether the budget of env steps is used up, for a worker or (None) for what is added."""
        if rank is None:
            return self.total("added") >= self.limit
        if self.max_ahead == 0:
            return self.own("collected", rank) * self.workers >= self.limit
        return self.total("collected") >= self.limit

    def share(self) -> float:
        """How much of the env-step budget is done, 0..1."""
        return min(1.0, self.total("added") / max(1, self.limit))

    def save(self) -> dict[str, np.ndarray]:
        return {"table": self._table.array.copy()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Takes the counters up. Layout that were on their way to the replay are gone: they count
        as never collected, and their round as done, or everybody would wait for them. What was
        granted and not learned is owed again."""
        table = np.array(state["table"])
        table[:, COLUMNS.index("granted")] = table[:, COLUMNS.index("learns")]
        collected, added = COLUMNS.index("collected"), COLUMNS.index("added")
        gone = int(table[:, collected].sum() - table[:, added].sum())
        for rank in range(self.workers):
            taken = min(max(0, gone), int(table[rank, collected]))
            table[rank, collected] -= taken
            gone -= taken
        table[-1, COLUMNS.index("rounds")] = table[:, COLUMNS.index("fragments")].max()
        self._table.array[...] = table


class Once(Pace):
    """The pace that a replay sets which hands out each row once: one `learn` a sample.

    Whoever learns from everybody's rows (rank -1) is owed the samples that all fragments make which
    have arrived, a worker that learns from its own those of its own. A worker may collect while
    fewer than the replay's capacity of its fragments wait; lockstep is as above. There is no ratio
    and no warm-up, and max_ahead says no more than whether it is lockstep.
    """

    def __init__(
        self, replay: Rollout, *, max_ahead: int, workers: int, limit: int, action_repeat: int = 1
    ) -> None:
        limits = {
            "max_ahead": max_ahead,
            "workers": workers,
            "limit": limit,
            "action_repeat": action_repeat,
        }
        super().__init__(updates_per_env_step=0.0, warmup=0, **limits)
        self.replay = replay

    def claim(self, most: int, rank: int = -1) -> int:
        grant = max(0, min(most, self._due(rank)))
        self.count("granted", rank, grant)
        return grant

    def grant(self, most: int, rank: int) -> int:
        """A worker trains on its own fragments."""
        return self.claim(most, rank)

    def debt(self) -> int:
        return max(0, self._due(-1))

    def may_collect(self, rank: int) -> bool:
        if self.max_ahead == 0:
            return super().may_collect(rank)
        waiting = self.own("fragments", rank) - int(self.replay.taken[rank])
        return waiting < self.replay.capacity

    def _due(self, rank: int) -> int:
        arrived = self._table.array[: self.workers, COLUMNS.index("arrived")]
        made = self.own("granted", rank) - self.own("resumed", rank)
        return self.replay.samples(arrived if rank < 0 else arrived[[rank]]) - made

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Takes the counters up, after the replay has its fragments back: what waits there has
        arrived, and what was on its way is collected again."""
        super().load(state)
        column = {name: self._table.array[:, k] for k, name in enumerate(COLUMNS)}
        column["resumed"][:] = column["granted"]
        column["arrived"][:-1] = self.replay.heads() - self.replay.taken
        column["fragments"][:-1] = self.replay.heads()
        column["rounds"][-1] = self.replay.heads().max()
