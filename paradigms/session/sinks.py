"""Where a run's numbers go beside its own files: a sink is one line of `logger=[...]`.

A sink lives in the main process alone; workers never see one. It may be any class with the methods
of `Sink`: `logger.mine._target_` names it. A sink that raises is named once, counted and left out
from then on: no run ends because a tracker does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from paradigms.session.appended import Appended

SECRET = ("key", "token", "secret", "password")  # of a setting's name: its value is not passed on


@dataclass(frozen=True)
class Run:
    """What a sink is told of the run before its first number.

    identity: the same when the run is resumed. group: PARADIGM-AGENT-ENV. config: the resolved
    configuration, plain values. resumed_at: env steps of the checkpoint that it goes on from.
    failed: takes a sentence about what could not be written, for the log, which counts them.
    """

    folder: Path
    identity: str = "run"
    name: str = "run"
    group: str = ""
    tags: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    resumed_at: int | None = None
    failed: Callable[[str], None] = lambda text: None


class Sink(Protocol):
    """Takes a run's numbers; every method may raise."""

    def start(self, run: Run) -> None:
        """Called once, before everything else."""

    def scalars(self, values: Mapping[str, float], env_steps: int, seconds: float) -> None:
        """Numbers by name, about once a second. Those of an evaluation are late: `env_steps` is
        smaller than in calls before."""

    def file(self, path: Path, kind: str) -> None:
        """A file that the run has left; kind: "policy"."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """result.json, when the run is over."""

    def close(self, exit_code: int) -> None:
        """Called once, last; also where nothing else could be."""


class Sinks:
    """Sinks by name, as one. errors: how many have failed, each of them once."""

    def __init__(
        self, sinks: Mapping[str, Sink], say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._sinks, self.say, self.errors = dict(sinks), say, 0

    def __contains__(self, name: str) -> bool:
        return name in self._sinks

    def start(self, run: Run) -> None:
        self._each("start", run)

    def scalars(self, values: Mapping[str, float], env_steps: int, seconds: float) -> None:
        self._each("scalars", values, env_steps, seconds)

    def file(self, path: Path, kind: str) -> None:
        self._each("file", path, kind)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._each("finish", result)

    def close(self, exit_code: int = 0) -> None:
        self._each("close", exit_code)
        self._sinks.clear()

    def _each(self, what: str, *told: Any) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                getattr(sink, what)(*told)
            except Exception as error:  # a tracker is anybody's code
                del self._sinks[name]
                self.errors += 1
                first = (str(error).splitlines() or [""])[0]
                self.say(f"logger.{name} failed and is left out: {type(error).__name__}: {first}")


class TensorBoard:
    """Events in the run's folder. What encodes them is imported by a thread, so that nobody waits.
    Where the disk is full they wait for space."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Mapping[str, float], int, float]] = []
        self._file: Appended | None = None
        self._error: Exception | None = None
        self._began = time.time()
        self._thread: threading.Thread | None = None

    def start(self, run: Run) -> None:
        self._thread = threading.Thread(target=self._import, daemon=True)
        self._run = run
        self._thread.start()

    def scalars(self, values: Mapping[str, float], env_steps: int, seconds: float) -> None:
        self._waiting.append((values, env_steps, seconds))
        if self._thread is not None and not self._thread.is_alive():
            self._drain()

    def file(self, path: Path, kind: str) -> None:
        """TensorBoard shows no files."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """Everything that it shows has been written."""

    def close(self, exit_code: int) -> None:
        if self._thread is not None:
            self._thread.join()
            self._drain()
        if self._file is not None:
            self._file.close()

    def _import(self) -> None:
        try:
            import paradigms.session.events  # noqa: F401
        except Exception as error:  # raised where the run can hear it
            self._error = error

    def _drain(self) -> None:
        if self._error is not None:
            raise self._error
        from paradigms.session import events

        if self._file is None:
            again = None if self._run.resumed_at is None else self._run.resumed_at + 1
            self._file = Appended(self._run.folder / events.name(), self._run.failed)
            self._file.write(events.beginning(again))
        rows, self._waiting = self._waiting, []
        for values, env_steps, seconds in rows:
            self._file.write(events.scalars(values, env_steps, self._began + seconds))


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the values of settings that are called a key, token or password."""
    return {
        name: public(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if not str(name).lower().endswith(SECRET)
    }
