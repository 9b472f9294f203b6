"""Toy roles for the tests of crews: no learning, only the ways in which roles live and die."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from paradigms.errors import PolicyNotFinite
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.runtime.memory import Shared


class Count(Role):
    """Counts to n, reports it, returns."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, link: Link) -> None:
        count = 0
        while count < self.n and link.go():
            count += 1
        link.report({"count": count, "rank": link.rank})


class Work(Role):
    """Goes on until it is stopped; reports all messages so far whenever it gets one."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def run(self, link: Link) -> None:
        reported = 0
        while link.go():
            if len(self.messages) > reported:
                reported = len(self.messages)
                link.report({"messages": self.messages})
            link.wait("nothing", bool, timeout=0.001)

    def tell(self, message: Any) -> None:
        self.messages.append(message)


class Fail(Role):
    """Fails in the way `how` at its second go; the one built after `failures` others returns."""

    def __init__(self, how: str, failures: int = 1000, built: Shared | None = None) -> None:
        self.how, self.failures, self.built = how, failures, built
        if how == "constructor":
            raise ValueError("no such constructor")

    def run(self, link: Link) -> None:
        before = 0
        if self.built is not None:
            before = int(self.built.array[0])
            self.built.array[0] = before + 1
        while link.go():
            if before >= self.failures:
                link.report({"before": before})
                return
            if link.go():
                getattr(self, self.how)()

    def raises(self) -> None:
        raise ValueError("a sentence about a fault")

    def raises_for_good(self) -> None:
        raise PolicyNotFinite("a sentence about a policy")

    def exits(self) -> None:
        os._exit(3)

    def is_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crashes(self) -> None:
        ctypes.string_at(0)

    def hangs(self) -> None:
        time.sleep(1000)

    def is_stuck(self) -> None:
        ctypes.PyDLL(None).sleep(1000)

    def freezes(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Sleep(Role):
    """Announces a long sleep, and sleeps."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, link: Link) -> None:
        link.go()
        link.busy(self.seconds)
        time.sleep(self.seconds)


class Deaf(Role):
    """Never looks at its link, and notes its process and that of a child of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def run(self, link: Link) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        done = Path(self.folder, f"{link.name}.tmp")
        done.write_text(f"{os.getpid()} {child.pid}")
        done.rename(done.with_suffix(".pids"))
        link.report({})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.sleep()

    def sleep(self) -> None:
        time.sleep(1000)


class Stuck(Deaf):
    """The same in C code that never gives Python's lock back."""

    def sleep(self) -> None:
        ctypes.PyDLL(None).sleep(1000)


class Wait(Role):
    """Waits for what never comes."""

    def run(self, link: Link) -> None:
        link.report({})
        link.wait(f"what {link.name} wants", bool)


class Maker(Role):
    """Pulls a version, makes a number of it, puts it into its ring: a worker without an env."""

    def __init__(self, board: Board, rank: int, pause: float) -> None:
        self.board, self.rank, self.pause = board, rank, pause

    def run(self, link: Link) -> None:
        board, rank = self.board, self.rank
        rng = np.random.default_rng(rank)
        while link.go(until=lambda: board.over.array[0]):
            if not link.wait("pace", self.may_go_ahead, rate_limit=True):
                break
            with link.event("pull") as event:
                event.read = int(board.version.array[0])
            if self.pause:
                time.sleep(self.pause * rng.random())
            if not link.wait("space", lambda: board.put.array[rank] - board.got.array[rank] < 4):
                break
            made = int(board.put.array[rank])
            board.ring.array[rank, made % 4] = 1000 * event.read + 10 * made + rank
            board.put.array[rank] += 1

    def may_go_ahead(self) -> bool:
        board = self.board
        return bool(board.put.array[self.rank] < 3 * board.version.array[0] + 6)


class Taker(Role):
    """Drains the rings, keeps the numbers in order, publishes every third time; n drains."""

    def __init__(self, board: Board, n: int) -> None:
        self.board, self.n = board, n

    def run(self, link: Link) -> None:
        board, taken, version = self.board, 0, 0
        while link.go() and taken < self.n:
            if not link.wait("number", board.filled):
                break
            rank = link.pick("drain", board.filled)
            if rank is None:
                continue
            with link.event("drain", worker=rank) as event:
                number = board.ring.array[rank, board.got.array[rank] % 4]
                board.got.array[rank] += 1
                event.count = 1
            with link.event("learn") as learn:
                with link.event("apply", base=version):
                    link.give_way()
                    board.taken.array[taken] = number
                taken += 1
                learn.count = taken
            if taken % 3 == 0:
                version += 1
                with link.event("publish", written=version):
                    board.version.array[0] = version
        board.over.array[0] = True
        link.finish()


def count_in_a_crew(n: int) -> list[Any]:
    """What a job of a sweep does."""
    with Crew() as crew:
        crew.add("count", Count, n)
        return [report.data for report in crew.run() if report.kind == "metrics"]


class Board:
    """What makers and the taker share."""

    def __init__(self, makers: int, n: int) -> None:
        self.ring = Shared((makers, 4), np.int64)
        self.put, self.got = Shared(makers, np.int64), Shared(makers, np.int64)
        self.version, self.over = Shared(1, np.int64), Shared(1, np.bool_)
        self.taken = Shared(n, np.int64)

    def filled(self) -> list[int]:
        return [int(r) for r in np.flatnonzero(self.put.array > self.got.array)]
