"""A role's place in an inline crew: the link it holds and the thread it lives on."""

from __future__ import annotations

import copy
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from paradigms.runtime import machine
from paradigms.runtime.event import Event, Ink
from paradigms.runtime.link import Link, Member, Report, Stopped
from paradigms.runtime.order import Diverged, Intent

if TYPE_CHECKING:
    from paradigms.runtime.inline import Threads


TURNS_A_TIMEOUT = 64  # a wait with a timeout ends after so many turns of others, or when all wait


class Seat(Link):
    """The link of a role on a thread."""

    def __init__(self, member: Member, crew: Threads, ink: Ink | None) -> None:
        super().__init__(member.name, member.rank, member.restarts, ink)
        self.member, self._crew = member, crew
        self.gate = threading.Lock()
        self.gate.acquire()
        self.thread = threading.Thread(target=self._live, name=member.name, daemon=True)
        self.intent = Intent("go")
        self.ready: Callable[[], object] | None = None
        self.timeout: float | None = None
        self.waited = 0  # turns
        self.messages: deque[Any] = deque()
        self.save_asked = self.timed_out = self.ended = False
        self.error: BaseException | None = None
        self.trace = ""
        self._sequence = 0

    @property
    def stopping(self) -> bool:
        crew = self._crew
        return crew.order.over() if crew.order.follows else crew.stopped

    def go(self) -> bool:
        self._pass(Intent("go"))
        while self.messages:
            self._role.tell(self.messages.popleft())
        if self.save_asked:
            self.save_asked = False
            self._crew.states[self.name] = copy.deepcopy(self._role.save())
        return not self.stopping

    def wait(self, what: str, ready: Callable[[], object], timeout: float | None = None) -> bool:
        if ready():
            return True
        begun = time.monotonic()
        done = self.timed_out = False
        while not (done or self.stopping or self.timed_out):
            self._pass(Intent("wait", what), ready, timeout)
            done = bool(ready())
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - begun
        return done

    def busy(self, seconds: float) -> None:
        self._crew.busy_until = time.monotonic() + seconds

    def turn(self) -> None:
        self._pass(Intent("turn"))

    def pick(self, kind: str, ready: Callable[[], Sequence[int]]) -> int | None:
        if not self._crew.order.follows:
            return super().pick(kind, ready)
        expected = self._crew.order.expected(self.name)
        if expected is None or expected.kind != kind:
            return None
        rank = expected.worker
        return rank if self.wait(f"{kind} of worker {rank}", lambda: rank in ready()) else None

    def may(self, what: str, ready: Callable[[], object]) -> bool:
        return self._repeats() or self.wait(what, ready)

    def done(self, enough: bool) -> bool:
        return enough and not self._repeats()

    def report(self, data: dict[str, Any]) -> None:
        self._crew.backlog.append(Report(self.name, "metrics", data))

    def finish(self) -> None:
        self._crew.stop()

    def opened(self, event: Event) -> None:
        order = self._crew.order
        if order.follows:
            event.recorded = expected = order.expected(self.name)
            if expected is None:
                raise Stopped
            if expected.kind != event.kind or event.worker not in (-1, expected.worker):
                raise Diverged(f"{self.name} begins {event}, the journal has {expected}")
            while not order.allows(self.name):
                self._pass(Intent("event", repr(expected)), lambda: order.allows(self.name))
            if self.stopping:
                raise Stopped
            order.opened(self.name)
        event.seq = self._sequence
        self._sequence += 1

    def closed(self, event: Event) -> None:
        self._crew.turns_since_event = 0
        if self._ink is not None:
            self._ink.write(event)
        if self._crew.order.follows:
            self._crew.order.closed(self.name, event)

    def follow(self, before: Seat) -> None:
        """Takes over from a role that failed: the count of events, messages and questions."""
        self._sequence, self.messages = before._sequence, before.messages
        self.save_asked = before.save_asked

    def expire(self) -> bool:
        """Ends its wait if it has a timeout; its turn will find that out."""
        self.timed_out = self.timeout is not None
        return self.timed_out

    def can_go(self) -> bool:
        """Whether a turn would get it further; an error in `ready` will show in its own thread."""
        self.waited += 1
        if self.ready is None or self.stopping or self.timed_out:
            return True
        if self.waited > TURNS_A_TIMEOUT and self.expire():
            return True
        try:
            return bool(self.ready())
        except Exception:
            return True

    def _repeats(self) -> bool:
        return self._crew.order.expected(self.name) is not None

    def _pass(
        self,
        intent: Intent,
        ready: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.intent, self.ready, self.timeout = intent, ready, timeout
        self.waited = 0
        self._crew.pass_on(self)

    def _live(self) -> None:
        """The thread: builds the role, gives way, runs it when its turn comes."""
        self.gate.acquire()
        begun = time.monotonic()
        try:
            if not self._crew.closing:
                machine.prepare()
                self._role = self.member.build()
                self._crew.give(None)
                self.gate.acquire()
                begun = time.monotonic()
                if not self._crew.closing:
                    self._role.run(self)
        except Stopped:
            pass
        except BaseException as error:
            self.error, self.trace = error, traceback.format_exc()
        self.total = time.monotonic() - begun
        if self._ink is not None:
            if self.error is None:
                self._ink.end(self._sequence)
            self._ink.close()
        self.ended = True
        if not self._crew.closing:
            self._crew.give(None)
