"""Every order in which processes may touch what they share, tried on threads of one process.

    explored = explore(scenario, preemptions=2)
    assert explored.error is None, explored.order

A scenario makes what is shared and returns what each process does with it, and what must hold at
the end. One process goes at a time; another one may go ahead of it at each access to a `Shared`
array (tests/watched.py), and in the middle of one of more than eight bytes. An inline crew passes
its baton in `go`, `wait` and `give_way` alone, which is why it is not used here.

Schedules are tried by their number of preemptions, which are switches away from a process that
could go on: those with none, then those with one, and so on (Musuvathi and Qadeer 2007, Iterative
context bounding for systematic testing of multithreaded programs). Where one process alone touches
an array, or nobody writes it, no order changes anything, and none is tried. What a process writes
is seen in its order, as x86 has it.
"""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_ACCESSES = 5000  # of a schedule; a process that is not done by then never will be

Check = Callable[[], None]
Scenario = Callable[[], tuple[Sequence[Callable[[], None]], Check]]
Choice = Callable[[Sequence[int], int | None], int]
Keys = frozenset[Hashable]


@dataclass(frozen=True)
class Explored:
    """How many schedules were tried, with how many preemptions at most; and, where one broke, what
    was raised and who went in which order."""

    schedules: int
    preemptions: int = 0
    error: BaseException | None = None
    order: str = ""


def explore(scenario: Scenario, *, preemptions: int) -> Explored:
    """Tries every schedule of at most so many preemptions, up to the first that breaks."""
    scenario()  # what it keeps for later is made before memory is numbered
    conflicts: Keys = frozenset()
    while True:
        explored, found = _tried(scenario, preemptions, conflicts)
        if explored.error is not None or found == conflicts:
            return explored
        conflicts = found


def wander(scenario: Scenario, *, schedules: int, seed: int = 0, chance: float = 0.1) -> Explored:
    """Tries so many schedules that switch at each point with this chance."""
    draw = random.Random(seed)

    def choose(able: Sequence[int], current: int | None) -> int:
        stays = current is not None and draw.random() >= chance
        return current if stays and current is not None else draw.choice(able)

    for number in range(1, schedules + 1):
        schedule = Schedule(choose=choose)
        schedule.run(scenario)
        if schedule.error is not None:
            return Explored(number, 0, schedule.error, schedule.order)
    return Explored(schedules)


def wait(ready: Callable[[], object]) -> None:
    """For a process of a scenario: goes on when `ready()` is true, which it asks again whenever
    others have written something."""
    assert now is not None
    now.wait(ready)


def access(key: Hashable, *, write: bool) -> None:
    """The process that goes is about to read or write what is called `key`: others may go first."""
    if now is not None and key is not None:
        now.access(key, write)


def _tried(scenario: Scenario, preemptions: int, conflicts: Keys) -> tuple[Explored, Keys]:
    """Musuvathi and Qadeer's algorithm 1; broken off where it finds another conflict."""
    level, count = [tuple[int, ...]()], 0
    for bound in range(preemptions + 1):
        following = list[tuple[int, ...]]()
        while level:
            prefix = level.pop()
            schedule = Schedule(prefix, conflicts=conflicts)
            schedule.run(scenario)
            count += 1
            if schedule.error is not None:
                return Explored(count, bound, schedule.error, schedule.order), conflicts
            if not (found := schedule.conflicting()) <= conflicts:
                return Explored(count), conflicts | found
            went = tuple(point.chosen for point in schedule.points)
            for at, point in enumerate(schedule.points[len(prefix) :], len(prefix)):
                later = level if point.current is None else following
                others = (number for number in point.able if number != point.chosen)
                later.extend((*went[:at], other) for other in others)
        level = following
    return Explored(count, preemptions), conflicts


class Closed(BaseException):
    """Unwinds a process of a schedule that is over."""


class Point(NamedTuple):
    """Who was chosen of those able to go; current: who would have gone on, None if it could not."""

    chosen: int
    current: int | None
    able: tuple[int, ...]


class Worker:
    """A thread that does `work` whenever its gate is opened; used by one process after another."""

    def __init__(self) -> None:
        self.gate, self.work = closed(), go_home
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        while True:
            self.gate.acquire()
            self.work()


class Process:
    """One process of a schedule; `gate` is opened when it may go, `end` when it was unwound."""

    def __init__(self, number: int, body: Callable[[], None], worker: Worker) -> None:
        self.number, self.body, self.done = number, body, False
        self.seen: int | None = None  # writes before it looked in vain, of who waits
        self.gate, self.end = worker.gate, closed()

    def able(self, writes: int) -> bool:
        return not self.done and (self.seen is None or writes > self.seen)


