"""Re-execution: an inline crew does again what a journal says that the roles of a run did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from paradigms.errors import Diverged, Stopped
from paradigms.runtime.event import FIELDS, Event
from paradigms.runtime.journal import Journal
from paradigms.runtime.order import Order

NEVER = np.iinfo(np.int64).max
PATIENCE = 64  # scheduling points without an event after which roles whose events are done may go
LOST = 100_000  # scheduling points without an event after which a re-execution has diverged


class Recorded(Order):
    """Re-executes one linearisation of the journal that is consistent with every recorded read and
    write.

    Each role repeats its own events in their order. A `pull` that read version v happens while v is
    the newest (a reader that is given an older one on purpose notes the newest in `base`).
    Therefore every pull must be recorded, even if the version did not change. A `publish`, or a
    merge or apply that set `written`, makes that version the newest, once no role has a pull of an
    older version or a smaller write left to do. Weights that differ in `worker` have versions of
    their own. What else an event needs, link.pick and link.wait wait for.

    strict: the other recorded fields are compared, too; False when a rule is changed on purpose.
    Differences raise Diverged. The journal of a run that was killed is repeated as far as its last
    records reach.
    """

    def __init__(self, journal: Journal, *, strict: bool = True) -> None:
        self._journal, self._strict = journal, strict

    def begin(self, names: Sequence[str]) -> None:
        if set(self._journal.roles) != set(names):
            raise ValueError(
                f"the journal has the roles {', '.join(self._journal.roles)}, this run has "
                f"{', '.join(names)}: re-execute it with the configuration of the recorded run"
            )
        super().begin(names)
        self._events = {name: self._journal.events(name) for name in names}
        self._done = dict.fromkeys(names, 0)
        self._cut = False
        channels = {_channel(event) for events in self._events.values() for event in events}
        self._reads, self._writes = (
            {(name, channel): _oldest(events, channel, number)
             for name, events in self._events.items() for channel in channels}
            for number in (_seen, _written)
        )  # fmt: skip
        self._newest = {channel: self._first_version(channel) for channel in channels}

    def choose(self, waiting: Mapping[str, str], ready: list[str], idle: int) -> str:
        """Roles with recorded events left go before the others, while events happen."""
        if idle > LOST:
            wants = (f"{name} waits for {what or 'the baton'}" for name, what in waiting.items())
            raise Diverged(
                f"no recorded event has happened for {LOST} scheduling points: {', '.join(wants)}"
            )
        active = [name for name in ready if self.expected(name) is not None]
        return super().choose(waiting, active if active and idle < PATIENCE else ready, idle)

    def expected(self, name: str) -> Event | None:
        if self._cut:
            return None
        events, done = self._events[name], self._done[name]
        return events[done] if done < len(events) else None

    def pick(self, name: str, kind: str, first: int | None) -> int | None:
        expected = self.expected(name)
        return expected.worker if expected is not None and expected.kind == kind else None

    def check(self, name: str, event: Event) -> None:
        expected = self.expected(name)
        if expected is None:
            raise Stopped
        if expected.kind != event.kind or event.worker not in (-1, expected.worker):
            raise Diverged(f"{name} begins {event}, the journal has {expected}")

    def allows(self, name: str) -> bool:
        event = self.expected(name)
        if event is None:
            return True
        channel = _channel(event)
        if event.kind == "pull":
            return self._newest[channel] == _seen(event)
        written = _written(event)
        return written == NEVER or all(
            oldest[(other, channel)][self._done[other]] >= written
            for oldest in (self._reads, self._writes)
            for other in self._events
            if other != name
        )

    def opened(self, name: str) -> None:
        if self.stopping(False):
            raise Stopped
        self._done[name] += 1

    def closed(self, name: str, event: Event) -> None:
        recorded = self._events[name][event.seq]
        if _written(recorded) != NEVER:
            self._newest[_channel(recorded)] = recorded.written
        if self._strict and not event.broken:
            for field in FIELDS:
                if getattr(event, field) != getattr(recorded, field):
                    raise Diverged(f"{name} did {event}, the journal has {recorded}")

    def stopping(self, asked: bool) -> bool:
        return self._cut or all(
            done == len(self._events[name]) for name, done in self._done.items()
        )

    def stuck(self) -> bool:
        self._cut = not self._journal.complete()
        return self._cut

    def _first_version(self, channel: int) -> int:
        """0, or what a resumed run began with: a version was read before any was written."""
        read = min(oldest[0] for (_, c), oldest in self._reads.items() if c == channel)
        written = min(oldest[0] for (_, c), oldest in self._writes.items() if c == channel)
        return int(read) if read < written else 0


def _channel(event: Event) -> int:
    """Which weights an event is about: those of one worker, or everybody's (-1)."""
    return event.worker if event.kind in ("pull", "publish") else -1


def _seen(event: Event) -> int:
    """The version that was the newest when this pull happened; NEVER for other events."""
    if event.kind != "pull":
        return NEVER
    return event.read if event.base < 0 else event.base


def _written(event: Event) -> int:
    """The version that this event made the newest; NEVER if it made none."""
    versioned = event.kind in ("publish", "merge", "apply") and event.written >= 0
    return event.written if versioned else NEVER


def _oldest(events: list[Event], channel: int, number: Callable[[Event], int]) -> list[int]:
    """[len(events) + 1]: the smallest number on that channel among the events from each one on."""
    numbers = [number(event) if _channel(event) == channel else NEVER for event in events]
    smallest = np.minimum.accumulate(np.array([*numbers, NEVER])[::-1])[::-1]
    oldest: list[int] = smallest.tolist()
    return oldest
