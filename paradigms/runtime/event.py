"""One scheduling event, and the fixed record that it becomes in a journal."""

from __future__ import annotations

import os
import time
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Protocol

import numpy as np

KINDS = ("pull", "drain", "learn", "publish", "merge", "apply", "assign", "collect", "evaluate")
END = 255  # the code of a role's last record
FIELDS = ("worker", "read", "written", "base", "count")
RECORD = np.dtype(
    [
        ("seq", "<u4"),
        ("role", "u1"),
        ("kind", "u1"),
        ("rank", "<i2"),
        ("worker", "<i2"),
        ("spare", "<i2"),
        ("count", "<i4"),
        ("read", "<i8"),
        ("written", "<i8"),
        ("base", "<i8"),
        ("time", "<f8"),
    ]
)
_PACK = Struct("<IBBhhhiqqqd")
_CODE = {kind: code for code, kind in enumerate(KINDS)}


class Owner(Protocol):
    """Whoever is told when an event begins and ends: a Link."""

    def opened(self, event: Event) -> None: ...

    def closed(self, event: Event) -> None: ...


class Event:
    """One scheduling event; fill its fields inside the `with`, it is recorded when that closes.

        with link.event("pull") as event:
            event.read = weights.pull(agent.vector)

    worker: the rank it concerns; read, written, base: versions (updates); count: rows or updates.
    Fields that do not apply stay -1 (count: 0). `seq` numbers the events of a role as they begin.
    `recorded` is the same event of the run being replayed, or None; `broken`: its body raised.
    """

    __slots__ = (
        "_owner", "base", "broken", "count", "kind", "read", "recorded", "seq", "worker", "written",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner | None,
        kind: str,
        *,
        worker: int = -1,
        read: int = -1,
        written: int = -1,
        base: int = -1,
        count: int = 0,
    ) -> None:
        if kind not in _CODE:
            raise ValueError(f"no event is called {kind!r}; the journal knows {', '.join(KINDS)}")
        self._owner, self.kind = owner, kind
        self.worker, self.read, self.written, self.base, self.count = (
            worker, read, written, base, count,
        )  # fmt: skip
        self.seq = 0
        self.recorded: Event | None = None
        self.broken = False

    def __enter__(self) -> Event:
        if self._owner is not None:
            self._owner.opened(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.broken = kind is not None
        if self._owner is not None:
            self._owner.closed(self)

    def __repr__(self) -> str:
        fields = " ".join(f"{name}={getattr(self, name)}" for name in FIELDS)
        return f"{self.kind} {self.seq} ({fields})"


class Ink:
    """One role's end of the journal: buffers records, appends them whole (O_APPEND)."""

    def __init__(self, path: str | Path, role: int, rank: int) -> None:
        self._role, self._rank = role, rank
        self._buffer = bytearray()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, event: Event) -> None:
        self._buffer += _PACK.pack(
            event.seq, self._role, _CODE[event.kind], self._rank, event.worker, 0,
            event.count, event.read, event.written, event.base, time.time(),
        )  # fmt: skip

    def flush(self) -> None:
        if self._buffer:
            done = os.write(self._file, self._buffer)
            if done != len(self._buffer):
                raise OSError("the journal cannot grow: is the disk full? set journal=null")
            self._buffer.clear()

    def end(self, seq: int) -> None:
        """The role has returned after `seq` events, and all of them are in the journal."""
        self._buffer += _PACK.pack(seq, self._role, END, self._rank, *(0,) * 6, time.time())
        self.flush()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            os.close(self._file)


def event_of(record: np.void) -> Event:
    """An event read back (dtype RECORD)."""
    event = Event(None, KINDS[record["kind"]], **{name: int(record[name]) for name in FIELDS})
    event.seq = int(record["seq"])
    return event
