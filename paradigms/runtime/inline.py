"""The engine behind Crew("inline"): every role on a thread of this process, one runs at a time, so
that timing changes no bit."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from paradigms.errors import Deadlock, Diverged, Failed
from paradigms.runtime.baton import Baton
from paradigms.runtime.inline_link import InlineLink
from paradigms.runtime.journal import JournalWriter
from paradigms.runtime.link import Member, Report, describe
from paradigms.runtime.order import Order
from paradigms.runtime.restarts import Restarts


class InlineEngine:
    """The parent's side: starts, hears, restarts and ends the roles. The baton goes round; what
    the parent does, it does while it holds it."""

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
        self._restarts, self._heartbeat = Restarts(restarts), min(heartbeat, threading.TIMEOUT_MAX)
        self._journal, self._seconds_to_stop = journal, seconds_to_stop
        self._baton = Baton(order or Order())
        self._links: dict[str, InlineLink] = {}

    @property
    def restarts(self) -> int:
        return self._restarts.made

    def run(self, tick: float) -> Iterator[Report]:
        baton = self._baton
        baton.order.begin([member.name for member in self._members])
        for member in self._members:
            self._start(member)
        while self._links:
            baton.give(baton.next())
            self._take()
            while baton.reports:
                yield baton.reports.popleft()
            yield Report("", "tick")

    def stop(self) -> None:
        self._baton.stopped = True

    def tell(self, name: str, message: Any) -> None:
        if name in self._links:
            self._links[name].messages.append(message)

    def close(self) -> None:
        """Unwinds every role where it stands, one after another."""
        baton = self._baton
        baton.closing = True
        deadline = time.monotonic() + self._seconds_to_stop
        for link in sorted(self._links.values(), key=lambda link: link is not baton.holder):
            if link is not baton.holder:
                with contextlib.suppress(RuntimeError):  # the baton was just given to it
                    link.gate.release()
            link.thread.join(max(0.0, deadline - time.monotonic()))
        self._links.clear()
        baton.holders.clear()

    def _take(self) -> None:
        """The parent waits until the baton comes back, and looks who has ended."""
        baton, points = self._baton, self._baton.points
        while not baton.take(self._heartbeat):
            link = self._links.get(baton.holder.name) if baton.holder else None
            if link is not None and baton.points == points and time.monotonic() > baton.busy_until:
                frame = sys._current_frames().get(link.thread.ident or 0)
                trace = "".join(traceback.format_stack(frame))
                cause = f"has not reached link.go() for {self._heartbeat:g} s, the crew's heartbeat"
                raise Failed(link.name, f"{cause} (announce long work by link.busy)", trace)
            points = baton.points
        if baton.error is not None:
            raise baton.error
        for link in list(self._links.values()):
            if link.ended:
                self._ended(link)

    def _ended(self, link: InlineLink) -> None:
        link.thread.join()
        error = link.error
        data: dict[str, Any] = {"seconds": link.seconds, "total": link.total}
        if error is None:
            left = self._baton.order.expected(link.name)
            if left is not None:
                raise Diverged(f"{link.name} has returned, the journal still has {left}")
            return self._finished(link, data)
        if isinstance(error, Diverged | Deadlock):
            raise error
        cause, trace = f"raised {describe(error)}", link.trace
        what = {"cause": cause, "trace": trace}
        if not link.member.restartable:
            raise _failed(link, cause, error) from error
        if self._baton.stopped:
            return self._finished(link, data | what)
        if not getattr(error, "restart_helps", True):
            raise _failed(link, f"{cause} (a restart would not help)", error) from error
        if not self._restarts.left():
            cause += f" ({self._restarts.limit} restarts are used up)"
            raise _failed(link, cause, error) from error
        self._restarts.make(link.name, link.total)
        self._baton.reports.append(Report(link.name, "restarted", what))
        self._start(replace(link.member, life=link.member.life + 1), first=link.events)

    def _finished(self, link: InlineLink, data: dict[str, Any]) -> None:
        del self._links[link.name], self._baton.holders[link.name]
        self._baton.reports.append(Report(link.name, "finished", data))

    def _start(self, member: Member, first: int = 0) -> None:
        """Builds a role on its thread, up to its `run`."""
        writer = None
        if self._journal is not None:
            writer = JournalWriter(
                self._journal,
                member.index,
                member.rank,
                lambda text: self._baton.reports.append(
                    Report(member.name, "note", {"words": text})
                ),
            )
        link = InlineLink(member, self._baton, writer, first)
        self._links[member.name] = self._baton.holders[member.name] = link
        link.thread.start()
        self._baton.give(link)
        self._take()


def _failed(link: InlineLink, cause: str, error: BaseException) -> Failed:
    """The end of the crew; whether it is worth starting anew, where it is part of a role itself, is
    what the role's error says."""
    failed = Failed(link.name, cause, link.trace)
    failed.restart_helps = getattr(error, "restart_helps", True)
    return failed
