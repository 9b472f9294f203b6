"""How often the roles of a crew may be replaced, and how soon."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_TO_FORGIVE = 300.0  # after so many seconds one restart less counts against the limit
SECONDS_OF_YOUTH = 10.0  # a role that lives longer has not failed by what it does first
SECONDS_OF_PAUSE, LONGEST_PAUSE = 0.5, 8.0


class Restarts:
    """At most `limit` restarts count at a time, of all roles together; one is forgiven every
    SECONDS_TO_FORGIVE. So a fault that comes back at once ends the run, and one that comes now and
    then does not.

    A role that fails young is replaced at once the first time, and after a pause that doubles each
    further time in a row. made: how many there have been. clock: seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.made = limit, 0
        self._clock, self._counted, self._looked = clock, 0.0, clock()
        self._young: dict[str, int] = {}  # how often in a row

    def left(self) -> bool:
        """Whether one more may be made now."""
        now = self._clock()
        self._counted = max(0.0, self._counted - (now - self._looked) / SECONDS_TO_FORGIVE)
        self._looked = now
        return self._counted + 1 <= self.limit

    def make(self, name: str, lived: float) -> float:
        """Counts one, of a role that lived so many seconds; returns the seconds to wait before."""
        self.made += 1
        self._counted += 1
        young = self._young[name] = self._young.get(name, 0) + 1 if lived < SECONDS_OF_YOUTH else 0
        return 0.0 if young < 2 else min(SECONDS_OF_PAUSE * 2.0 ** (young - 2), LONGEST_PAUSE)