def closed() -> threading.Lock:
    """A gate that one release opens for one thread."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def go_home() -> None:
    """Nothing is to be done."""


def go_on(able: Sequence[int], current: int | None) -> int:
    """Nobody is preempted."""
    return able[0] if current is None else current


class Schedule:
    """One schedule. prefix: who goes at its first points. choose: says it for the others.
    conflicts: at which accesses there are points; None for all."""

    def __init__(
        self,
        prefix: tuple[int, ...] = (),
        *,
        choose: Choice = go_on,
        conflicts: Keys | None = None,
    ) -> None:
        self.prefix, self.choose, self.conflicts = prefix, choose, conflicts
        self.points: list[Point] = []
        self.error: BaseException | None = None
        self.current: Process | None = None  # None: what is shared is being made, or looked at
        self.names = itertools.count()
        self.writes = self.accesses = 0
        self.locks: dict[int, int] = {}  # who holds which file's
        self._touched: dict[Hashable, tuple[set[int], set[int]]] = {}
        self._closing = False
        self._over = closed()

    @property
    def order(self) -> str:
        """Who went for how many points: 0x3 1x5 0x9."""
        runs = itertools.groupby(point.chosen for point in self.points)
        return " ".join(f"{number}x{len([*points])}" for number, points in runs)

    def run(self, scenario: Scenario) -> None:
        """Runs it to its end, or to the first error, which is kept."""
        global now
        now = self
        try:
            bodies, check = scenario()
            workers = [idle.pop() if idle else Worker() for _ in bodies]
            each = enumerate(zip(bodies, workers, strict=True))
            self._processes = [Process(number, *both) for number, both in each]
            for process, worker in zip(self._processes, workers, strict=True):
                worker.work = functools.partial(self._live, process)
            self._switch(None)
            self._over.acquire()
            self.current, self._closing = None, True
            for process in self._processes:
                if not process.done:
                    process.gate.release()
                    process.end.acquire()
            idle.extend(workers)
            if self.error is None:
                try:
                    check()
                except Exception as error:
                    self.error = error
        finally:
            now = None

    def conflicting(self) -> Keys:
        """What more than one process has touched, and one has written."""
        touched = self._touched.items()
        return frozenset(key for key, (by, writers) in touched if writers and len(by) > 1)

    def access(self, key: Hashable, write: bool) -> None:
        if (me := self.current) is None:
            return
        by, writers = self._touched.setdefault(key, (set(), set()))
        by.add(me.number)
        if write:
            writers.add(me.number)
        self.accesses += 1
        assert self.accesses < MOST_ACCESSES, "a process does not come to its end"
        if self.conflicts is None or key in self.conflicts:
            self._switch(me)
        self.writes += write

    def wait(self, ready: Callable[[], object]) -> None:
        me = self.current
        assert me is not None
        while True:
            seen = self.writes
            if ready():
                return
            me.seen = seen
            self._switch(me)
            me.seen = None

    def _live(self, process: Process) -> None:
        """A process, from when it may go for the first time."""
        broken: BaseException | None = None
        try:
            if not self._closing:
                process.body()
        except BaseException as error:
            broken = error
        if self._closing:
            process.end.release()
            return
        process.done = True
        if broken is not None:
            self.error = broken
            self._over.release()
        else:
            self._switch(process)

    def _switch(self, me: Process | None) -> None:
        """Lets the next one go, and returns when `me` may; at once if it is done."""
        able = tuple(p.number for p in self._processes if p.able(self.writes))
        if able:
            chosen = self._next(able, me)
            if me is not None and chosen == me.number:
                return
            self.current = self._processes[chosen]
            self.current.gate.release()
        else:
            if not all(process.done for process in self._processes):
                self.error = AssertionError("every process waits for another one")
            self._over.release()
        if me is not None and not me.done:
            me.gate.acquire()
            if self._closing:
                raise Closed

    def _next(self, able: tuple[int, ...], me: Process | None) -> int:
        if len(able) == 1:
            return able[0]
        at = len(self.points)
        current = me.number if me is not None and me.number in able else None
        chosen = self.prefix[at] if at < len(self.prefix) else self.choose(able, current)
        assert chosen in able, "the scenario does not do the same in the same order"
        self.points.append(Point(chosen, current, able))
        return chosen


now: Schedule | None = None  # one at a time
idle: list[Worker] = []
