"""Journals made by hand, for the tests of journals and of re-execution."""

from __future__ import annotations

from pathlib import Path

from paradigms.runtime import journal as journals
from paradigms.runtime.event import Event
from paradigms.runtime.journal import Journal, JournalWriter


def written(path: Path, names: list[str], *events: tuple[str, Event], end: bool = True) -> Journal:
    """The journal of these roles with these events; end: all roles have returned."""
    journals.begin(path, names)
    writers = {name: JournalWriter(path, index, index) for index, name in enumerate(names)}
    count = dict.fromkeys(names, 0)
    for name, event in events:
        event.seq = count[name]
        count[name] += 1
        writers[name].write(event)
    for name, writer in writers.items():
        if end:
            writer.end(count[name])
        writer.close()
    return Journal.read(path)


def event(kind: str, **fields: int) -> Event:
    return Event(None, kind, **fields)
