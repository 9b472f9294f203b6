"""One scheduling event: something that a role does and that other roles can see."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

KINDS = ("pull", "drain", "learn", "publish", "merge", "apply", "assign", "collect", "evaluate")
FIELDS = ("worker", "read", "written", "base", "count")


class Owner(Protocol):
    """What an event reports its begin and end to: a Link."""

    def opened(self, event: Event) -> None: ...

    def closed(self, event: Event) -> None: ...


class Event:
    """One scheduling event; fill its fields inside the `with`, it is recorded when that closes.

        with link.event("pull") as event:
            event.read = weights.pull(agent.vector)

    kind: one of KINDS (ValueError otherwise). worker: the rank it concerns. read, written, base:
    versions, in updates. count: transitions, learn calls or updates, as the kind has it. Fields
    that do not apply stay -1 (count: 0). Give `worker` to the constructor if the kind has one: when
    a journal is re-executed, it is compared before the body runs, and all fields after it.

    seq: numbers the events of a role from 0 as they begin; it goes on when a role is replaced.
    broken: the body raised; the event is recorded all the same. Entering blocks only when a journal
    is re-executed (until the journal has it next), and may then raise Diverged or Stopped.
    """

    __slots__ = (
        "_owner", "base", "broken", "count", "kind", "read", "seq", "worker", "written",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner | None,
        kind: str,
        *,
        worker: int = -1,
        read: int = -1,
        written: int = -1,
        base: int = -1,
        count: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"no event is called {kind!r}; the journal knows {', '.join(KINDS)}")
        self._owner, self.kind = owner, kind
        self.worker, self.read, self.written, self.base, self.count = (
            worker, read, written, base, count,
        )  # fmt: skip
        self.seq = 0
        self.broken = False

    def __enter__(self) -> Event:
        if self._owner is not None:
            self._owner.opened(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.broken = kind is not None
        if self._owner is not None:
            self._owner.closed(self)

    def __repr__(self) -> str:
        fields = " ".join(f"{name}={getattr(self, name)}" for name in FIELDS)
        return f"{self.kind} {self.seq} ({fields})"
