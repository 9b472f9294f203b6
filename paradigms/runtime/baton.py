"""The baton of an inline crew: of all roles and the parent, the one that holds it runs."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from paradigms.errors import Deadlock, Stopped
from paradigms.runtime.link import Report
from paradigms.runtime.order import Order

POINTS_A_TICK = 16


class Holder(Protocol):
    """A role on a thread, as the baton sees it."""

    name: str
    gate: threading.Lock  # acquired by its thread to wait for the baton
    what: str  # what it waits for, "" if for the baton alone

    def can_go(self) -> bool:
        """Whether the baton would get it further."""

    def expire(self) -> bool:
        """Ends its wait, if that has a timeout, and says whether."""


class Baton:
    """Shared by the engine (inline.py) and the links (inline_link.py), which do not know each
    other. A scheduling point is a call of `pass_on`: every POINTS_A_TICK-th goes to the parent.

    Every attribute is written by who holds the baton, hence without a lock.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.holders: dict[str, Holder] = {}  # the roles that have not returned, in rank order
        self.holder: Holder | None = None  # None: the parent
        self.reports: deque[Report] = deque()
        self.stopped = False  # the crew has been asked to stop
        self.closing = False  # every role is unwound where it stands
        self.busy_until = 0.0  # time.monotonic() until which the holder needs no heartbeat
        self.points = self.idle = 0  # scheduling points, and those since the last event
        self.error: BaseException | None = None  # of the order; the parent raises it
        self._parent = threading.Lock()
        self._parent.acquire()

    def give(self, holder: Holder | None) -> None:
        """Hands the baton to a role, or to the parent (None). Does not block."""
        self.holder = holder
        (self._parent if holder is None else holder.gate).release()

    def take(self, timeout: float) -> bool:
        """The parent waits for the baton; False if it does not come within `timeout` seconds."""
        return self._parent.acquire(timeout=timeout)

    def pass_on(self, holder: Holder) -> None:
        """A scheduling point of the role that holds the baton: blocks until it has it again.
        Raises Stopped when the crew closes."""
        if self.closing:
            raise Stopped
        self.points += 1
        self.idle += 1
        following: Holder | None = None
        if self.points % POINTS_A_TICK:
            try:
                following = self.next()
            except BaseException as error:
                self.error = error
        if following is not holder:
            self.give(following)
            holder.gate.acquire()
            if self.closing:
                raise Stopped

    def next(self) -> Holder:
        """Who goes next: the order chooses among the roles that the baton gets further.

        Raises Deadlock if there is none, and what the order raises.
        """
        holders = list(self.holders.values())
        ready = [holder for holder in holders if holder.can_go()]
        if not ready:
            ready = [holder for holder in holders if holder.expire()]
        if not ready and self.order.stuck():
            ready = holders
        if not ready:
            wants = (f"{holder.name} waits for {holder.what or 'the baton'}" for holder in holders)
            raise Deadlock(f"every role waits: {', '.join(wants)}")
        waiting = {holder.name: holder.what for holder in holders}
        return self.holders[self.order.choose(waiting, [role.name for role in ready], self.idle)]
