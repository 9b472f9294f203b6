"""The first Ctrl-C or SIGTERM asks a run to save and stop, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

BOTH = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """`caught` is the number of the first signal, or None. `at_once` is called before the second
    one ends the process; children end when their parent has.

    with Signals() as signals:
        ...if signals.caught: save and stop...
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self.at_once: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in BOTH}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.caught is None:
            self.caught = number
            return
        self.at_once()
        os._exit(128 + number)
