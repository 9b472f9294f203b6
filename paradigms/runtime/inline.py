"""All roles on threads of one process that take turns: one runs, so timing changes no bit."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from paradigms.runtime.event import Ink
from paradigms.runtime.link import Deadlock, Failed, Member, Report, Stopped, describe
from paradigms.runtime.order import Diverged, Order, RankOrder
from paradigms.runtime.seat import Seat

TURNS_A_TICK = 16
PATIENCE = 64  # turns without an event before roles with nothing left to repeat get one
LOST = 100_000  # turns without an event after which a replay has lost its way


class Threads:
    """The engine behind Crew("inline"): hands one baton round."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        order: Order | None,
        restarts: int,
        heartbeat: float,
        journal: str | None,
        seconds_to_stop: float,
    ) -> None:
        self._members = members
        self.order = order or RankOrder()
        self._restarts, self._heartbeat = restarts, min(heartbeat, threading.TIMEOUT_MAX)
        self._journal, self._seconds_to_stop = journal, seconds_to_stop
        self._seats: dict[str, Seat] = {}
        self._gate = threading.Lock()
        self._gate.acquire()
        self._running: Seat | None = None
        self._error: BaseException | None = None
        self._turns = self.turns_since_event = 0
        self.backlog: deque[Report] = deque()
        self.states: dict[str, dict[str, Any]] = {}
        self.stopped = self.closing = False
        self.busy_until = 0.0
        self.restarts = 0

    def run(self, tick: float) -> Iterator[Report]:
        self.order.begin([member.name for member in self._members])
        for member in self._members:
            self._sit(member)
        while self._seats:
            self._advance()
            while self.backlog:
                yield self.backlog.popleft()
            yield Report("", "tick")

    def stop(self) -> None:
        self.stopped = True

    def tell(self, name: str, message: Any) -> None:
        if name in self._seats:
            self._seats[name].messages.append(message)

    def save(self, seconds: float) -> dict[str, dict[str, Any]]:
        self.states = {}
        for seat in self._seats.values():
            seat.save_asked = True
        deadline = time.monotonic() + seconds
        while late := [name for name, seat in self._seats.items() if seat.save_asked]:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no state from {', '.join(late)} within {seconds:g} s: a role saves at its "
                    "next link.go(); give crew.save(seconds) longer"
                )
            self._advance()
        for member in self._members:
            member.state = self.states.get(member.name, member.state)
        return self.states

    def close(self) -> None:
        """Unwinds every role where it stands, one after another."""
        self.closing = True
        deadline = time.monotonic() + self._seconds_to_stop
        seats = sorted(self._seats.values(), key=lambda seat: seat is not self._running)
        for seat in seats:
            if seat is not self._running:
                with contextlib.suppress(RuntimeError):  # it was just being woken
                    seat.gate.release()
            seat.thread.join(max(0.0, deadline - time.monotonic()))
        self._seats.clear()

    def give(self, seat: Seat | None) -> None:
        """Hands the baton to a role, or to the parent (None)."""
        self._running = seat
        (self._gate if seat is None else seat.gate).release()

    def pass_on(self, seat: Seat) -> None:
        """A role lets others go first; returns when it is its turn again."""
        if self.closing:
            raise Stopped
        self._turns += 1
        self.turns_since_event += 1
        following: Seat | None = None
        if self._turns % TURNS_A_TICK:
            try:
                following = self._next()
            except BaseException as error:
                self._error = error
        if following is not seat:
            self.give(following)
            seat.gate.acquire()
            if self.closing:
                raise Stopped

    def _advance(self) -> None:
        """The parent's turn: gives the baton away and takes it back."""
        self.give(self._next())
        self._take()

    def _take(self) -> None:
        turns = self._turns
        while not self._gate.acquire(timeout=self._heartbeat):
            seat = self._running
            if seat is not None and self._turns == turns and time.monotonic() > self.busy_until:
                frame = sys._current_frames().get(seat.thread.ident or 0)
                trace = "".join(traceback.format_stack(frame))
                cause = f"has not reached link.go() for {self._heartbeat:g} s, the crew's heartbeat"
                raise Failed(seat.name, f"{cause} (announce long work by link.busy)", trace)
            turns = self._turns
        if self._error is not None:
            raise self._error
        for seat in list(self._seats.values()):
            if seat.ended:
                self._ended(seat)

    def _ended(self, seat: Seat) -> None:
        seat.thread.join()
        del self._seats[seat.name]
        error = seat.error
        data: dict[str, Any] = {"seconds": seat.seconds, "total": seat.total}
        if error is None:
            left = self.order.expected(seat.name)
            if left is not None and not self.closing:
                raise Diverged(f"{seat.name} has returned, the journal still has {left}")
            self.backlog.append(Report(seat.name, "finished", data))
        elif isinstance(error, Diverged | Deadlock):
            raise error
        elif not seat.member.restartable or self.restarts == self._restarts:
            raise Failed(seat.name, f"raised {describe(error)}", seat.trace) from error
        elif self.stopped:
            data |= {"cause": f"raised {describe(error)}", "trace": seat.trace}
            self.backlog.append(Report(seat.name, "finished", data))
        else:
            self.restarts += 1
            seat.member.restarts += 1
            data = {"cause": f"raised {describe(error)}", "trace": seat.trace}
            self.backlog.append(Report(seat.name, "restarted", data))
            self._sit(seat.member, seat)

    def _sit(self, member: Member, before: Seat | None = None) -> None:
        ink = None if self._journal is None else Ink(self._journal, member.index, member.rank)
        seat = self._seats[member.name] = Seat(member, self, ink)
        if before is not None:
            seat.follow(before)
        seat.thread.start()
        self.give(seat)
        self._take()

    def _next(self) -> Seat:
        """The role that goes next: the order chooses among those that a turn gets further."""
        seats = list(self._seats.values())
        ready = [seat for seat in seats if not seat.ended and seat.can_go()]
        if self.order.follows:
            if self.turns_since_event > LOST:
                raise Diverged(f"nothing recorded has happened for {LOST} turns: {self._intents()}")
            active = [seat for seat in ready if self.order.expected(seat.name) is not None]
            if self.turns_since_event < PATIENCE:
                ready = active or ready
        if not ready:
            ready = [seat for seat in seats if seat.expire()]
            if not ready and self.order.stuck():
                ready = seats
            if not ready:
                raise Deadlock(f"every role waits: {self._intents()}")
        waiting = {seat.name: seat.intent for seat in seats}
        return self._seats[self.order.choose(waiting, [seat.name for seat in ready])]

    def _intents(self) -> str:
        wants = {name: seat.intent.what or "its turn" for name, seat in self._seats.items()}
        return ", ".join(f"{name} waits for {what}" for name, what in wants.items())
