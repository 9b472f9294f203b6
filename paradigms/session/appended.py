"""Files that grow while a run goes on, and that no full disk ends it by."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

MOST_WAITING = 2**20  # bytes of one file


class Appended:
    """A file to which pieces are appended, each whole and at once.

    A piece that cannot be written (the disk is full, fails or is read-only) waits, and is tried
    again with the next one; of more than MOST_WAITING bytes the oldest pieces are lost. `failed`
    gets a sentence whenever waiting begins. No method raises OSError.
    """

    def __init__(self, path: Path, failed: Callable[[str], None]) -> None:
        self.path, self.failed = path, failed
        self._waiting = deque[bytes]()  # the first may be the rest of a piece
        self._file: int | None = None
        self._waits = False

    def write(self, piece: bytes) -> None:
        self._waiting.append(piece)
        try:
            self._write()
        except OSError as error:
            self._let_go()  # so that another disk, or file, in its place is found
            while len(self._waiting) > 2 and sum(map(len, self._waiting)) > MOST_WAITING:
                del self._waiting[1]
            told, self._waits = self._waits, True
            if not told:
                self.failed(
                    f"{self.path.name} cannot be written ({error.strerror}): the run goes on, and"
                    f" the last {MOST_WAITING >> 20} MiB of it wait for space"
                )
        else:
            self._waits = False

    def close(self) -> None:
        """Tries what waits for the last time."""
        if self._waiting:
            self.write(b"")
        self._let_go()

    def _write(self) -> None:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o666)
        while self._waiting:
            done = os.write(self._file, self._waiting[0])
            if rest := self._waiting.popleft()[done:]:
                self._waiting.appendleft(rest)

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
