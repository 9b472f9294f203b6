"""How much memory the processes of a run hold together."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PROC = Path("/proc")


def held(session: int) -> int:
    """Bytes of all processes of a POSIX session; a page that several share counts once, by their
    proportional shares (PSS). 0 where there is no /proc, or nobody left."""
    total = 0
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.getsid(int(entry.name)) == session:
                total += proportional(entry / "smaps_rollup")
    return total


def proportional(rollup: Path) -> int:
    """Bytes on the line `Pss:` of a file that counts in kB."""
    for line in rollup.read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
