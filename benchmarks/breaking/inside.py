"""What a train.py that is to lose one of its processes does to itself: it kills that process when
it has learned for a while."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from pathlib import Path
from unittest import mock

from paradigms.base import Progress
from paradigms.runtime import restarts
from paradigms.runtime.crew import Crew
from paradigms.session import evaluator
from paradigms.session.session import Session

LONGEST = 1.0  # seconds between what the moment is drawn after and the kill


def install(role: str, times: int, seed: int) -> None:
    """Kills the process of this role, or the "fork server", so many times, each time when it is
    there again, and stops the run when it has worked on after that."""
    note, killer = Session.note, Killer(role, times, seed)

    def notes(session: Session, progress: Progress) -> None:
        note(session, progress)
        killer(session, progress)

    patient = functools.partial(Crew, restarts=10**6)
    for where, name, what in (
        (Session, "note", notes),
        (evaluator, "Crew", patient),
        (restarts, "SECONDS_OF_YOUTH", 0.0),
    ):
        mock.patch.object(where, name, what).start()


class Killer:
    def __init__(self, role: str, times: int, seed: int) -> None:
        self.role, self.draws = role, random.Random(seed)
        self.times = self.left = times
        self.last, self.due = 0, 0.0
        self.evaluations = 0

    def __call__(self, session: Session, progress: Progress) -> None:
        if progress.updates < 20:
            return
        done = len(session.tracker.means)
        if not self.left:
            if session.evaluations.restarts == self.times and done > self.evaluations:
                progress.stop()
            return
        pid, now = find(self.role), time.monotonic()
        if pid is None or pid == self.last or (self.last and done == self.evaluations):
            return
        self.due = self.due or now + self.draws.uniform(0.0, LONGEST)
        if now >= self.due:
            os.kill(pid, signal.SIGKILL)
            self.last, self.due, self.left, self.evaluations = pid, 0.0, self.left - 1, done


def find(role: str) -> int | None:
    """The process of a role of this run, or its fork server, which is the parent of all of them."""
    import multiprocessing

    pids = {child.name: child.pid for child in multiprocessing.active_children()}
    if role != "fork server":
        return pids.get(role)
    fields = Path(f"/proc/{next(iter(pids.values()))}/stat").read_text().rpartition(")")[2]
    return int(fields.split()[1])
