"""How much memory values from elsewhere may take while objects are made of them."""

from __future__ import annotations

import resource
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.sentences import Wrong

FOR_A_RUN = 8 * 2**30  # bytes of one agent and env of a run that was typed
FOR_A_FILE = 192 * 2**20  # bytes, beside those that go with the size of a policy or checkpoint
STATM = Path("/proc/self/statm")  # sizes in pages; the sixth one is data and stack


@contextmanager
def memory(most: int, who: str) -> Iterator[None]:
    """In the block, this process may take `most` bytes more. Raises Wrong, with `who` as its
    subject, where more is asked for. No process may be started in it: it would inherit the limit.
    Linux alone says what a process takes; elsewhere nothing is limited.
    """
    if not STATM.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _taken() + most
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    except Exception as error:
        if not _for_want_of_memory(error):
            raise
        raise Wrong(f"{who} more than {most / 2**20:,.0f} MiB, which is not tried") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def usual() -> int:
    """The bytes that an agent and an env of one's own may take: FOR_A_RUN, or what is free."""
    return min(FOR_A_RUN, _free())


def _free() -> int:
    try:
        rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(rows["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return 2**40


def _taken() -> int:
    """The bytes that the limit is compared with."""
    return int(STATM.read_text().split()[5]) * resource.getpagesize()


def _for_want_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one it was raised from, says so; torch raises a RuntimeError."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return True
    return error.__cause__ is not None and _for_want_of_memory(error.__cause__)


def room_of(run: Path, trusted: Collection[str]) -> int:
    """The bytes that agent and env of a run which goes on may take, by its checkpoints."""
    sizes = [path.stat().st_size for path in run.glob("checkpoints/*/state.safetensors")]
    return usual() if trusted else FOR_A_FILE + 4 * max(sizes, default=0)
