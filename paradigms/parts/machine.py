"""One core budget: what every process sets before its first tensor."""

from __future__ import annotations

import os

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

for _name in THREAD_SETTINGS:  # read by the libraries when they are loaded, hence on import
    os.environ.setdefault(_name, "1")


def prepare() -> None:
    """One thread, denormals flushed. Call it once a process."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
