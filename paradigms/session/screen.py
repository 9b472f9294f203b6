"""The lines of a run on stdout, and a live last line where stdout is a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Screen:
    """Once nobody reads the stream any more (a closed terminal, `| head`) nothing is written to it,
    and the run goes on: log.txt has every line.

    stream: None for stdout. live: whether it is a terminal, so that `status` shows.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
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

    @contextlib.contextmanager
    def _until_closed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if not (isinstance(error, OSError) or self._stream.closed):
                raise
            self._console.quiet = True
            self.settle()
            with contextlib.suppress(OSError, ValueError):  # or its buffer is flushed at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raises what was raised, where rich would end the process."""
        raise
