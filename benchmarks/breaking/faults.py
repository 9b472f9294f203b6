"""What befalls a worker, or a learner, at a random moment of a watched run."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Protocol

from benchmarks.breaking.probes import EXIT, HANG, LEARNER, NAN, RAISE
from benchmarks.breaking.runs import CENTRAL, WatchedRun, processes

SECONDS_BETWEEN = 0.3  # on average, from a worker's first step to the next fault
SHARE_KILLED_TWICE, LONGEST_START = 0.1, 0.4  # seconds after the first kill
LONGEST_DELAY = 1.0


class Fault(Protocol):
    """failed: how many processes have to be replaced for it.

    fault.begin(); then at every progress: fault.over()
    """

    failed: int
    rank: int

    def begin(self) -> None: ...

    def over(self) -> float | None:
        """None as long as it lasts; then the seconds until the worker stepped again."""
        ...


class Kill:
    """SIGKILL; one time in ten the process that replaces it is killed as it starts, too."""

    def __init__(self, run: WatchedRun, rank: int, draws: random.Random) -> None:
        self.run, self.rank, self.pid, self.at = run, rank, 0, 0.0
        self.failed = 1 + (draws.random() < SHARE_KILLED_TWICE)
        self.left, self.delay = self.failed, draws.uniform(0.0, LONGEST_START)

    def begin(self) -> None:
        self.pid, self.at = kill(f"worker-{self.rank}", signal.SIGKILL)
        self.left -= 1

    def over(self) -> float | None:
        if self.left:
            new = processes().get(f"worker-{self.rank}", self.pid) != self.pid
            if new and time.monotonic() - self.at >= self.delay:
                self.begin()
            return None
        stepped = self.run.marks.first(self.rank)
        return stepped - self.at if stepped > self.at else None


class Asked:
    """It fails by itself, between two steps of its env: by an error, an exit, or a stop."""

    failed = 1
    order = RAISE

    def __init__(self, run: WatchedRun, rank: int, draws: random.Random) -> None:
        self.run, self.rank, self.at = run, rank, 0.0

    def begin(self) -> None:
        self.at = time.monotonic()
        self.run.marks.ask(self.rank, self.order)

    def over(self) -> float | None:
        obeyed, stepped = self.run.marks.obeyed(self.rank), self.run.marks.first(self.rank)
        return stepped - obeyed if stepped > obeyed > self.at else None


class Raise(Asked):
    pass


class Exit(Asked):
    order = EXIT


class Hang(Asked):
    """SIGSTOP. Asserts that it is noticed within the heartbeat and two seconds."""

    order = HANG

    def over(self) -> float | None:
        seconds = super().over()
        if seconds is not None:
            noticed = self.run.noticed - self.run.marks.obeyed(self.rank)
            assert noticed <= self.run.heartbeat + 2.0, f"a hang was noticed after {noticed:.1f} s"
        return seconds


class Delay:
    """SIGSTOP, and SIGCONT before anybody may miss it."""

    failed = 0

    def __init__(self, run: WatchedRun, rank: int, draws: random.Random) -> None:
        self.run, self.rank, self.seconds = run, rank, draws.uniform(0.05, LONGEST_DELAY)
        self.pid, self.at, self.goes_on = 0, 0.0, 0.0

    def begin(self) -> None:
        self.pid, self.at = kill(f"worker-{self.rank}", signal.SIGSTOP)

    def over(self) -> float | None:
        now = time.monotonic()
        if not self.goes_on:
            if now - self.at >= self.seconds:
                os.kill(self.pid, signal.SIGCONT)
                self.goes_on = now
            return None
        stepped = self.run.marks.last(self.rank)
        return stepped - self.goes_on if stepped > self.goes_on else None


class Nan:
    """A batch whose rewards are not finite, in the process that learns: the step is left out."""

    failed = 0

    def __init__(self, run: WatchedRun, rank: int, draws: random.Random) -> None:
        self.run, self.rank, self.at = run, rank, 0.0
        self.row = LEARNER if run.name in CENTRAL else rank
        self.skipped = 0

    def begin(self) -> None:
        self.at, self.skipped = time.monotonic(), self.run.ledger.steps_skipped
        self.run.marks.ask(self.row, NAN)

    def over(self) -> float | None:
        obeyed, stepped = self.run.marks.obeyed(self.row), self.run.marks.last(self.rank)
        if not stepped > obeyed > self.at or self.run.ledger.steps_skipped == self.skipped:
            return None
        return stepped - obeyed


class Server:
    """SIGKILL of a parameter server. It is over when updates, which need every server, go on."""

    failed = 1
    updates = 20  # more than are on their way to a server

    def __init__(self, run: WatchedRun, rank: int, draws: random.Random) -> None:
        self.run, self.rank, self.at, self.goal = run, rank, 0.0, 0

    def begin(self) -> None:
        self.goal = self.run.ledger.total("updates") + self.updates
        _, self.at = kill(f"server-{self.rank}", signal.SIGKILL)

    def over(self) -> float | None:
        done = self.run.ledger.total("updates") >= self.goal
        return time.monotonic() - self.at if done else None


def kill(name: str, number: int) -> tuple[int, float]:
    """Sends a signal to a role's process: its pid, and when. One that has just failed by itself has
    none: the run is about to say why, and nothing happens then."""
    pid = processes().get(name, 0)
    if pid:
        os.kill(pid, number)
    return pid, time.monotonic()


KINDS: dict[str, type[Kill | Asked | Delay | Nan | Server]] = {
    "kill": Kill,
    "raise": Raise,
    "exit": Exit,
    "hang": Hang,
    "delay": Delay,
    "nan": Nan,
    "server": Server,
}
