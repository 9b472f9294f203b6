"""The journal: every scheduling event of a run as a fixed record, enough to execute it again.

Crew("process", journal="journal.bin")                          # records
Crew("inline", order=Recorded(Journal.read("journal.bin")))     # re-executes, to the same bits

The file is one line of JSON (`begin`) and then records of RECORD, which the roles append.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from paradigms.runtime.event import FIELDS, KINDS, Event

END = 255  # the code of a role's last record
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


@dataclass(frozen=True)
class Journal:
    """A journal read back. roles: their names, in rank order. records: [N] RECORD, in file order.

    Within a role, sort by `seq`: an event is numbered when it begins and written when it ends.
    """

    roles: tuple[str, ...]
    records: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Journal:
        """Reads a whole journal file into memory, 48 bytes an event.

        A last record that is shorter than that, because its process was killed while it wrote, is
        dropped; `complete` then says False. Raises OSError if the file cannot be read, ValueError
        if it is no journal or has another format.
        """
        with open(path, "rb") as file:
            line, rest = file.readline(), file.read()
        try:
            header = json.loads(line)
            roles, kinds, size = header["roles"], header["kinds"], header["record_bytes"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a journal: its first line is no header") from error
        if tuple(kinds) != KINDS or size != RECORD.itemsize:
            raise ValueError(f"{path} was written by another version of the journal")
        whole = len(rest) // RECORD.itemsize * RECORD.itemsize
        return cls(tuple(roles), np.frombuffer(rest[:whole], RECORD))

    def events(self, role: str) -> list[Event]:
        """A role's events in the order in which they began, up to the first that is missing."""
        records = self._of(role)
        records = records[records["kind"] != END]
        records = records[np.argsort(records["seq"], kind="stable")]
        whole = np.cumprod(records["seq"] == np.arange(len(records))).astype(bool)
        return [_event(record) for record in records[whole]]

    def complete(self) -> bool:
        """Whether every role has returned from `run`, and no event of it is missing."""
        for role in self.roles:
            records = self._of(role)
            ends = records["seq"][records["kind"] == END]
            if list(ends) != [len(self.events(role))]:
                return False
        return True

    def _of(self, role: str) -> np.ndarray:
        mine: np.ndarray = self.records[self.records["role"] == self.roles.index(role)]
        return mine


class JournalWriter:
    """One role's end of the journal: keeps records in memory, appends them whole (O_APPEND), so
    that roles in several processes can write one file.

    failed: gets a sentence when the file cannot grow, as on a full disk. The role goes on, and
    records nothing more: with a gap in it the journal could not be re-executed.
    """

    def __init__(
        self,
        path: str | Path,
        role: int,
        rank: int,
        failed: Callable[[str], None] = lambda text: None,
    ) -> None:
        """role: its index in the header's list. rank: for the record. OSError as it comes."""
        self._role, self._rank, self._failed = role, rank, failed
        self._buffer = bytearray()
        self._whole = True
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, event: Event) -> None:
        """Keeps the record of an event that has ended, until `flush`."""
        self._buffer += _PACK.pack(
            event.seq, self._role, _CODE[event.kind], self._rank, event.worker, 0,
            event.count, event.read, event.written, event.base, time.time(),
        )  # fmt: skip

    def flush(self) -> None:
        if self._buffer and self._whole:
            try:
                done = os.write(self._file, self._buffer)
                problem = "" if done == len(self._buffer) else os.strerror(errno.ENOSPC)
            except OSError as error:
                problem = os.strerror(error.errno or errno.EIO)
            if problem:
                self._whole = False
                self._failed(f"the journal cannot be written ({problem}) and stays incomplete")
        self._buffer.clear()

    def end(self, seq: int) -> None:
        """The role has returned after `seq` events, and all of them are in the journal."""
        self._buffer += _PACK.pack(seq, self._role, END, self._rank, *(0,) * 6, time.time())
        self.flush()

    def close(self) -> None:
        self.flush()
        os.close(self._file)


def begin(path: str | Path, roles: Sequence[str]) -> None:
    """Starts a journal file, replacing one that is there: one JSON line, then records."""
    header: dict[str, Any] = {
        "format": 1,
        "roles": list(roles),
        "kinds": list(KINDS),
        "record_bytes": RECORD.itemsize,
        "fields": [list(field) for field in RECORD.descr],
        "started": time.time(),
    }
    Path(path).write_bytes(json.dumps(header).encode() + b"\n")


def _event(record: np.void) -> Event:
    event = Event(None, KINDS[record["kind"]], **{name: int(record[name]) for name in FIELDS})
    event.seq = int(record["seq"])
    return event
