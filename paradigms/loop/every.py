"""A question to ask in a loop: is it time again?"""

from __future__ import annotations

import time


class Every:
    """True at most once in so many seconds, and true when first asked.

    should_log = Every(1.0)
    while ...: if should_log(): link.report(learner.metrics())
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self._next = seconds, 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True
