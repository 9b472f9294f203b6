"""A role's life in a process of its own: how it begins, beats, hears the parent and ends."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import parent_process, reduction
from multiprocessing.connection import Connection, wait
from typing import IO, Any, cast

from paradigms.errors import Stopped
from paradigms.runtime import machine
from paradigms.runtime.event import Event
from paradigms.runtime.journal import JournalWriter
from paradigms.runtime.link import Link, Member, describe
from paradigms.runtime.memory import Shared
from paradigms.runtime.start import Pickled

COLUMNS = 8  # float64 cells a role, one cache line; the row after the last role is the crew's
BEAT, MAIL, SEQUENCE, WAITING = range(4)  # heartbeat due from; messages sent; events; waiting since
DUMP_SIGNAL = signal.SIGUSR1  # the parent asks where a silent role hangs
SECONDS_BETWEEN_FLUSHES = 1.0
SECONDS_AWAKE = 1e-3  # of a brief wait: a sleep of 20 us takes 80, as long as a meeting of replicas
LONGEST_WORD = 64


class Heartbeats:
    """When each role last showed life, its counters and what it waits for, in shared memory; every
    cell has one writer. `numbers`: [roles + 1, COLUMNS] float64, the last row is the crew's: its
    first cell is 1.0 once the crew has been asked to stop."""

    def __init__(self, roles: int) -> None:
        self.numbers = Shared((roles + 1, COLUMNS), "float64")
        self.words = Shared((roles, LONGEST_WORD), "uint8")

    def word(self, index: int) -> str:
        return bytes(self.words.array[index]).rstrip(b"\0").decode(errors="replace")


class FaultLog:
    """Where a child's faulthandler writes, also when Python is stuck; the parent reads it."""

    def __init__(self) -> None:
        self.file = _unnamed_file()

    def __getstate__(self) -> Any:
        return reduction.DupFd(self.file.fileno())

    def __setstate__(self, duplicate: Any) -> None:
        self.file = open(duplicate.detach(), "wb", buffering=0)

    def text(self) -> str:
        return os.pread(self.file.fileno(), 1 << 16, 0).decode(errors="replace")


class ProcessLink(Link):
    """The link of a role that has a process to itself."""

    def __init__(
        self,
        member: Member,
        beats: Heartbeats,
        pipe: Connection,
        writer: JournalWriter | None,
    ) -> None:
        super().__init__(member, writer)
        self.role: Any = None
        self._beats, self._pipe, self._index = beats, pipe, member.index
        flat: Any = beats.numbers.array.reshape(-1)
        self._cells = cast("memoryview[float]", memoryview(flat))  # quicker than an array
        row = member.index * COLUMNS
        self._beat, self._mail, self._waiting = row + BEAT, row + MAIL, row + WAITING
        self._sequence = row + SEQUENCE
        self._stop = len(self._cells) - COLUMNS
        self._read = 0.0
        self._flush_at = 0.0
        self._writable = select.poll()
        self._writable.register(pipe.fileno(), select.POLLOUT)

    @property
    def stopping(self) -> bool:
        return self._cells[self._stop] != 0.0

    @property
    def events(self) -> int:
        """How many events it has begun, those before it was replaced included."""
        return int(self._cells[self._sequence])

    def go(self, until: Callable[[], object] = lambda: False) -> bool:
        cells = self._cells
        cells[self._beat] = now = time.monotonic()
        if cells[self._mail] != self._read:
            self._read_mail()
        if now > self._flush_at:
            self._flush(now)
        return cells[self._stop] == 0.0 and not until()

    def wait(
        self,
        what: str,
        ready: Callable[[], object],
        timeout: float | None = None,
        *,
        rate_limit: bool = False,
        brief: bool = False,
    ) -> bool:
        cells = self._cells
        cells[self._beat] = begun = now = time.monotonic()
        if ready():
            return True
        pause, shown = 20e-6, False
        awake = begun + SECONDS_AWAKE if brief else begun
        try:
            while cells[self._stop] == 0.0:
                if timeout is not None and now - begun >= timeout:
                    return False
                cells[self._beat] = now
                if now > self._flush_at:
                    self._flush(now)
                if not shown and now - begun > 0.5:
                    self._show(what, begun)
                    shown = True
                if now < awake:
                    os.sched_yield()  # whoever else has work goes first
                else:
                    time.sleep(pause)
                    pause = min(1.5 * pause, 1e-3)
                if ready():
                    return True
                now = time.monotonic()
            return False
        finally:
            now = time.monotonic()
            cells[self._beat] = now
            cells[self._waiting] = 0.0
            self.seconds[what] = self.seconds.get(what, 0.0) + now - begun

    def busy(self, seconds: float) -> None:
        self._cells[self._beat] = time.monotonic() + seconds

    def report(self, data: dict[str, Any]) -> None:
        if self._writable.poll(0):
            self._pipe.send(("metrics", data))

    def finish(self) -> None:
        self._cells[self._stop] = 1.0

    def opened(self, event: Event) -> None:
        event.seq = self.events
        self._cells[self._sequence] = event.seq + 1

    def closed(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.write(event)

    def _read_mail(self) -> None:
        while self._read != self._cells[self._mail]:
            message = self._pipe.recv()
            self._read += 1.0
            self.role.tell(message)

    def _flush(self, now: float) -> None:
        self._flush_at = now + SECONDS_BETWEEN_FLUSHES
        if self._writer is not None:
            self._writer.flush()

    def _show(self, what: str, since: float) -> None:
        word = what.encode()[:LONGEST_WORD]
        self._beats.words.array[self._index] = 0
        self._beats.words.array[self._index, : len(word)] = bytearray(word)
        self._cells[self._waiting] = since


def main(
    pipe: Connection,
    beats: Heartbeats,
    faults: FaultLog,
    journal: str | None,
    arguments: Pickled,
) -> None:
    """Runs one role; exits 0 after "finished", 1 after "failed" with the traceback."""
    os.setpgid(0, 0)  # a group, so that this process's own children can be ended with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    faulthandler.enable(faults.file)
    faulthandler.register(DUMP_SIGNAL, faults.file)
    _die_with_parent()
    writer = None
    try:
        machine.prepare()
        (member,) = arguments.load()
        if journal is not None:
            writer = JournalWriter(
                journal,
                member.index,
                member.rank,
                lambda text: pipe.send(("note", {"words": text})),
            )
        link = ProcessLink(member, beats, pipe, writer)
        link.role = member.build()
        begun = time.monotonic()
        try:
            link.role.run(link)
        except Stopped:
            pass
        seconds = {"seconds": link.seconds, "total": time.monotonic() - begun}
        if writer is not None:
            writer.end(link.events)
            writer.close()
        pipe.send(("finished", seconds))
    except BaseException as error:
        if writer is not None:
            writer.flush()
        helps = getattr(error, "restart_helps", True)
        pipe.send(("failed", (f"raised {describe(error)}", traceback.format_exc(), helps)))
        sys.exit(1)


def _unnamed_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("faults"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _die_with_parent() -> None:
    """Ends this process and its children when the parent is gone, however it went.

    A thread watches the pipe that closes then. Linux's kernel watches it too: a thread cannot run
    while C code holds Python's lock.
    """
    parent = parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os.killpg(0, signal.SIGKILL)

    if sys.platform == "linux":
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgid(0))
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=watch, name="parent", daemon=True).start()
