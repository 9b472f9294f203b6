"""What a role sees of its crew, and the words both share; see crew.py for the parent's loop."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from paradigms.runtime.event import Event
from paradigms.runtime.journal import JournalWriter


@dataclass(frozen=True)
class Report:
    """What a crew tells its owner. By kind, data is:

    tick: {}, and name is "". metrics: what link.report was given. note: {"words"}, for the user.
    restarted: {"cause", "trace"}.
    finished: {"seconds": {what: seconds waited}, "total": seconds in run()}, and cause and trace of
    a restartable role that failed after the crew was asked to stop.
    """

    name: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class Role:
    """One process's share of the work.

        def run(self, link):
            while link.go():
                ...one piece of work: a fragment, an update, a task...

    It is constructed where it runs. All methods are called on one thread, that of `run`. What they
    raise ends the role: the crew replaces it if it is restartable, else raises Failed. A replaced
    role is constructed anew from the same arguments, so what has to survive it lies in shared
    memory.
    """

    def run(self, link: Link) -> None:
        """The work; returns when link.go() or link.wait() is False, or when it is done."""
        raise NotImplementedError(f"{type(self).__name__} needs run(link)")

    def tell(self, message: Any) -> None:
        """Takes a message of the parent (see Crew.tell); called inside link.go()."""


class Link(abc.ABC):
    """A role's only way to the others; its methods are called by the role, on the thread of `run`.

    name, rank: as Crew.add was given them. life: how many roles this one replaces, one after
    another: 0 for the first. seconds: the seconds spent in `wait`, by `what`.
    A role blocks in `wait` and, when a journal is re-executed, in `pick` and on entering an event;
    in an inline crew other roles also run during `go` and `give_way`. Those five may raise
    Stopped, which the role lets pass (a `finally` is the place to tidy up).
    """

    def __init__(self, member: Member, writer: JournalWriter | None) -> None:
        self.name, self.rank, self.life = member.name, member.rank, member.life
        self.seconds: dict[str, float] = {}
        self._writer = writer

    @property
    @abc.abstractmethod
    def stopping(self) -> bool:
        """Whether the crew has been asked to stop. Does not block."""

    @abc.abstractmethod
    def go(self, until: Callable[[], object] = lambda: False) -> bool:
        """Call it once a piece of work. Shows life, then delivers messages to Role.tell.

        Does not block in a process. False: return from `run`, because the crew has been asked to
        stop or `until()` is true; `until` is asked last. When a journal is re-executed, `until`
        counts only once all recorded events of the role have happened.
        """

    @abc.abstractmethod
    def wait(
        self,
        what: str,
        ready: Callable[[], object],
        timeout: float | None = None,
        *,
        rate_limit: bool = False,
        brief: bool = False,
    ) -> bool:
        """Blocks until `ready()` is true, and returns True.

        False if the crew is asked to stop first, or after `timeout` seconds (inline: after 64
        scheduling points, or as soon as no role can go on). A true `ready()` wins over both.
        `ready` is called often, inline from other threads too (one at a time): it only looks.
        What it raises, `wait` raises. what: a few words for Deadlock, and the key of `seconds`.
        rate_limit: the wait is for a rule about who may go ahead, not for something the role
        needs. When a journal is re-executed it returns True at once, because the journal already
        fixes the order. brief: a wait within an update, for processes that are as far: a process
        looks again and again for a millisecond before it sleeps between two looks.
        """

    def busy(self, seconds: float) -> None:  # noqa: B027
        """Announces work of at most `seconds` without `go` or `wait`, in which the crew expects
        no heartbeat; holds until the next of either. Does not block."""

    def give_way(self) -> None:  # noqa: B027
        """A scheduling point: an inline crew may let other roles go first. Nothing in a process."""

    def event(self, kind: str, **fields: int) -> Event:
        """A scheduling event for the journal, to be used in a `with`; see Event."""
        return Event(self, kind, **fields)

    def may(self, kind: str, ready: Callable[[], object]) -> bool:
        """Whether the role goes on to an event of this kind by a rule about who may go ahead:
        `ready()`; or, when a journal is re-executed, whether it did so then. Does not block."""
        return bool(ready())

    def pick(self, kind: str, ready: Callable[[], Sequence[int]]) -> int | None:
        """The rank to serve next by an event of `kind`: the first of `ready()`, None if empty.

        Does not block; but when a journal is re-executed it is the recorded rank, waited for, and
        None if the role's next recorded event is of another kind, or if asked to stop first.
        """
        ranks = ready()
        return int(ranks[0]) if len(ranks) else None

    @abc.abstractmethod
    def report(self, data: dict[str, Any]) -> None:
        """Sends numbers to the owner, as a "metrics" report; about one a second is meant.

        Does not block: in a process it is dropped while the pipe to the parent is full.
        """

    @abc.abstractmethod
    def finish(self) -> None:
        """The work is done: asks the whole crew to stop. Does not block; then return from `run`."""

    @abc.abstractmethod
    def opened(self, event: Event) -> None:
        """An event begins. Called by Event alone."""

    @abc.abstractmethod
    def closed(self, event: Event) -> None:
        """An event has ended. Called by Event alone."""


@dataclass(frozen=True)
class Member:
    """What `Crew.add` was given for a role. index: its place in the order added. life: see Link."""

    name: str
    index: int
    make: Callable[..., Any]
    args: tuple[Any, ...]
    rank: int
    restartable: bool
    life: int = 0

    def build(self) -> Any:
        return self.make(*self.args)


def describe(error: BaseException) -> str:
    """An error as the last line of a traceback has it, without the module of its class."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
