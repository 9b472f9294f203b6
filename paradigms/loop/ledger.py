"""What a run has done so far: the one place where steps, episodes, lag and time are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from paradigms.runtime.memory import Shared

COUNTS = (
    "collected",  # env steps
    "added",  # env steps that reached the replay
    "fragments",
    "episodes",
    "length",  # env steps, summed over finished episodes
    "updates",
    "granted",  # calls of `learn` claimed from the pace
    "rounds",
    "merges",
    "lost",  # merges refused, and what a worker that was replaced was doing
    "learns",  # calls of `learn`: one makes an update, or with PPO many
    "arrived",  # fragments that reached the replay
    "resumed",  # calls of `learn` granted before the run was resumed
    "lag",  # policy lag in updates, summed over the fragments that reached the replay
    "evaluations",  # greedy episodes that the worker has played as an evaluation
    "evaluation_length",  # env steps, summed over them
)
SUMS = (  # two undiscounted, two in seconds, optimiser steps left out for a NaN, errors of envs
    *("return", "evaluation_return"),
    *("collecting", "learning"),
    *("skipped", "env_errors"),
)
LEARNER = -1
TRACE = 4096  # bytes that are kept of a traceback, its last ones


class Ledger:
    """Counters in shared memory: a row a worker (rank 0 ...) and one for the learner (LEARNER).

        ledger.collected(rank, fragment.n_valid, actor.take_episodes())   # whoever collected it
        ledger.stored(rank, replay.add(fragment), version)       # whoever decides what is learned
        ledger.learned(rank, learner.update(...))                # whoever learns

    Every paradigm calls these three (and `evaluated`, where workers evaluate; or `stands`, where
    each is a whole run), and nothing else counts, so that a number means the same in all of them. A
    column of a row has one writer; readers in other processes see it a moment later.
    action_repeat: env steps of one stored transition.
    """

    def __init__(self, workers: int, action_repeat: int = 1) -> None:
        self.workers, self.action_repeat = workers, action_repeat
        self._counts = Shared((workers + 1, 16), np.int64)  # two cache lines a row
        self._sums = Shared((workers + 1, 8), np.float64)  # one cache line a row
        self._lag_max = Shared((workers + 1, 8), np.int64)
        self._traces = Shared((workers + 1, TRACE), np.uint8)

    def total(self, column: str) -> int:
        """The sum of a column of COUNTS over all processes."""
        return int(self._counts.array[:, COUNTS.index(column)].sum())

    def own(self, column: str, rank: int) -> int:
        """A column of COUNTS in one row."""
        return int(self._counts.array[rank, COUNTS.index(column)])

    def column(self, column: str) -> np.ndarray:
        """A view of a column of COUNTS, int64 [workers + 1]; the last entry is the learner's."""
        view: np.ndarray = self._counts.array[:, COUNTS.index(column)]
        return view

    def count(self, column: str, rank: int, n: int = 1) -> None:
        """Adds to a counter of the caller's row."""
        self._counts.array[rank, COUNTS.index(column)] += n

    def _count_at_once(self, rank: int, **counts: int) -> None:
        """Adds to several counters of a row, so that a process that dies has counted all or none
        of what belongs together: they are written by one instruction of NumPy."""
        columns = [COUNTS.index(name) for name in counts]
        self._counts.array[rank, columns] += [*counts.values()]

    def collected(
        self, rank: int, transitions: int, episodes: Sequence[tuple[float, int]] = ()
    ) -> None:
        """A worker has collected a fragment of so many valid transitions; `episodes` are the
        (return, length in env steps) of those that ended in it."""
        self._count_at_once(
            rank,
            fragments=1,
            collected=transitions * self.action_repeat,
            episodes=len(episodes),
            length=sum(length for _, length in episodes),
        )
        self._sums.array[rank, SUMS.index("return")] += sum(gained for gained, _ in episodes)

    def stored(self, rank: int, transitions: int, version: int) -> None:
        """A fragment of worker `rank`, whose policy was `version`, has reached the replay; 0
        transitions if it had been there before. The policy lag is the updates made since."""
        if not transitions:
            return
        lag = self.total("updates") - version
        self._count_at_once(rank, arrived=1, added=transitions * self.action_repeat, lag=lag)
        self._lag_max.array[rank, 0] = max(lag, int(self._lag_max.array[rank, 0]))

    def withdraw(self, rank: int, waiting: int = 0) -> None:
        """What worker `rank` has collected and not stored counts as never collected, but for so
        many transitions that are stored and will be counted."""
        there = self.own("added", rank) + waiting * self.action_repeat
        gone = self.own("collected", rank) - there
        self._count_at_once(rank, collected=-gone, fragments=-int(gone > 0))

    def learned(self, rank: int, updates: int, learns: int = 1) -> None:
        """`learn` has been called `learns` times, and made so many updates."""
        self._count_at_once(rank, learns=learns, updates=updates)

    def served(self, rank: int, *, learns: int, lost: int, updates: int) -> None:
        """A server has taken a message of worker `rank`, whose `learns` it counts; what it lost and
        the updates that it made are the learner's. At once, as what is counted above."""
        columns = [COUNTS.index(name) for name in ("learns", "lost", "updates")]
        self._counts.array[[rank, LEARNER, LEARNER], columns] += [learns, lost, updates]

    def stands(
        self, rank: int, *, env_steps: int, updates: int, episodes: int, returns: float, length: int
    ) -> None:
        """For a worker that is a whole run: what that has done since it began. Nothing changes
        where more env steps are counted already, because it does again what another one had done
        that it replaces."""
        if env_steps < self.own("added", rank):
            return
        self.count("fragments", rank, int(env_steps > self.own("added", rank)))
        now = {"collected": env_steps, "added": env_steps, "updates": updates, "learns": updates}
        for column, value in {**now, "episodes": episodes, "length": length}.items():
            self._counts.array[rank, COUNTS.index(column)] = value
        self._sums.array[rank, SUMS.index("return")] = returns

    def evaluated(self, rank: int, gained: float, length: int) -> None:
        """A worker has played a greedy episode: its return, and its length in env steps."""
        self.count("evaluations", rank)
        self.count("evaluation_length", rank, length)
        self._sums.array[rank, SUMS.index("evaluation_return")] += gained

    def skipped(self, rank: int, steps: int) -> None:
        """A process has left out optimiser steps, as the gradient was not finite."""
        self._sums.array[rank, SUMS.index("skipped")] += steps

    def failed(self, rank: int, errors: int, trace: str) -> None:
        """Envs of a process have raised so often, and were rebuilt; the first one's traceback is
        kept."""
        self._sums.array[rank, SUMS.index("env_errors")] += errors
        text = np.frombuffer(trace.encode()[-TRACE:], np.uint8)
        if len(text) and not self._traces.array[rank, 0]:
            self._traces.array[rank, 1 : len(text)] = text[1:]
            self._traces.array[rank, :1] = text[:1]  # readers look at it first

    @contextmanager
    def timed(self, what: str, rank: int) -> Iterator[None]:
        """Adds the seconds that its body takes to `collecting` or `learning`."""
        begun = time.perf_counter()
        yield
        self._sums.array[rank, SUMS.index(what)] += time.perf_counter() - begun

    def seconds(self, what: str, rank: int) -> float:
        """Seconds that a process has spent `collecting` or `learning`."""
        return float(self._sums.array[rank, SUMS.index(what)])

    def means(self) -> dict[str, tuple[float, int]]:
        """(sum, number) since the run began, by TensorBoard name: the mean over any stretch of a
        run is the difference of the sums by the difference of the numbers."""
        episodes, evaluations = self.total("episodes"), self.total("evaluations")
        returns, evaluated = (
            float(self._sums.array[:, SUMS.index(name)].sum())
            for name in ("return", "evaluation_return")
        )
        return {
            "episode/return": (returns, episodes),
            "episode/length": (float(self.total("length")), episodes),
            "policy_lag/mean": (float(self.total("lag")), self.total("arrived")),
            "evaluation/worker_return": (evaluated, evaluations),
            "evaluation/worker_length": (float(self.total("evaluation_length")), evaluations),
        }

    @property
    def steps_skipped(self) -> int:
        """Optimiser steps left out, over all processes."""
        return int(self._sums.array[:, SUMS.index("skipped")].sum())

    @property
    def env_errors(self) -> int:
        """Errors of envs that were rebuilt, over all processes."""
        return int(self._sums.array[:, SUMS.index("env_errors")].sum())

    @property
    def first_error(self) -> tuple[int, str] | None:
        """The rank of a process an env of which has raised, and the first traceback there."""
        ranks = np.flatnonzero(self._traces.array[:, 0])
        if not len(ranks):
            return None
        text = bytes(self._traces.array[ranks[0]]).rstrip(b"\0")
        return int(ranks[0]), text.decode(errors="replace")

    @property
    def policy_lag_max(self) -> int:
        """The largest policy lag of any fragment, in updates."""
        return int(self._lag_max.array[:, 0].max())

    def save(self) -> dict[str, Any]:
        return {
            "counts": self._counts.array.copy(),
            "sums": self._sums.array.copy(),
            "lag_max": self._lag_max.array.copy(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes the counters up. Transitions that were on their way to the replay are gone: they
        count as never collected, and their round as done, or everybody would wait for them. What
        was granted and not learned is due again."""
        counts = self._counts.array
        counts[...] = np.asarray(state["counts"])
        self._sums.array[...] = np.asarray(state["sums"])
        self._lag_max.array[...] = np.asarray(state["lag_max"])
        self.column("granted")[:] = self.column("learns")
        gone = self.total("collected") - self.total("added")
        for rank in range(self.workers):
            taken = min(max(0, gone), self.own("collected", rank))
            self.count("collected", rank, -taken)
            gone -= taken
        self.column("rounds")[LEARNER] = self.column("fragments").max()
