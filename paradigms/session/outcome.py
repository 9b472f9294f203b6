"""Whether a run has solved its task and kept what it had learned: the returns of result.json."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from paradigms.base import Snapshot
from paradigms.loop.episodes import Returns, means
from paradigms.loop.totals import TOTALS
from paradigms.session.evaluator import EvaluationResult

IN_A_ROW = 3  # evaluations at the threshold: then a policy is a candidate
CANDIDATES = 6  # that are kept until they are confirmed


class SolveTracker:
    """Follows the evaluations of a run: is it solved, and which policies are kept?

    reached: `IN_A_ROW` evaluations in a row had a mean return of at least the threshold. The policy
    of the first of them is a candidate.
    solved: reached and, where candidates are confirmed, the first candidate that had a mean of at
    least the threshold again, on the confirmation episodes, which are other ones than those of the
    evaluations and the same for all candidates. Candidates are confirmed after training, and at
    most `CANDIDATES` are kept for it (`measure`); with `stop_when_solved` they are confirmed during
    training, one at a time, until one succeeds (`unconfirmed`, `confirm`). So "solved" is the first
    success of several tries on the same episodes, which is more lenient than a single test: read it
    together with `confirmations`, the number of candidates that were measured.
    solving: the confirmed candidate, or the first one. best: the policy in the middle of the
    `IN_A_ROW` evaluations in a row with the highest mean, or the final policy, if that has a higher
    return on the confirmation episodes. Both are snapshots, None as long as there is none.

    threshold, random_return: undiscounted returns of an episode; None: unknown.
    """

    def __init__(self, threshold: float | None, random_return: float | None) -> None:
        self.threshold, self.random_return = threshold, random_return
        self.means: list[float] = []
        self.first: int | None = None  # the evaluation that began the three in a row
        self.in_a_row = 0
        self.solving: Snapshot | None = None
        self.candidates: list[tuple[int, Snapshot]] = []
        self.known: dict[int, float] = {}  # version: mean return on the confirmation episodes
        self.best: Snapshot | None = None
        self.best_mean = -np.inf
        self.confirmed: float | None = None
        self.measured: dict[str, float] = {}
        self.metrics: dict[str, dict[str, float]] = {}  # of the env, by measured policy
        self._told: dict[int, dict[str, float]] = {}  # by version
        self._last: deque[EvaluationResult] = deque(maxlen=IN_A_ROW)

    @property
    def reached(self) -> bool:
        """Whether three evaluations in a row have been at the threshold."""
        return self.first is not None

    @property
    def solved(self) -> bool:
        """Reached and, where that was measured, confirmed."""
        if not self.reached or self.threshold is None:
            return False
        return self.confirmed is None or self.confirmed >= self.threshold

    def add(self, evaluation: EvaluationResult) -> list[str]:
        """Takes the next evaluation; returns which policies are new: "solving", "best", or both."""
        self.means.append(evaluation.mean)
        self._last.append(evaluation)
        good = self.threshold is not None and evaluation.mean >= self.threshold
        self.in_a_row = self.in_a_row + 1 if good else 0
        new = []
        if self.in_a_row >= IN_A_ROW and len(self.candidates) - self.confirmations < CANDIDATES:
            self.candidates.append((len(self.means) - IN_A_ROW, self._last[0].snapshot))
            if not self.reached:
                self.first, self.solving = self.candidates[0]
                new.append("solving")
        mean = self.recent
        full = len(self._last) == IN_A_ROW
        if mean is not None and (mean > self.best_mean or len(self.means) <= IN_A_ROW):
            self.best_mean = mean
            self.best = self._last[1 if full else -1].snapshot
            new.append("best")
        return new

    @property
    def recent(self) -> float | None:
        """The mean of the last three evaluations."""
        return float(np.mean([e.mean for e in self._last])) if self._last else None

    def unconfirmed(self) -> Snapshot | None:
        """The first candidate that was not measured yet; None if one is confirmed already."""
        if self._confirmed() is not None:
            return None
        return next(
            (snapshot for _, snapshot in self.candidates if snapshot.version not in self.known),
            None,
        )

    def confirm(self, evaluation: EvaluationResult) -> bool:
        """Takes the confirmation episodes of a candidate; returns whether the task is solved. If it
        is not, the next candidate needs `IN_A_ROW` successes of its own."""
        self.known[evaluation.snapshot.version] = self.confirmed = evaluation.mean
        self._told[evaluation.snapshot.version] = means(evaluation.metrics)
        if (confirmed := self._confirmed()) is not None:
            self.first, self.solving = confirmed
            return True
        self.in_a_row = 0
        return False

    def measure(
        self, final: Snapshot | None, episodes: int, ask: Callable[[Snapshot, int], Returns]
    ) -> list[str]:
        """After training: the candidates, and the solving, best and final policy, on the same
        confirmation episodes. `ask` plays so many of them (`Evaluator.measure`); a version that was
        measured before is not played again. Returns which policies are to be kept again: "solving",
        "best", or both."""

        def measured(snapshot: Snapshot) -> float:
            if snapshot.version not in self.known:
                played = ask(snapshot, episodes)
                self.known[snapshot.version] = float(played.returns.mean())
                self._told[snapshot.version] = means(played.metrics)
            return self.known[snapshot.version]

        while (candidate := self.unconfirmed()) is not None:
            measured(candidate)
        if (confirmed := self._confirmed()) is not None:
            self.first, self.solving = confirmed
        for name, kept in (("solving", self.solving), ("best", self.best), ("final", final)):
            if kept is not None:
                self.measured[name] = measured(kept)
                self.metrics[name] = self._told.get(kept.version, {})
        self.confirmed = self.measured.get("solving")
        new = ["solving"] if self.solved else []
        best, last = self.measured.get("best"), self.measured.get("final")
        if best is not None and last is not None and last > best:
            self.best, self.measured["best"] = final, last
            self.metrics["best"] = self.metrics["final"]
            new.append("best")
        return new

    @property
    def confirmations(self) -> int:
        """How many candidates have been measured on the confirmation episodes."""
        return sum(snapshot.version in self.known for _, snapshot in self.candidates)

    def _confirmed(self) -> tuple[int, Snapshot] | None:
        """The first candidate that reached the threshold again."""
        if self.threshold is None:
            return None
        reached = (
            c for c in self.candidates if self.known.get(c[1].version, -np.inf) >= self.threshold
        )
        return next(reached, None)

    def result(self, totals: dict[str, Any]) -> dict[str, Any]:
        """What result.json says of the task and of the totals; absent totals are 0."""
        at = self.solving if self.solved else None
        after = self.means[self.first + 1 :] if self.first is not None else []
        best = self.measured.get("best", self.best_mean if self.means else None)
        final = self.measured.get("final", self.recent)
        return {
            "threshold": self.threshold,
            "solved": self.solved,
            "seconds_to_threshold": at and at.seconds,
            "env_steps_to_threshold": at and at.env_steps,
            "episodes_to_threshold": at and at.episodes,
            "updates_to_threshold": at and at.updates,
            "confirmed_return": self.confirmed,
            "best_return": best,
            "final_return": final,
            "random_return": self.random_return,
            "retention": retention(final, best, self.random_return),
            "share_above_threshold": _share(after, self.threshold),
            "metrics": self.metrics,
            **{name: totals.get(name, default) for name, default in TOTALS.items()},
        }

    def save(self) -> dict[str, Any]:
        """Everything but the measurements at the end, for a checkpoint."""
        copies = {"solving": self.solving, "best": self.best}
        return {
            "means": self.means,
            "first": self.first,
            "in_a_row": self.in_a_row,
            "best_mean": float(self.best_mean),
            "candidates": [
                {"first": n, "snapshot": vars(snapshot)} for n, snapshot in self.candidates
            ],
            "known": [{"version": version, "mean": mean} for version, mean in self.known.items()],
            "confirmed": self.confirmed,
            "copies": {
                name: vars(snapshot) for name, snapshot in copies.items() if snapshot is not None
            },
            "last": [
                {"snapshot": vars(e.snapshot), "returns": e.returns, "lengths": e.lengths}
                for e in self._last
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes up what `save` returned."""
        self.means, self.first = list(state["means"]), state["first"]
        self.in_a_row, self.best_mean = state["in_a_row"], state["best_mean"]
        copies = {name: Snapshot(**fields) for name, fields in state["copies"].items()}
        self.solving, self.best = copies.get("solving"), copies.get("best")
        self.candidates = [(c["first"], Snapshot(**c["snapshot"])) for c in state["candidates"]]
        self.known = {k["version"]: k["mean"] for k in state["known"]}
        self.confirmed = state["confirmed"]
        self._last.extend(
            EvaluationResult(Snapshot(**e["snapshot"]), e["returns"], e["lengths"])
            for e in state["last"]
        )


def retention(final: float | None, best: float | None, random: float | None) -> float | None:
    """(final - random) / (best - random): how much of what was learned is still there at the end.

    None where one is unknown or the best policy is no better than a random one.
    """
    if final is None or best is None or random is None or best <= random:
        return None
    return (final - random) / (best - random)


def _share(means: list[float], threshold: float | None) -> float | None:
    if not means or threshold is None:
        return None
    return float(np.mean([mean >= threshold for mean in means]))
