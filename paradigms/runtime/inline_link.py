"""The link of a role in an inline crew, and the thread that the role lives on."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from paradigms.errors import Stopped
from paradigms.runtime import machine
from paradigms.runtime.baton import Baton
from paradigms.runtime.event import Event
from paradigms.runtime.journal import JournalWriter
from paradigms.runtime.link import Link, Member, Report

POINTS_A_TIMEOUT = 64  # scheduling points after which a wait with a timeout ends, whatever it is


class InlineLink(Link):
    """The role runs while it holds the baton, which it passes on at every scheduling point: go,
    wait, give_way, and an event that may not begin yet."""

    def __init__(
        self, member: Member, baton: Baton, writer: JournalWriter | None, first: int = 0
    ) -> None:
        """first: the number of its first event."""
        super().__init__(member, writer)
        self.member, self._baton = member, baton
        self.gate = threading.Lock()
        self.gate.acquire()
        self.thread = threading.Thread(target=self._live, name=member.name, daemon=True)
        self.what = ""
        self.messages: deque[Any] = deque()
        self.ended = False
        self.error: BaseException | None = None
        self.trace = ""
        self.total = 0.0  # seconds in run()
        self.events = first
        self._ready: Callable[[], object] | None = None
        self._timeout: float | None = None
        self._timed_out = False
        self._waited = 0  # scheduling points

    @property
    def stopping(self) -> bool:
        return self._baton.order.stopping(self._baton.stopped)

    def go(self, until: Callable[[], object] = lambda: False) -> bool:
        self._pass()
        while self.messages:
            self._role.tell(self.messages.popleft())
        return not self.stopping and not (until() and not self._repeats())

    def wait(
        self,
        what: str,
        ready: Callable[[], object],
        timeout: float | None = None,
        *,
        rate_limit: bool = False,
        brief: bool = False,
    ) -> bool:
        if (rate_limit and self._repeats()) or ready():
            return True
        begun = time.monotonic()
        done = self._timed_out = False
        while not (done or self.stopping or self._timed_out):
            self._pass(what, ready, timeout)
            done = bool(ready())
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - begun
        return done

    def busy(self, seconds: float) -> None:
        self._baton.busy_until = time.monotonic() + seconds

    def give_way(self) -> None:
        self._pass()

    def may(self, kind: str, ready: Callable[[], object]) -> bool:
        own = self.rank if super().may(kind, ready) else None
        return self._baton.order.pick(self.name, kind, own) is not None

    def pick(self, kind: str, ready: Callable[[], Sequence[int]]) -> int | None:
        rank = self._baton.order.pick(self.name, kind, super().pick(kind, ready))
        if rank is None:
            return None
        return rank if self.wait(f"{kind} of worker {rank}", lambda: rank in ready()) else None

    def report(self, data: dict[str, Any]) -> None:
        self._baton.reports.append(Report(self.name, "metrics", data))

    def finish(self) -> None:
        self._baton.stopped = True

    def opened(self, event: Event) -> None:
        order = self._baton.order
        order.check(self.name, event)
        while not order.allows(self.name):
            self._pass(repr(order.expected(self.name)), lambda: order.allows(self.name))
        order.opened(self.name)
        event.seq = self.events
        self.events += 1

    def closed(self, event: Event) -> None:
        self._baton.idle = 0
        if self._writer is not None:
            self._writer.write(event)
        self._baton.order.closed(self.name, event)

    def can_go(self) -> bool:
        """Whether the baton would get it further; an error in `ready` shows in its own thread."""
        self._waited += 1
        if self._ready is None or self.stopping or self._timed_out:
            return True
        if self._waited > POINTS_A_TIMEOUT and self.expire():
            return True
        try:
            return bool(self._ready())
        except Exception:
            return True

    def expire(self) -> bool:
        """Marks a wait with a timeout as expired, which the role sees when it goes next."""
        self._timed_out = self._timeout is not None
        return self._timed_out

    def _repeats(self) -> bool:
        """Whether a journal says what it has to do next."""
        return self._baton.order.expected(self.name) is not None

    def _pass(
        self,
        what: str = "",
        ready: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.what, self._ready, self._timeout = what, ready, timeout
        self._waited = 0
        self._baton.pass_on(self)

    def _live(self) -> None:
        """The thread: builds the role, gives the baton back, runs the role when it comes again."""
        self.gate.acquire()
        begun = time.monotonic()
        try:
            if not self._baton.closing:
                machine.prepare()
                self._role = self.member.build()
                self._baton.give(None)
                self.gate.acquire()
                begun = time.monotonic()
                if not self._baton.closing:
                    self._role.run(self)
        except Stopped:
            pass
        except BaseException as error:
            self.error, self.trace = error, traceback.format_exc()
        self.total = time.monotonic() - begun
        if self._writer is not None:
            if self.error is None:
                self._writer.end(self.events)
            self._writer.close()
        self.ended = True
        if not self._baton.closing:
            self._baton.give(None)
