"""The rate limiter: updates that are due for env steps, and env steps held back by updates."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from paradigms.loop.ledger import LEARNER, Ledger


class Pace:
    """Who may go ahead, from what the ledger has counted.

        while pace.claim(1): ledger.learned(LEARNER, learner.update(...))     # whoever learns
        if pace.may_collect(rank): fragment = actor.collect(...)              # a worker

    updates_per_env_step: held after `warmup` env steps over all workers, in both directions.
    max_ahead: how many due updates the actors may be ahead; 0 is lockstep: a worker begins its next
    fragment when the round of the last one is done. env_steps: the budget. What is claimed are
    calls of `learn`, each of which is taken for one update. Nothing here waits.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        updates_per_env_step: float,
        warmup: int,
        max_ahead: int,
        env_steps: int,
    ) -> None:
        if updates_per_env_step < 0 or max_ahead < 0:
            raise ValueError("updates_per_env_step and max_ahead must be 0 or more")
        self.ledger = ledger
        self.updates_per_env_step, self.warmup = updates_per_env_step, warmup
        self.max_ahead, self.env_steps = max_ahead, env_steps

    @property
    def workers(self) -> int:
        return self.ledger.workers

    def due(self, env_steps: int, parts: int = 1) -> int:
        """Updates that so many env steps make due; `parts` processes share the warm-up."""
        return math.floor(self.updates_per_env_step * max(0, env_steps - self.warmup // parts))

    def claim(self, most: int, rank: int = LEARNER) -> int:
        """Grants at most `most` of the updates that `owed` says."""
        return self._granted(min(most, self.owed(rank)), rank)

    def owed(self, rank: int = LEARNER) -> int:
        """The due updates of the one learner; or of a worker (rank >= 0) those that its own
        transitions make due, as long as all transitions together do too. May be negative."""
        ledger = self.ledger
        if rank == LEARNER:
            return self.due(ledger.total("added")) - ledger.own("granted", LEARNER)
        due = self.due(ledger.own("added", rank), self.workers) - ledger.own("granted", rank)
        return min(due, self.debt())

    def grant(self, most: int, rank: int) -> int:
        """What the learner grants to a worker: in lockstep an even share of a round's updates, so
        that nobody collects next to a long task."""
        if self.max_ahead == 0:
            most = min(most, -(-self.debt() // (self.workers - rank)))
        return self.claim(most)

    def claim_together(self, parts: int) -> int:
        """Grants all that is due, where all workers make every update together. Of a replay whose
        fragments are consumed once a sample of each worker is cut into `parts`, one an update."""
        return self.claim(self.debt())

    def debt(self) -> int:
        """Updates that all transitions together make due, and that are not granted yet."""
        return max(0, self.due(self.ledger.total("added")) - self.ledger.total("granted"))

    def may_collect(self, rank: int) -> bool:
        """Whether the worker may begin another fragment."""
        ledger = self.ledger
        if self.max_ahead == 0:
            return ledger.own("rounds", LEARNER) >= ledger.own("fragments", rank)
        return self.due(ledger.total("collected")) - ledger.total("learns") <= self.max_ahead

    def spent(self, rank: int | None = None) -> bool:
        """Whether the budget of env steps is used up: for a worker, or (None) for what is added."""
        if rank is None:
            return self.ledger.total("added") >= self.env_steps
        if self.max_ahead == 0:
            return self.ledger.own("collected", rank) * self.workers >= self.env_steps
        return self.ledger.total("collected") >= self.env_steps

    def progress(self) -> float:
        """The share of the env-step budget that is done, in [0, 1]."""
        return min(1.0, self.ledger.total("added") / max(1, self.env_steps))

    def resume(self) -> None:
        """Goes on from a ledger and a replay that have been loaded."""

    def recover(self, rank: int) -> None:
        """What a worker that is replaced has claimed and not made is due again."""
        self.ledger.column("granted")[rank] = self.ledger.own("learns", rank)

    def left(self, rank: int, granted: int) -> int:
        """Of the updates last granted to a worker those that it can make, if another one may have
        begun them before it died."""
        return granted

    def _granted(self, n: int, rank: int) -> int:
        grant = max(0, n)
        self.ledger.count("granted", rank, grant)
        return grant


class Consumed(Protocol):
    """What Once asks of a replay whose fragments are consumed once (see experience/rollout.py)."""

    capacity: int

    @property
    def taken(self) -> np.ndarray: ...

    def heads(self) -> np.ndarray: ...

    def samples(self, fragments: np.ndarray) -> int: ...


class Once(Pace):
    """The pace of a replay whose fragments are consumed once: one `learn` a sample.

    Whoever learns from everybody's fragments (LEARNER) may take the samples that all arrived
    fragments make, a worker that learns from its own those that its own make. A worker may collect
    while fewer than the replay's `capacity` of its fragments wait; lockstep is as above. There is
    no ratio and no warm-up, and max_ahead says no more than whether it is lockstep.
    """

    def __init__(self, ledger: Ledger, replay: Consumed, *, max_ahead: int, env_steps: int) -> None:
        super().__init__(
            ledger, updates_per_env_step=0.0, warmup=0, max_ahead=max_ahead, env_steps=env_steps
        )
        self.replay = replay

    def owed(self, rank: int = LEARNER) -> int:
        return self._samples(rank)

    def grant(self, most: int, rank: int) -> int:
        """A worker trains on its own fragments."""
        return self.claim(most, rank)

    def claim_together(self, parts: int) -> int:
        waiting = self.replay.heads() - self.replay.taken
        most = max(self.replay.samples(waiting[[rank]]) for rank in range(self.workers))
        return self._granted(parts * most, LEARNER)

    def debt(self) -> int:
        return max(0, self._samples(LEARNER))

    def may_collect(self, rank: int) -> bool:
        if self.max_ahead == 0:
            return super().may_collect(rank)
        waiting = self.ledger.own("fragments", rank) - int(self.replay.taken[rank])
        return waiting < self.replay.capacity

    def _samples(self, rank: int) -> int:
        ledger = self.ledger
        arrived = ledger.column("arrived")[: self.workers]
        made = ledger.own("granted", rank) - ledger.own("resumed", rank)
        return self.replay.samples(arrived if rank == LEARNER else arrived[[rank]]) - made

    def resume(self) -> None:
        """What waits in the replay has arrived, and what was on its way is collected again."""
        column = self.ledger.column
        column("resumed")[:] = column("granted")
        column("arrived")[:-1] = self.replay.heads() - self.replay.taken
        column("fragments")[:-1] = self.replay.heads()
        column("rounds")[LEARNER] = self.replay.heads().max()

    def recover(self, rank: int) -> None:
        """What was claimed and not consumed is due again; what was consumed is gone."""
        column, learns = self.ledger.column, self.ledger.own("learns", rank)
        waiting = self.replay.heads() - self.replay.taken
        arrived, samples = column("arrived")[: self.workers], self.replay.samples
        column("granted")[rank] = learns
        column("resumed")[rank] = learns - samples(arrived[[rank]]) + samples(waiting[[rank]])

    def left(self, rank: int, granted: int) -> int:
        """Those whose fragments are there, without what is not granted yet."""
        waiting = self.replay.heads() - self.replay.taken
        return min(granted, self.replay.samples(waiting[[rank]]) - max(0, self.owed(rank)))
