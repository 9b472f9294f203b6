"""What must not be left when a run is over: processes, shared memory, descriptors."""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "PACELINE_CHAOS"  # of the environment, which all descendants of a process inherit
SECONDS_TO_BE_GONE = 2.0


@contextmanager
def none() -> Iterator[None]:
    """Asserts that what runs inside leaves nothing behind in this process. The fork server, which
    the first run starts, is none of it."""
    children, before = descendants(os.getpid()), shared_memory()
    yield
    gc.collect()
    left = descendants(os.getpid()) - children - servers()
    assert not left, f"processes {left} are left"
    assert not (new := shared_memory() - before), f"{new} in /dev/shm"


def mark() -> dict[str, str]:
    """An environment by which `marked` finds a process and all that come of it."""
    return {**os.environ, VARIABLE: uuid.uuid4().hex}


def marked(environment: dict[str, str]) -> set[int]:
    """The processes with this mark that have not ended."""
    wanted = f"{VARIABLE}={environment[VARIABLE]}".encode()
    return {pid for pid in _pids() if wanted in _read(pid, "environ").split(b"\0")}


def gone(environment: dict[str, str], most: float = SECONDS_TO_BE_GONE) -> float:
    """Waits until no process has this mark; the seconds that it took. Raises AssertionError if any
    is left after `most` of them."""
    begun = time.monotonic()
    while left := marked(environment):
        seconds = time.monotonic() - begun
        words = {pid: _read(pid, "cmdline").replace(b"\0", b" ")[:200] for pid in left}
        assert seconds < most, f"left after {seconds:.1f} s: {words}"
        time.sleep(0.02)
    return time.monotonic() - begun


def shared_memory() -> set[str]:
    """The names in /dev/shm, without semaphores and joblib's folders, which others may make."""
    names = os.listdir("/dev/shm")
    return {name for name in names if "sem." not in name and not name.startswith("joblib")}


def descendants(pid: int) -> set[int]:
    """All processes below this one that have not ended."""
    parents = {other: _parent(other) for other in _pids()}
    found, more = set[int](), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found


def servers() -> set[int]:
    """The fork server and the resource tracker of this process."""
    from multiprocessing import forkserver, resource_tracker

    server, tracker = vars(forkserver)["_forkserver"], vars(resource_tracker)["_resource_tracker"]
    return {pid for pid in (server._forkserver_pid, tracker._pid) if pid is not None}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _parent(pid: int) -> int:
    """0 of one that has ended."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields and fields[0] != b"Z" else 0


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
