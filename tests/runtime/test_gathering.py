"""Roles that count in step go on together when one of them has died, wherever it was."""

from __future__ import annotations

import os
import signal

import pytest

from paradigms.errors import Stopped
from paradigms.runtime.crew import Crew, Link, Role
from paradigms.runtime.gathering import Called, Gathering
from paradigms.runtime.memory import Shared

pytestmark = pytest.mark.slow

ROLES, LAST = 3, 20


class Counts(Role):
    """Counts up to LAST with the others; rank 0 keeps what all have reached."""

    def __init__(
        self, rank: int, gathering: Gathering, reached: Shared, kept: Shared, dies: dict[int, str]
    ) -> None:
        self.rank, self.gathering, self.reached, self.kept = rank, gathering, reached, kept
        self.dies = dies.get(rank, "")

    def run(self, link: Link) -> None:
        self.life = link.life
        if link.life:
            self.gathering.call()
            self.die("calling")
        try:
            while True:
                epoch = self.gathering.gather(link, self.rank, self.repair)
                try:
                    return self.count(link, epoch)
                except Called:
                    self.die("called")
        except Stopped:
            return

    def count(self, link: Link, epoch: int) -> None:
        reached, kept = self.reached.array[:, 0], self.kept.array
        while kept[0] < LAST:
            target = int(kept[0]) + 1
            reached[self.rank] = target
            if target == LAST // 2:
                self.die("counting")
            self.gathering.wait(link, epoch, "others", lambda: (reached >= target).all())  # noqa: B023
            if target == LAST:
                self.die("at the end")
            if self.rank == 0:
                kept[0] = target
            self.gathering.wait(link, epoch, "rank 0", lambda: kept[0] >= target)  # noqa: B023
        if self.rank == 0:
            self.gathering.end()
            self.die("after the end")
        self.gathering.wait(link, epoch, "end", self.gathering.ended)
        self.die("after the end")

    def repair(self) -> None:
        self.reached.array[:, 0] = 0
        self.die("repairing")

    def die(self, where: str) -> None:
        first = 0 if where in ("counting", "at the end", "after the end", "called") else 1
        if self.dies == where and self.life == first:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("dies", "restarts"),
    [
        ({}, 0),
        ({0: "counting"}, 1),
        ({1: "counting"}, 1),
        ({0: "counting", 1: "counting", 2: "counting"}, 3),
        ({1: "counting", 2: "called"}, 2),
        ({0: "called", 1: "counting"}, 2),
        ({0: "at the end"}, 1),
        ({2: "at the end"}, 1),
        ({0: "after the end"}, 1),
        ({1: "after the end"}, 1),
    ],
)
def test_all_reach_the_end_wherever_some_died(dies: dict[int, str], restarts: int) -> None:
    gathering, reached, kept = Gathering(ROLES), Shared((ROLES, 8), "int64"), Shared(1, "int64")
    with Crew(heartbeat=20.0, restarts=10) as crew:
        for rank in range(ROLES):
            args = (rank, gathering, reached, kept, dies)
            crew.add(f"counts{rank}", Counts, *args, rank=rank, restartable=True)
        said = [report for report in crew.run() if report.kind != "tick"]
    assert kept.array[0] == LAST
    assert crew.restarts == restarts
    assert len([report for report in said if report.kind == "finished"]) == ROLES


class Breaks(Role):
    """Counts, and raises while it repairs what its own death has left."""

    def __init__(self, rank: int, gathering: Gathering, lives: int) -> None:
        self.rank, self.gathering, self.lives = rank, gathering, lives

    def run(self, link: Link) -> None:
        self.link = link
        if link.life:
            self.gathering.call()
        while True:
            epoch = self.gathering.gather(link, self.rank, self.repair)
            try:
                if self.rank == 0 and link.life == 0:
                    raise RuntimeError("the first life")
                self.gathering.wait(link, epoch, "others", lambda: epoch)  # noqa: B023
                return
            except Called:
                pass

    def repair(self) -> None:
        if self.link.life < self.lives:
            raise RuntimeError("while repairing")


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_who_dies_while_it_repairs_is_called_together_for_again(kind: str) -> None:
    gathering = Gathering(2)
    with Crew(kind, heartbeat=20.0) as crew:
        for rank in range(2):
            crew.add(f"breaks{rank}", Breaks, rank, gathering, 3, rank=rank, restartable=True)
        said = [report for report in crew.run() if report.kind == "restarted"]
    assert [report.data["cause"].split(": ")[1] for report in said] == [
        "the first life", "while repairing", "while repairing",
    ]  # fmt: skip
