"""The lines of a run on stdout, and a live last line where stdout is a terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # there may be space again


class Screen:
    """Once nobody reads the stream any more (a closed terminal, `| head`) nothing is written to it,
    and the run goes on: log.txt has every line. So it does where the stream is a file on a full
    disk, which gets the lines that there is space for.

    stream: None for stdout. failed: gets a sentence when a disk is full. live: whether the stream
    is a terminal, so that `status` shows.
    """

    def __init__(
        self, stream: TextIO | None = None, failed: Callable[[str], None] = lambda text: None
    ) -> None:
        self._stream, self._failed, self._full = stream or sys.stdout, failed, False
        self._console = _Console(file=self._stream, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            with self._until_closed():
                self._live.start()

    @property
    def live(self) -> bool:
        return self._live is not None

    def line(self, text: str) -> None:
        """Adds a line."""
        with self._until_closed():
            self._console.print(Text(text))

    def status(self, text: str) -> None:
        """Replaces the live line; nothing where there is none."""
        if self._live is not None:
            with self._until_closed():
                self._live.update(Text(text), refresh=True)

    def settle(self) -> None:
        """Takes the live line away: no more progress comes."""
        live, self._live = self._live, None
        if live is not None:
            with self._until_closed():
                live.stop()

    def close(self) -> None:
        """No more lines come."""
        self.settle()
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    @contextlib.contextmanager
    def _until_closed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if not (isinstance(error, OSError) or self._stream.closed):
                raise
            self._console.forget()
            if isinstance(error, OSError) and error.errno in FULL:
                told, self._full = self._full, True
                if not told:
                    self._failed(f"stdout cannot be written ({error.strerror}): see log.txt")
                return
            self._console.quiet = True
            self.settle()
            self._give_up()
        else:
            self._full = False

    def _give_up(self) -> None:
        """What the stream still holds goes nowhere, or the interpreter would complain of it as it
        exits."""
        with contextlib.suppress(OSError, ValueError):
            own, nowhere = self._stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, own)
            os.close(nowhere)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raises what was raised, where rich would end the process."""
        raise

    def forget(self) -> None:
        """Drops what could not be written."""
        self._buffer.clear()
