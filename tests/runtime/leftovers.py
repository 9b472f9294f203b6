"""What a run may have left behind."""

from __future__ import annotations

import os


def shared_memory() -> set[str]:
    """The names in /dev/shm, without Python's semaphores and joblib's folders: tests that run
    beside this one make those."""
    names = os.listdir("/dev/shm")
    return {name for name in names if "sem." not in name and not name.startswith("joblib")}
