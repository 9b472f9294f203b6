"""When a run stops before its env steps are spent, and why it stopped."""

from __future__ import annotations

from paradigms.session.signals import Signals
from paradigms.settings import Budget

REASONS = {  # as result.json has them, and as the summary says them
    "solved": "it was solved",
    "budget": "its budget was spent",
    "signal": "it was asked to",
    "error": "of an error",
}


class StopReason:
    """`reason` is one of `REASONS`, `error` one line, empty unless that is "error".

    if stop.due(progress.seconds, solved=...): progress.stop()
    """

    def __init__(self, budget: Budget, signals: Signals, *, when_solved: bool) -> None:
        self.budget, self.signals, self.when_solved = budget, signals, when_solved
        self.reason, self.error = "budget", ""
        self._asked = False

    def due(self, seconds: float, *, solved: bool) -> bool:
        """Whether to ask the run to stop now: true once, for the first reason that holds. seconds:
        since the run began."""
        if self._asked:
            return False
        if self.signals.caught:
            self.reason = "signal"
        elif self.when_solved and solved:
            self.reason = "solved"
        elif not self.spent(seconds):
            return False
        self._asked = True
        return True

    def failed(self, error: str) -> None:
        self.reason, self.error = "error", error

    def lacks(self, what: str) -> None:
        """The run is one that failed because of what could not be kept of it, unless something else
        ended it badly before."""
        if self.reason != "error":
            self.failed(what)

    def spent(self, seconds: float) -> bool:
        """Whether the budget of seconds is used up."""
        return self.budget.seconds is not None and seconds >= self.budget.seconds
