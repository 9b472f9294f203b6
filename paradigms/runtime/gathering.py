"""How roles that go in step begin again together when one of them has been replaced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paradigms.errors import Stopped
from paradigms.runtime.link import Link
from paradigms.runtime.memory import Shared


class Called(BaseException):
    """No error: unwinds a role to where it gathers with the others, which have lost one of them."""


class Gathering:
    """Where so many roles meet after one has been replaced, in shared memory.

        if link.life: gathering.call()                        # who replaces another one
        while True:
            epoch = gathering.gather(link, rank, repair)      # at the first start it does not wait
            try:
                ...gathering.wait(link, epoch, "their parts", ready)...     # any number of times
            except Called: pass

    Every `wait` of the others then raises Called, and all come to `gather`, where rank 0 calls
    `repair` while nobody else does anything. A role that dies there is called together for again.
    When the work is done, rank 0 calls `end`, which all wait for; nobody is called any more.
    """

    def __init__(self, roles: int) -> None:
        self._epoch = Shared(8, np.int64)  # two at once may count as one, which is enough
        self._ready = Shared(8, np.int64)
        self._ended = Shared(1, np.int64)
        self._joined = Shared((roles, 8), np.int64)

    def call(self) -> None:
        """Calls all together."""
        self._epoch.array[0] += 1

    def gather(self, link: Link, rank: int, repair: Callable[[], None]) -> int:
        """Blocks until all have come and rank 0 has repaired what is shared. Returns the number of
        this gathering; 0, at once, if there was no call. Raises Stopped as `wait` does, and after
        the end."""
        while epoch := int(self._epoch.array[0]):
            if self.ended():
                raise Stopped
            self._joined.array[rank, 0] = epoch
            try:
                if rank == 0:
                    self.wait(link, epoch, "others", self._all_here)
                    repair()
                    self._ready.array[0] = epoch
                self.wait(link, epoch, "others", self._repaired)
            except Called:
                continue
            break
        return epoch

    def wait(
        self, link: Link, epoch: int, what: str, ready: Callable[[], object], *, brief: bool = True
    ) -> None:
        """As Link.wait. Raises Called if there has been a call since gathering number `epoch`,
        Stopped if the crew is asked to stop."""

        def called() -> bool:
            return bool(self._epoch.array[0] != epoch) and not self.ended()

        if not link.wait(what, lambda: ready() or called(), brief=brief):
            raise Stopped
        if called():
            raise Called

    def end(self) -> None:
        """Nothing is left to do."""
        self._ended.array[0] = 1

    def ended(self) -> bool:
        return bool(self._ended.array[0])

    def _all_here(self) -> bool:
        return bool((self._joined.array[:, 0] == self._epoch.array[0]).all())

    def _repaired(self) -> bool:
        return bool(self._ready.array[0] == self._epoch.array[0])
