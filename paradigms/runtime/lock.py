"""A lock between processes that its holder's death opens."""

from __future__ import annotations

import fcntl
import os
import time
from multiprocessing import reduction
from typing import Any

from paradigms.errors import Stopped
from paradigms.runtime.link import Link
from paradigms.runtime.memory import anonymous_file

SECONDS_MORE = 1.0  # a lock is held for less than a millisecond


class Lock:
    """One process at a time; the kernel opens it when the process that holds it ends, however that
    comes about (a POSIX record lock on a file of its own, fcntl(2)).

        lock = lock.by(link)
        with lock: ...change what is shared...

    Threads of one process do not exclude each other: roles of an inline crew hold it between two
    scheduling points alone. It cannot be taken twice by one process. Pickle it only as an argument
    of a process that is being started.
    """

    def __init__(self) -> None:
        self._fd = anonymous_file(1)

    def take(self) -> bool:
        """Takes it if it is free, and says so. Does not block."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def by(self, link: Link) -> Held:
        """It, as a role takes it: for a `with`, any number of times."""
        return Held(self, link)

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._fd)

    def __setstate__(self, duplicate: Any) -> None:
        self._fd = duplicate.detach()

    def __del__(self) -> None:
        if (fd := self.__dict__.pop("_fd", None)) is not None:
            os.close(fd)


class Held:
    """A lock as a role takes it: it waits with signs of life. When the crew is asked to stop it
    still waits for SECONDS_MORE, so that a step of which a part is made is made whole, and raises
    Stopped after that."""

    def __init__(self, lock: Lock, link: Link) -> None:
        self.lock, self.link = lock, link

    def __enter__(self) -> bool:
        if self.link.wait("lock", self.lock.take, brief=True):
            return True
        deadline = time.monotonic() + SECONDS_MORE
        while not self.lock.take():
            if time.monotonic() > deadline:
                raise Stopped
            time.sleep(1e-4)
        return True

    def __exit__(self, *_: object) -> None:
        self.lock.give()
