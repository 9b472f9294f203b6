"""The first Ctrl-C, SIGTERM or SIGHUP (a terminal that is closed) asks a run to save and stop; the
second signal ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """`caught` is the number of the first signal, or None. The second signal ends the process with
    exit code 128 + its number, after `at_once` was called; child processes end with their parent.
    Handlers are set in the main thread only, and set back at the end of the `with`.

    with Signals() as signals:
        ...if signals.caught: save and stop...
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self.at_once: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)  # nohup ignores it
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
