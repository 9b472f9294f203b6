"""One core budget: what every process sets before its first tensor."""

from __future__ import annotations

import ctypes
import os
import sys

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

for _name in THREAD_SETTINGS:  # read by the libraries when they are loaded, hence on import
    os.environ.setdefault(_name, "1")


def prepare() -> None:
    """One thread, denormals flushed, freed memory kept for the next update. Call it once a process.

    A training step frees and takes the same megabytes each time; glibc hands them back to the
    system by default and faults them in again, which costs a tenth of an update.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
                libc.mallopt(parameter, 1 << 30)
