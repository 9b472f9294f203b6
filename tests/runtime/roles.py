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
    """Goes on until it is stopped; remembers what it is told, and what it was given to load."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def run(self, link: Link) -> None:
        told = len(self.told)
        while link.go():
            if len(self.told) > told:
                told = len(self.told)
                link.report({"told": self.told})
            link.wait("nothing", bool, timeout=0.001)

    def tell(self, message: Any) -> None:
        self.told.append(message)

    def save(self) -> dict[str, Any]:
        return {"told": self.told, "much": np.zeros(1 << 20)}

    def load(self, state: dict[str, Any]) -> None:
        self.told = list(state["told"])


class Fail(Role):
    """Fails in the way it is told to, at its second go, in its first `lives` lives."""

    def __init__(self, how: str, lives: int = 1000) -> None:
        self.how, self.lives = how, lives
        if how == "constructor":
            raise ValueError("no such constructor")

    def run(self, link: Link) -> None:
        while link.go():
            if link.restarts >= self.lives:
                link.report({"life": link.restarts})
                return
            if link.go():
                getattr(self, self.how)()

    def raises(self) -> None:
        raise ValueError("a sentence about a fault")

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


class Add(Role):
    """Adds to a shared number under a lock, n times."""

    def __init__(self, number: Shared, lock: Any, n: int) -> None:
        self.number, self.lock, self.n = number, lock, n

    def run(self, link: Link) -> None:
        for _ in range(self.n):
            with self.lock:
                value = self.number.array[0]
                link.turn()
                self.number.array[0] = value + 1


class Maker(Role):
    """Pulls a version, makes a number of it, puts it into its ring: a worker without a world."""

    def __init__(self, board: Board, rank: int, pause: float) -> None:
        self.board, self.rank, self.pause = board, rank, pause

    def run(self, link: Link) -> None:
        board, rank = self.board, self.rank
        rng = np.random.default_rng(rank)
        while link.go() and not link.done(board.over.array[0]):
            if not link.may("pace", lambda: board.put.array[rank] < 3 * board.version.array[0] + 6):
                break
            with link.event("pull") as event:
                event.read = int(board.version.array[0])
            if self.pause:
                time.sleep(self.pause * rng.random())
            if not link.wait("room", lambda: board.put.array[rank] - board.got.array[rank] < 4):
                break
            made = int(board.put.array[rank])
            board.ring.array[rank, made % 4] = 1000 * event.read + 10 * made + rank
            board.put.array[rank] += 1


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
                    link.turn()
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
