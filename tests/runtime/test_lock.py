from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from paradigms.errors import Stopped
from paradigms.runtime.crew import Crew, Link, Role
from paradigms.runtime.lock import Lock
from paradigms.runtime.memory import Shared

pytestmark = pytest.mark.slow


class Add(Role):
    """Adds 1 to a number so many times, in two steps that another process must not come between."""

    def __init__(self, lock: Lock, number: Shared, times: int) -> None:
        self.lock, self.number, self.times = lock, number, times

    def run(self, link: Link) -> None:
        lock = self.lock.by(link)
        for _ in range(self.times):
            with lock:
                number = int(self.number.array[0])
                os.sched_yield()
                self.number.array[0] = number + 1


class Hold(Role):
    """Takes the lock and never gives it back, unless it replaces another one."""

    def __init__(self, lock: Lock, how: str) -> None:
        self.lock, self.how = lock, how

    def run(self, link: Link) -> None:
        with self.lock.by(link):
            if link.life == 0:
                number = signal.SIGKILL if self.how == "dies" else signal.SIGSTOP
                os.kill(os.getpid(), number)


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_one_at_a_time(kind: str) -> None:
    lock, number = Lock(), Shared(1, "int64")
    with Crew(kind) as crew:
        for rank in range(3):
            crew.add(f"add{rank}", Add, lock, number, 500)
        list(crew.run())
    assert number.array[0] == 1500


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_holder_that_ends_gives_it_back(how: str) -> None:
    lock, number = Lock(), Shared(1, "int64")
    with Crew(heartbeat=1.0) as crew:
        crew.add("hold", Hold, lock, how, restartable=True)
        crew.add("add", Add, lock, number, 10)
        said = [report for report in crew.run() if report.kind != "tick"]
    assert number.array[0] == 10
    assert [report.name for report in said if report.kind == "restarted"] == ["hold"]
    assert sorted(report.name for report in said if report.kind == "finished") == ["add", "hold"]


def test_who_waits_for_it_hears_that_the_crew_stops() -> None:
    lock, number = Lock(), Shared(1, "int64")
    with Crew(heartbeat=30.0, seconds_to_stop=20.0) as crew:
        crew.add("hold", Keep, lock)
        crew.add("add", Add, lock, number, 10)
        for report in crew.run():
            if report.kind == "metrics":
                crew.stop()


class Stopping:
    """The link of a crew that was asked to stop; what it is asked to wait for is looked at once."""

    def wait(self, what: str, ready: Callable[[], object], *, brief: bool) -> bool:
        return bool(ready()) and False


def test_a_stop_leaves_time_to_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lock: Any = Lock()
    tries = iter([False, False, True])
    monkeypatch.setattr(lock, "take", lambda: next(tries))
    assert lock.by(Stopping()).__enter__()

    monkeypatch.setattr("paradigms.runtime.lock.SECONDS_MORE", 0.01)
    monkeypatch.setattr(lock, "take", lambda: False)
    with pytest.raises(Stopped):
        lock.by(Stopping()).__enter__()


class Keep(Role):
    """Holds the lock until the crew is asked to stop, and says so."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def run(self, link: Link) -> None:
        with self.lock.by(link):
            link.report({})
            link.wait("nothing", bool)
