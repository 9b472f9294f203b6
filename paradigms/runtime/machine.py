"""What every process sets before its first tensor: one thread, flushed denormals, memory kept."""

from __future__ import annotations

import ctypes
import os
import sys

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt, see malloc.h
MOST = 2**30

for _name in THREAD_SETTINGS:  # read by the libraries when they are loaded, hence on import
    os.environ.setdefault(_name, "1")


def prepare() -> None:
    """One thread, denormals flushed, freed memory kept. Call it once a process."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_memory()


def keep_memory() -> bool:
    """Tells glibc to keep freed memory for the next tensor, up to a gigabyte, and says whether it
    could. Left alone it may hand a batch's activations back to the system after every update, and
    the next one pays for some hundred page faults (measured: docs/performance.md)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(
        [mallopt(TRIM_THRESHOLD, MOST), mallopt(MMAP_THRESHOLD, MOST)]
    )
