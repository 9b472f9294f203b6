"""The engine behind Crew("process"): the parent's side of roles in processes of their own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import util
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from paradigms.errors import Deadlock, Failed, ForkServerDied
from paradigms.runtime import child, start
from paradigms.runtime.link import Member, Report
from paradigms.runtime.restarts import Restarts

SECONDS_TO_BUILD = 120.0  # imports and the role's constructor; no heartbeat yet
LONGEST_MESSAGE = 1 << 16  # bytes; a pipe takes that much without a reader
NO_EXIT_CODE = 255  # what multiprocessing says of every child when the fork server has died


class Child:
    """One role's process as the parent sees it."""

    def __init__(self, member: Member, beats: child.Heartbeats, journal: str | None) -> None:
        self.member = member
        self.name = member.name
        row = beats.numbers.array[member.index]
        row[[child.MAIL, child.WAITING]] = 0.0
        self.begun = time.monotonic()
        row[child.BEAT] = self.begun + SECONDS_TO_BUILD
        self._row = row
        self._heard, self._silent, self._looked = 0.0, 0.0, time.monotonic()
        self.faults = child.FaultLog()
        self.finished: dict[str, Any] | None = None
        self.failure: tuple[str, str] | None = None
        self.restart_helps = True
        self.pipe_closed = False  # nothing more will come through the pipe
        self.pipe: Connection
        self.pipe, end = start.context().Pipe()
        with end:
            arguments = start.Arguments(member)
            self.process: BaseProcess = start.start(
                child.main, self.name, end, beats, self.faults, journal, arguments
            )

    def tell(self, message: Any) -> None:
        """Sends a small message, to be read at the role's next go(); never blocks."""
        data = ForkingPickler.dumps(message)
        if len(data) > LONGEST_MESSAGE:
            raise ValueError(
                f"a message to role {self.name} has {len(data)} bytes, the limit is "
                f"{LONGEST_MESSAGE}; put arrays into a Shared block given to its constructor"
            )
        space = select.poll()
        space.register(self.pipe.fileno(), select.POLLOUT)
        if not space.poll(0):
            raise Failed(self.name, "does not read its messages")
        with contextlib.suppress(BrokenPipeError):  # it has died: the sentinel tells
            self.pipe.send_bytes(data)
            self._row[child.MAIL] += 1.0

    def read(self) -> Iterator[Report]:
        """What it has sent since; its last word is kept in `finished` or `failure`."""
        while not self.pipe_closed:
            try:
                if not self.pipe.poll():
                    return
                word, data = self.pipe.recv()
            except (EOFError, OSError):
                self.pipe_closed = True
                return
            if word == "finished":
                self.finished = data
            elif word == "failed":
                *failure, self.restart_helps = data
                self.failure = (failure[0], failure[1])
            else:
                yield Report(self.name, word, data)

    def silent(self) -> float:
        """Seconds without a heartbeat, as long as the parent was looking."""
        now, beat = time.monotonic(), float(self._row[child.BEAT])
        if beat != self._heard or beat > now:
            self._heard, self._silent = beat, 0.0
        else:
            self._silent += min(now - self._looked, 1.0)
        self._looked = now
        return self._silent

    def waiting(self) -> float:
        """Seconds it has been waiting for others, 0.0 if it is not."""
        since = float(self._row[child.WAITING])
        return time.monotonic() - since if since else 0.0

    def where(self) -> str:
        """Where a hanging role stands: its traceback, taken without its help."""
        size = len(self.faults.text())
        self.signal(child.DUMP_SIGNAL)
        deadline = time.monotonic() + 0.5
        while len(self.faults.text()) == size and time.monotonic() < deadline:
            wait([self.process.sentinel], 0.01)
        wait([self.process.sentinel], 0.02)  # for the rest of the text
        return self.faults.text()

    def ending(self) -> str:
        """How a process that has ended did so. Raises ForkServerDied if it has not ended, but
        multiprocessing says so, because only the fork server would know."""
        self.process.join()
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        if code == NO_EXIT_CODE and self.finished is None and self._exists():
            raise ForkServerDied
        return f"exited with code {code} and without a traceback"

    def _exists(self) -> bool:
        try:
            os.kill(self.process.pid or 0, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: int, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            pid = self.process.pid
            assert pid is not None
            if group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
            if self.process.is_alive():
                os.kill(pid, number)

    def close(self) -> None:
        """Ends it, and what it has started, at once, and frees everything."""
        self.signal(signal.SIGKILL, group=True)
        self.process.join()
        self.process.close()
        self.pipe.close()
        self.faults.file.close()


class Pending(NamedTuple):
    """A role that is to be started at `at`, on the monotonic clock; why is in the report."""

    at: float
    member: Member
    report: Report


class ProcessEngine:
    """Starts, hears, restarts and ends the roles; it works while the owner iterates over `run`."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        restarts: int,
        heartbeat: float,
        journal: str | None,
        seconds_to_stop: float,
    ) -> None:
        self._members = members
        self._restarts, self._heartbeat = Restarts(restarts), heartbeat
        self._journal, self._seconds_to_stop = journal, seconds_to_stop
        self._beats = child.Heartbeats(len(members))
        self._stop = self._beats.numbers.array[len(members)]
        self._live: dict[str, Child] = {}
        self._pending: list[Pending] = []
        self._backlog: deque[Report] = deque()
        self._emergency = util.Finalize(None, self.close, exitpriority=10)

    @property
    def restarts(self) -> int:
        return self._restarts.made

    def run(self, tick: float) -> Iterator[Report]:
        for member in self._members:
            self._live[member.name] = Child(member, self._beats, self._journal)
        due = time.monotonic() + tick
        while self._live or self._pending:
            self._start_pending()
            self._hear(max(0.0, due - time.monotonic()))
            while self._backlog:
                yield self._backlog.popleft()
            if time.monotonic() >= due:
                yield Report("", "tick")
                due = time.monotonic() + tick

    def stop(self) -> None:
        self._stop[0] = 1.0

    def tell(self, name: str, message: Any) -> None:
        if name in self._live:
            self._live[name].tell(message)

    def close(self) -> None:
        """Stop, wait, terminate, kill: over soon after `seconds_to_stop`, whatever the roles do."""
        self.stop()
        begun = time.monotonic()
        self._wait_for_ends(begun + 0.8 * self._seconds_to_stop)
        for role in self._live.values():
            role.signal(signal.SIGTERM)
        self._wait_for_ends(begun + self._seconds_to_stop)
        for role in self._live.values():
            role.close()
        self._live.clear()
        self._pending.clear()
        self._emergency.cancel()

    def _hear(self, timeout: float) -> None:
        """Reads what roles say for at most `timeout` seconds, returns after the first word."""
        sources: dict[Any, Child] = {}
        for role in self._live.values():
            sources[role.process.sentinel] = role
            if not role.pipe_closed:
                sources[role.pipe] = role
        heard = {sources[source].name: sources[source] for source in wait(sources, timeout)}
        for role in heard.values():
            ended = not role.process.is_alive()
            self._backlog.extend(role.read())
            if ended:
                self._ended(role, role.ending())
        for role in list(self._live.values()):
            if role.silent() > self._heartbeat:
                trace = role.where()
                cause = f"has not reached link.go() for {self._heartbeat:g} s, the crew's heartbeat"
                self._ended(role, f"{cause} (announce long work by link.busy)", trace)
        waiting = [role for role in self._live.values() if role.waiting() > self._heartbeat]
        if self._live and not self._pending and len(waiting) == len(self._live):
            words = (f"{r.name} waits for {self._beats.word(r.member.index)}" for r in waiting)
            raise Deadlock(f"every role has waited for {self._heartbeat:g} s: " + ", ".join(words))

    def _ended(self, role: Child, cause: str, trace: str = "") -> None:
        del self._live[role.name]
        trace = trace or role.faults.text()
        role.close()
        cause, trace = role.failure or (cause, trace)
        if role.finished is None and not role.member.restartable:
            raise Failed(role.name, cause, trace)
        if role.finished is not None:
            self._backlog.append(Report(role.name, "finished", role.finished))
        elif self._stop[0]:
            self._never_again(Report(role.name, "restarted", {"cause": cause, "trace": trace}))
        elif not role.restart_helps:
            raise Failed(role.name, f"{cause} (a restart would not help)", trace)
        elif not self._restarts.left():
            raise Failed(role.name, f"{cause} ({self._restarts.limit} restarts are used up)", trace)
        else:
            now, next_one = time.monotonic(), replace(role.member, life=role.member.life + 1)
            pause = self._restarts.make(role.name, now - role.begun)
            report = Report(role.name, "restarted", {"cause": cause, "trace": trace})
            self._pending.append(Pending(now + pause, next_one, report))
            self._start_pending()

    def _start_pending(self) -> None:
        """Starts the roles whose pause is over; none any more once the crew is asked to stop."""
        now, left = time.monotonic(), list[Pending]()
        for pending in self._pending:
            if self._stop[0]:
                self._never_again(pending.report)
            elif pending.at <= now:
                role = Child(pending.member, self._beats, self._journal)
                self._live[role.name] = role
                self._backlog.append(pending.report)
            else:
                left.append(pending)
        self._pending = left

    def _never_again(self, report: Report) -> None:
        """A restartable role that failed when the crew had been asked to stop has finished."""
        data = {"seconds": {}, "total": 0.0, **report.data}
        self._backlog.append(Report(report.name, "finished", data))

    def _wait_for_ends(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            running = [role for role in self._live.values() if role.process.is_alive()]
            if not running:
                return
            pipes = [role.pipe for role in running if not role.pipe_closed]
            wait([*pipes, *(role.process.sentinel for role in running)], left)
            for role in running:  # it may be blocked in a send
                deque(role.read(), maxlen=0)
