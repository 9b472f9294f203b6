"""When a run began: seconds count from the start of its process, imports included."""

from __future__ import annotations

import os
import time
from pathlib import Path


def process_began() -> float:
    """When this process started, as time.time() has it; now, where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19])  # field 22, starttime: clock ticks after boot, proc(5)
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.time() - age


IMPORTED = time.time() - process_began()  # import this module last: what the imports took


def run_began(job_began: float, *, first: bool) -> float:
    """Where a run's seconds start. A process's later runs are charged with its imports as well."""
    return process_began() if first else job_began - IMPORTED
