"""In which order the roles of an inline crew take turns: by rank, as drawn, or as recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paradigms.runtime.event import FIELDS, Event

if TYPE_CHECKING:
    from paradigms.runtime.journal import Journal

Delay = float | Sequence[float] | Callable[[np.random.Generator], float]
NEVER = np.iinfo(np.int64).max


class Diverged(RuntimeError):
    """A replay did something else than the journal says; the message has both."""


@dataclass(frozen=True)
class Intent:
    """What a role does at its next turn: kind is go, turn, wait or event; `what` it awaits."""

    kind: str
    what: str = ""


class Order:
    """Who goes next. `follows` is true for an order that also knows what each role does next, and
    when it has done enough; then the last four methods are asked too."""

    follows = False

    def begin(self, names: Sequence[str]) -> None:
        """The crew starts with these roles, in rank order."""

    def choose(self, waiting: Mapping[str, Intent], ready: list[str]) -> str:
        """One of `ready` (never empty, in rank order); `waiting` has all that have not returned."""
        raise NotImplementedError

    def expected(self, name: str) -> Event | None:
        """The next recorded event of a role; None if it has none left."""
        return None

    def allows(self, name: str) -> bool:
        """Whether the next recorded event of a role may happen now."""
        return True

    def opened(self, name: str) -> None:
        """A role's next recorded event begins."""

    def closed(self, name: str, event: Event) -> None:
        """A role's event has ended."""

    def over(self) -> bool:
        """Whether every recorded event has happened."""
        return False

    def stuck(self) -> bool:
        """Nobody can go on; true if that may be, and is the end."""
        return False


class RankOrder(Order):
    """Round robin in the order in which the roles were added."""

    def begin(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._last = -1

    def choose(self, waiting: Mapping[str, Intent], ready: list[str]) -> str:
        later = [name for name in ready if self._rank[name] > self._last]
        name = (later or ready)[0]
        self._last = self._rank[name]
        return name


class Drawn(Order):
    """A discrete-event model: each piece of work (go to go) takes a drawn virtual time.

    delays: by role name, by the name without its number, or "*": a number is the mean of an
    exponential, a list is drawn from uniformly (delays measured), a callable gets the generator.
    The work is done at the virtual moment at which it would have ended.
    """

    def __init__(self, seed: int, delays: Mapping[str, Delay]) -> None:
        self._seed, self._delays = seed, delays

    def begin(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._draw = {name: self._delay(name) for name in names}
        self._rng = {
            name: np.random.default_rng([self._seed, rank]) for name, rank in self._rank.items()
        }
        self.now = 0.0
        self._next = {name: self._draw[name](self._rng[name]) for name in names}

    def choose(self, waiting: Mapping[str, Intent], ready: list[str]) -> str:
        name = min(ready, key=lambda name: (max(self.now, self._next[name]), self._rank[name]))
        self.now = max(self.now, self._next[name])
        if waiting[name].kind == "go":
            self._next[name] = self.now + self._draw[name](self._rng[name])
        return name

    def _delay(self, name: str) -> Callable[[np.random.Generator], float]:
        for key in (name, name.rstrip("0123456789"), "*"):
            if key in self._delays:
                delay = self._delays[key]
                if callable(delay):
                    return delay
                if isinstance(delay, Sequence):
                    values = np.asarray(delay, np.float64)
                    return lambda rng: float(values[rng.integers(len(values))])
                mean = float(delay)
                return lambda rng: float(rng.exponential(mean))
        raise ValueError(f"delays say nothing about role {name}; add it, or '*' for the rest")


class Recorded(Order):
    """The order of a journal: one of those that respect what the roles saw of each other.

    Each role does its own events in their order. A `pull` that read version v happens while v is
    the newest (a reader that is given an older one on purpose notes the newest in `base`). A
    `publish`, or a merge or apply that set `written`, makes that version the newest, once nobody
    has a pull of an older one or a smaller write left to do. pull and publish of different weights
    differ in `worker`. Waiting for what else an event needs is link.pick's and link.wait's.

    So a role notes every pull, also one that found nothing new. strict: events must end with the
    recorded fields too; False when a rule is changed on purpose. Differences raise Diverged. The
    journal of a run that was killed is repeated as far as its last records reach.
    """

    follows = True

    def __init__(self, journal: Journal, *, strict: bool = True) -> None:
        self._journal, self._strict = journal, strict

    def begin(self, names: Sequence[str]) -> None:
        if set(self._journal.roles) != set(names):
            raise ValueError(
                f"the journal has the roles {', '.join(self._journal.roles)}, this run has "
                f"{', '.join(names)}: replay with the configuration of the recorded run"
            )
        self._events = {name: self._journal.events(name) for name in names}
        self._done = dict.fromkeys(names, 0)
        self._cut = False
        self._rank = RankOrder()
        self._rank.begin(names)
        boards = {_board(event) for events in self._events.values() for event in events}
        self._reads, self._writes = (
            {(name, board): _oldest(events, board, number) for name, events in self._events.items()
             for board in boards}
            for number in (_seen, _written)
        )  # fmt: skip
        self._newest = {board: self._first_version(board) for board in boards}

    def choose(self, waiting: Mapping[str, Intent], ready: list[str]) -> str:
        return self._rank.choose(waiting, ready)

    def expected(self, name: str) -> Event | None:
        if self._cut:
            return None
        events, done = self._events[name], self._done[name]
        return events[done] if done < len(events) else None

    def allows(self, name: str) -> bool:
        event = self.expected(name)
        if event is None:
            return True
        board = _board(event)
        if event.kind == "pull":
            return self._newest[board] == _seen(event)
        written = _written(event)
        return written == NEVER or all(
            oldest[(other, board)][self._done[other]] >= written
            for oldest in (self._reads, self._writes)
            for other in self._events
            if other != name
        )

    def opened(self, name: str) -> None:
        self._done[name] += 1

    def closed(self, name: str, event: Event) -> None:
        recorded = event.recorded
        assert recorded is not None
        if _written(recorded) != NEVER:
            self._newest[_board(recorded)] = recorded.written
        if self._strict and not event.broken:
            for field in FIELDS:
                if getattr(event, field) != getattr(recorded, field):
                    raise Diverged(f"{name} did {event}, the journal has {recorded}")

    def over(self) -> bool:
        return self._cut or all(
            done == len(self._events[name]) for name, done in self._done.items()
        )

    def stuck(self) -> bool:
        self._cut = not self._journal.complete()
        return self._cut

    def _first_version(self, board: int) -> int:
        """0, or what a resumed run began with: something was read before it was ever written."""
        read = min(oldest[0] for (_, b), oldest in self._reads.items() if b == board)
        written = min(oldest[0] for (_, b), oldest in self._writes.items() if b == board)
        return int(read) if read < written else 0


def _board(event: Event) -> int:
    return event.worker if event.kind in ("pull", "publish") else -1


def _seen(event: Event) -> int:
    if event.kind != "pull":
        return NEVER
    return event.read if event.base < 0 else event.base


def _written(event: Event) -> int:
    versioned = event.kind in ("publish", "merge", "apply") and event.written >= 0
    return event.written if versioned else NEVER


def _oldest(events: list[Event], board: int, number: Callable[[Event], int]) -> list[int]:
    """[len(events) + 1]: the smallest number on that board among the events from each one on."""
    numbers = [number(event) if _board(event) == board else NEVER for event in events] + [NEVER]
    smallest: list[int] = np.minimum.accumulate(np.array(numbers)[::-1])[::-1].tolist()
    return smallest
