"""What a role sees of its crew, and the words and errors they share; see crew.py for the loop."""

from __future__ import annotations

import abc
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from paradigms.runtime.event import Event, Ink


@dataclass(frozen=True)
class Report:
    """What a crew tells its owner. By kind, data is:

    tick: {}, and name is "". metrics: what link.report was given. restarted: {"cause", "trace"}.
    finished: {"seconds": {what: seconds waited}, "total": seconds in run()}, and cause and trace of
    a restartable role that failed after the crew was asked to stop.
    """

    name: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class Failed(RuntimeError):
    """A role raised, died or hung: `name`, `cause` (a phrase) and `trace` (text, may be empty)."""

    def __init__(self, name: str, cause: str, trace: str = "") -> None:
        super().__init__(f"role {name} {cause}" + (f"\n\n{trace}" if trace else ""))
        self.name, self.cause, self.trace = name, cause, trace


class Deadlock(RuntimeError):
    """Every role waits for another one; the message says which waits for what."""


class Stopped(BaseException):
    """Unwinds a role that has to end where it stands; crews catch it, roles let it pass."""


class Role:
    """One process's share of the work. `run` is an ordinary loop; the rest is optional.

    def run(self, link):
        while link.go():
            ...one piece of work: a fragment, an update, a task...
    """

    def run(self, link: Link) -> None:
        raise NotImplementedError(f"{type(self).__name__} needs run(link)")

    def save(self) -> dict[str, Any]:
        """The role's own state, picklable, between two pieces of work."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Takes up what `save` returned; called before `run`."""

    def tell(self, message: Any) -> None:
        """A word from the parent, between two pieces of work."""


class Link(abc.ABC):
    """A role's only way to the others. Where it may block it says so, and only there a role waits.

    `seconds` sums the time waited by what was waited for; `restarts` counts earlier lives.
    """

    def __init__(self, name: str, rank: int, restarts: int, ink: Ink | None) -> None:
        self.name, self.rank, self.restarts = name, rank, restarts
        self.seconds: dict[str, float] = {}
        self._ink = ink

    @property
    @abc.abstractmethod
    def stopping(self) -> bool:
        """Whether the crew has been asked to stop."""

    @abc.abstractmethod
    def go(self) -> bool:
        """Once a piece of work: shows life, serves save and messages; False: return from run."""

    @abc.abstractmethod
    def wait(self, what: str, ready: Callable[[], object], timeout: float | None = None) -> bool:
        """Blocks until `ready()` is true (then True, also when stopping); False if asked to stop
        first, or after `timeout` seconds (inline: 64 turns, or when nobody else can go on)."""

    def may(self, what: str, ready: Callable[[], object]) -> bool:
        """`wait` for a rule (who may go ahead) rather than for a need: a replay, whose records tell
        who went ahead, does not wait."""
        return self.wait(what, ready)

    def done(self, enough: bool) -> bool:
        """Whether to return from `run`: `enough`, or in a replay when the records are used up too.

        while link.go() and not link.done(pace.spent(rank)): ...
        """
        return enough

    def busy(self, seconds: float) -> None:  # noqa: B027
        """Announces work that long, until the next `go` or `wait`: no heartbeat is expected."""

    def turn(self) -> None:  # noqa: B027
        """Lets others go first where roles take turns (inline); nothing in a process of its own."""

    def event(self, kind: str, **fields: int) -> Event:
        """A scheduling event for the journal, to be used in a `with`; see Event."""
        return Event(self, kind, **fields)

    def pick(self, kind: str, ready: Callable[[], Sequence[int]]) -> int | None:
        """The rank to serve next by an event of `kind`, or None: the first of `ready()`.

        In a replay: the recorded one, waiting for it; None if the record has another kind next.
        """
        ranks = ready()
        return int(ranks[0]) if len(ranks) else None

    @abc.abstractmethod
    def report(self, data: dict[str, Any]) -> None:
        """Numbers for the log, about one a second; dropped if the parent does not listen."""

    @abc.abstractmethod
    def finish(self) -> None:
        """The work is done: asks the whole crew to stop."""

    @abc.abstractmethod
    def opened(self, event: Event) -> None:
        """An event begins (called by Event)."""

    @abc.abstractmethod
    def closed(self, event: Event) -> None:
        """An event ended (called by Event)."""


@dataclass
class Member:
    """What `Crew.add` was told about a role, and the newest state known of it."""

    name: str
    index: int
    make: Callable[..., Any]
    args: tuple[Any, ...]
    rank: int
    restartable: bool
    state: dict[str, Any] | None = None
    restarts: int = 0

    def build(self) -> Any:
        role = self.make(*self.args)
        if self.state is not None:
            role.load(self.state)
        return role


def describe(error: BaseException) -> str:
    """The last line of a traceback."""
    return "".join(traceback.format_exception_only(error)).strip()
