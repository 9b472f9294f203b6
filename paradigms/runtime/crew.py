"""How roles live, die, are replaced, and in which order they go.

with Crew("process") as crew:
    crew.add("learner", Learner, make_agent, weights, channel)
    for rank in range(workers):
        crew.add(f"actor{rank}", ActorWorker, ..., rank=rank, restartable=True)
    for report in crew.run():
        ...log, evaluate, crew.save(), crew.stop()...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from paradigms.runtime import journal as journals
from paradigms.runtime.link import Deadlock, Failed, Link, Member, Report, Role
from paradigms.runtime.start import context

__all__ = ["Crew", "Deadlock", "Failed", "Link", "Report", "Role"]


class Engine(Protocol):
    """What runs the roles of one kind of crew."""

    restarts: int

    def run(self, tick: float) -> Iterator[Report]: ...

    def stop(self) -> None: ...

    def save(self, seconds: float) -> dict[str, dict[str, Any]]: ...

    def tell(self, name: str, message: Any) -> None: ...

    def close(self) -> None: ...


class Crew:
    """Runs roles, each in a process of its own ("process") or taking turns in this one ("inline").

    order: who goes next (inline only; None is RankOrder, see journal.py). restarts: of restartable
    roles, together. heartbeat: seconds a role may go without go() or wait() unless it says busy().
    journal: the file to record events in. seconds_to_stop: until roles that do not stop are killed.
    """

    def __init__(
        self,
        kind: str = "process",
        order: Any = None,
        *,
        restarts: int = 3,
        heartbeat: float = 60.0,
        journal: str | Path | None = None,
        seconds_to_stop: float = 5.0,
    ) -> None:
        if kind not in ("process", "inline"):
            raise ValueError(f"crew={kind} is not a kind of crew; choose process or inline")
        if order is not None and kind != "inline":
            raise ValueError("processes go in no given order; choose crew=inline or order=null")
        self._kind, self._order = kind, order
        self._restarts, self._heartbeat = restarts, heartbeat
        self._journal = None if journal is None else str(Path(journal).absolute())
        self._seconds_to_stop = seconds_to_stop
        self._members: dict[str, Member] = {}
        self._engine: Engine | None = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.close()

    @property
    def restarts(self) -> int:
        """How many roles have been replaced so far."""
        return 0 if self._engine is None else self._engine.restarts

    def add(
        self,
        name: str,
        role_class: Callable[..., Role],
        *args: Any,
        rank: int = 0,
        restartable: bool = False,
    ) -> None:
        """Plans a role, built as role_class(*args) where it will run; they go in the order added.

        args are pickled to processes (Shared blocks and locks may be among them); inline roles get
        the very same objects.
        """
        if self._engine is not None:
            raise RuntimeError("the crew is running; add roles before run()")
        if name in self._members:
            raise ValueError(f"the crew has a role {name} already")
        index = len(self._members)
        self._members[name] = Member(name, index, role_class, args, rank, restartable)

    def lock(self) -> AbstractContextManager[Any]:
        """A lock to pass to roles; nothing where they take turns anyway."""
        return nullcontext() if self._kind == "inline" else context().Lock()

    def load(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Hands each role named there its state, before it runs and when it is replaced."""
        for name, state in states.items():
            if name in self._members:
                self._members[name].state = state

    def run(self, tick: float = 0.05) -> Iterator[Report]:
        """Starts all roles; ends when all have returned, raises Failed or Deadlock if one cannot.

        Yields a "tick" at least every `tick` seconds (inline: every 16 turns), and the reports of
        roles. Closing the iterator stops the crew.
        """
        if self._engine is not None:
            raise RuntimeError("a crew runs once; make a new one")
        if self._journal is not None:
            journals.begin(self._journal, list(self._members))
        self._engine = self._build()
        try:
            yield from self._engine.run(tick)
        finally:
            self._engine.close()

    def stop(self) -> None:
        """Asks every role to stop: its go() and wait() become False."""
        if self._engine is not None:
            self._engine.stop()

    def save(self, seconds: float = 60.0) -> dict[str, dict[str, Any]]:
        """The state of every running role, taken at its next go(). Blocks; TimeoutError if late."""
        return {} if self._engine is None else self._engine.save(seconds)

    def tell(self, name: str, message: Any) -> None:
        """Calls role.tell(message) at the role's next go(); messages of 64 KB at most. Nothing if
        the role has returned."""
        if name not in self._members:
            raise ValueError(f"no role is called {name}; there are {', '.join(self._members)}")
        if self._engine is not None:
            self._engine.tell(name, message)

    def _build(self) -> Engine:
        members = list(self._members.values())
        if self._kind == "process":
            from paradigms.runtime.processes import Processes

            return Processes(
                members,
                restarts=self._restarts,
                heartbeat=self._heartbeat,
                journal=self._journal,
                seconds_to_stop=self._seconds_to_stop,
            )
        from paradigms.runtime.inline import Threads

        return Threads(
            members,
            order=self._order,
            restarts=self._restarts,
            heartbeat=self._heartbeat,
            journal=self._journal,
            seconds_to_stop=self._seconds_to_stop,
        )
