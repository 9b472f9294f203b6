"""The journal: every scheduling event of a run as a fixed record, enough to repeat the run.

Crew("process", journal="journal.bin")                          # records
Crew("inline", order=Recorded(Journal.read("journal.bin")))     # repeats, to the same bits
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paradigms.runtime.event import END, KINDS, RECORD, Event, event_of
from paradigms.runtime.order import Diverged, Drawn, Intent, Order, RankOrder, Recorded

__all__ = [
    "KINDS", "RECORD", "Diverged", "Drawn", "Event", "Intent", "Journal", "Order", "RankOrder",
    "Recorded", "begin",
]  # fmt: skip


@dataclass(frozen=True)
class Journal:
    """A journal read back: `records` (dtype RECORD) in file order, and its roles by number.

    Within a role, sort by `seq`: an event is numbered when it begins and written when it ends.
    """

    roles: tuple[str, ...]
    records: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Journal:
        """Reads a journal; a record cut off by a killed process at the very end is dropped.

        Raises ValueError if the file is no journal of this format.
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
        return [event_of(record) for record in records[whole]]

    def complete(self) -> bool:
        """Whether every role has come to its end, and nothing that it did is missing."""
        for role in self.roles:
            records = self._of(role)
            ends = records["seq"][records["kind"] == END]
            if list(ends) != [len(self.events(role))]:
                return False
        return True

    def _of(self, role: str) -> np.ndarray:
        mine: np.ndarray = self.records[self.records["role"] == self.roles.index(role)]
        return mine


def begin(path: str | Path, roles: Sequence[str]) -> None:
    """Starts a journal file: one JSON line, then records."""
    header: dict[str, Any] = {
        "format": 1,
        "roles": list(roles),
        "kinds": list(KINDS),
        "record_bytes": RECORD.itemsize,
        "fields": [list(field) for field in RECORD.descr],
        "started": time.time(),
    }
    Path(path).write_bytes(json.dumps(header).encode() + b"\n")
