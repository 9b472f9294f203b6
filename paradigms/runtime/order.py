"""In which order the roles of an inline crew go, and what a re-execution adds to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paradigms.runtime.event import Event


class Order:
    """Round robin in the order in which the roles were added.

    An order that knows what each role does next (see recorded.py) overrides the other methods, too:
    here they let everything happen. Of all roles one runs at a time, so no method needs a lock.
    """

    def begin(self, names: Sequence[str]) -> None:
        """The crew starts with these roles, in rank order. Raises ValueError if it cannot order
        them."""
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._last = -1

    def choose(self, waiting: Mapping[str, str], ready: list[str], idle: int) -> str:
        """The role that goes next, one of `ready` (never empty, in rank order).

        waiting: what each role that has not returned waits for, "" if for the baton alone.
        idle: scheduling points since the last event.
        """
        later = [name for name in ready if self._rank[name] > self._last]
        name = (later or ready)[0]
        self._last = self._rank[name]
        return name

    def expected(self, name: str) -> Event | None:
        """The event that a role has to begin next; None if it is free."""
        return None

    def pick(self, name: str, kind: str, first: int | None) -> int | None:
        """The rank that a role has to serve next by an event of `kind`, None for none. `first`:
        the rank that it would choose itself."""
        return first

    def check(self, name: str, event: Event) -> None:
        """A role is about to begin this event. Raises Diverged if it may not, Stopped if the role
        has to end before it."""

    def allows(self, name: str) -> bool:
        """Whether the event that was checked may begin now."""
        return True

    def opened(self, name: str) -> None:
        """It begins. Raises Stopped if the role has to end before it."""

    def closed(self, name: str, event: Event) -> None:
        """It has ended. Raises Diverged if it was not what it had to be."""

    def stopping(self, asked: bool) -> bool:
        """Whether roles have to end; `asked`: the crew has been asked to stop."""
        return asked

    def stuck(self) -> bool:
        """No role can go on. True if that is the end, False if it is a deadlock."""
        return False
