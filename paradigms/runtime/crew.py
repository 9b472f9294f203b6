"""How roles are started, supervised, replaced and stopped, and in which order they go.

with Crew("process") as crew:
    crew.add("learner", Learner, make_agent, weights, channel)
    for rank in range(workers):
        crew.add(f"actor{rank}", ActorWorker, ..., rank=rank, restartable=True)
    for report in crew.run():
        ...log, evaluate, crew.tell(name, message), crew.stop()...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from paradigms.errors import Deadlock, Failed
from paradigms.runtime import journal as journals
from paradigms.runtime.link import Link, Member, Report, Role
from paradigms.runtime.order import Order

__all__ = ["Crew", "Deadlock", "Failed", "Link", "Report", "Role"]


class Engine(Protocol):
    """What runs the roles of one kind of crew; the methods are those of Crew."""

    @property
    def restarts(self) -> int: ...

    def run(self, tick: float) -> Iterator[Report]: ...

    def stop(self) -> None: ...

    def tell(self, name: str, message: Any) -> None: ...

    def close(self) -> None: ...


class Crew:
    """Runs roles, each in a process of its own ("process") or as threads of this process of which
    one runs at a time ("inline").

    order: who goes next (inline only; None is round robin, see order.py and recorded.py). restarts:
    how many times roles are replaced, all together, within a time that restarts.py says. heartbeat:
    seconds a role may go without go() or wait() unless it says busy(). journal: the file to record
    events in. seconds_to_stop: until roles that do not stop are killed.

    What a crew of processes guarantees while its owner iterates over `run`:

    - A role that raises is noticed at once, with its traceback. So is a role whose process exits or
      is killed, with the exit code or signal, and for a fault such as SIGSEGV with the line.
    - A role that hangs, also in C code, is noticed `heartbeat` seconds after its last go() or
      wait(), with the line where it stands; during construction 120 s later than that.
    - A deadlock, every role in wait(), is noticed after `heartbeat` seconds; Deadlock names what
      each waits for.
    - Either the role is replaced (restartable, with restarts left, and no error with restart_helps
      False: a "restarted" report), or the run ends with Failed. If the fork server, which starts
      the processes, dies, the run ends with ForkServerDied.
    - When the run ends, however it does, roles are asked to stop; after 0.8 * seconds_to_stop they
      get SIGTERM, after seconds_to_stop SIGKILL, with every process that they have started.
      Nothing is left: no process, no open file, no file in /dev/shm.
    - If this process dies, also by SIGKILL, all roles and the processes in their groups are killed
      at once (Linux: by the kernel; elsewhere a role stuck in C code may survive).
    - SIGINT from the keyboard reaches this process alone; roles ignore it.

    Not guaranteed: what a role was doing when it died is not undone (shared memory that it wrote
    stays written), and nothing is noticed while the owner does not iterate.

    An inline crew notices what a role raises, a hang (but cannot end that thread) and a deadlock
    (at once). From the same order and roles it gives the same bits.
    """

    def __init__(
        self,
        kind: str = "process",
        order: Order | None = None,
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
        """How many times roles have been replaced so far."""
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
        the very same objects. Raises ValueError for a name that is taken, RuntimeError after run().
        """
        if self._engine is not None:
            raise RuntimeError("the crew is running; add roles before run()")
        if name in self._members:
            raise ValueError(f"the crew has a role {name} already")
        index = len(self._members)
        self._members[name] = Member(name, index, role_class, args, rank, restartable)

    def run(self, tick: float = 0.05) -> Iterator[Report]:
        """Starts all roles and ends when all have returned. Call it once.

        Yields the reports of roles as they come, and a "tick" at least every `tick` seconds
        (inline: every 16 scheduling points). Blocks for at most `tick` seconds at a time. Closing
        the iterator stops the crew. Raises Failed, ForkServerDied or Deadlock (see the class),
        Diverged if a re-execution does, OSError if the journal cannot be written.
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
        """Asks every role to stop: its go() and wait() become False. Does not block."""
        if self._engine is not None:
            self._engine.stop()

    def tell(self, name: str, message: Any) -> None:
        """Calls role.tell(message) at the role's next go(). Does not block.

        A role gets its messages in the order sent. Nothing happens if the role has returned.
        Messages that a role had not taken when it failed are lost: send again after a "restarted"
        report. Raises ValueError for a name that is not known or, in a process, a message of more
        than 64 KB, RuntimeError before run(), Failed if the role leaves its messages unread until
        its pipe is full.
        """
        if name not in self._members:
            raise ValueError(f"no role is called {name}; there are {', '.join(self._members)}")
        if self._engine is None:
            raise RuntimeError(f"the crew is not running yet, so role {name} hears no message")
        self._engine.tell(name, message)

    def _build(self) -> Engine:
        members = list(self._members.values())
        if self._kind == "process":
            from paradigms.runtime.processes import ProcessEngine

            return ProcessEngine(
                members,
                restarts=self._restarts,
                heartbeat=self._heartbeat,
                journal=self._journal,
                seconds_to_stop=self._seconds_to_stop,
            )
        from paradigms.runtime.inline import InlineEngine

        return InlineEngine(
            members,
            order=self._order,
            restarts=self._restarts,
            heartbeat=self._heartbeat,
            journal=self._journal,
            seconds_to_stop=self._seconds_to_stop,
        )
