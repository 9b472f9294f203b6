"""What the fork server does first. It imports this module before all others; nothing else does.

It goes into a process group of its own, so that a signal to the run's group, such as SIGTERM from
`timeout`, reaches the trainer but does not kill the server that it needs to see how roles end. It
imports from where its parent does, not from the current folder. And it ends with its parent, also
while it still loads torch, when its own loop does not look yet.
"""

import os
import select
import signal
import sys
from typing import Any


def arguments() -> dict[str, Any]:
    """What multiprocessing has given to the fork server's `main`, which is importing this."""
    frame: Any = sys._getframe()
    while frame is not None and "alive_r" not in frame.f_locals:
        frame = frame.f_back
    return {} if frame is None else dict(frame.f_locals)


def end_with_parent(alive: int) -> None:
    """Asks Linux to kill this process as soon as a pipe closes whose other end the parent holds.
    Elsewhere the server's own loop ends it, a little later."""
    if sys.platform != "linux":
        return
    import fcntl

    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([alive], [], [], 0)[0]:  # it was closed before
        os._exit(1)


os.setpgid(0, 0)
given = arguments()
sys.path[:] = given.get("sys_path") or sys.path
if "alive_r" in given:
    end_with_parent(given["alive_r"])
