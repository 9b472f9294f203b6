"""Does a run that goes on and on take more and more memory, or descriptors?"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breaking import leftovers
from benchmarks.breaking.commands import running

SECONDS_TO_SETTLE = 120.0  # the replay is full, and every branch was taken
SECONDS_BETWEEN = 5.0
MOST_GROWTH, MOST_DESCRIPTORS = 0.02, 2


def soak(paradigm: str, minutes: float, seed: int) -> dict[str, Any]:
    """One run of train.py, whose processes are measured from the second minute on. growth: of their
    memory over the rest, by a straight line through all samples, as a share of the mean."""
    settings = ("checkpoint.every_env_steps=20000", f"seed={seed}")
    samples = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(paradigm, Path(folder) / "it", *settings) as run,
    ):
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < 60 * minutes:
            assert run.process.poll() is None, run.said()
            if now >= SECONDS_TO_SETTLE:
                samples.append((now, *measured(run.environment)))
            time.sleep(SECONDS_BETWEEN)
        run.process.terminate()
        run.process.wait(60)
        result = run.result()
        leftovers.gone(run.environment)
    seconds, memory, descriptors, processes = np.array(samples).T
    slope = np.polyfit(seconds, memory, 1)[0] * (seconds[-1] - seconds[0])
    growth, apart = slope / memory.mean(), int(np.ptp(descriptors))
    assert growth < MOST_GROWTH, f"memory grew by {100 * growth:.1f} %"
    assert apart <= MOST_DESCRIPTORS, f"between {descriptors.min()} and {descriptors.max()} files"
    assert np.ptp(processes) == 0
    return {
        "minutes": minutes,
        "samples": len(samples),
        "megabytes": float(memory.mean() / 2**20),
        "growth": float(growth),
        "descriptors": int(descriptors.max()),
        "descriptors_apart": apart,
        "processes": int(processes[0]),
        "env_steps": result["env_steps"],
    }


def measured(environment: dict[str, str]) -> tuple[int, int, int]:
    """Of all processes with this mark: bytes of memory, what is shared counted once; open files;
    and how many they are."""
    memory = descriptors = 0
    pids = leftovers.marked(environment)
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
        memory += 1024 * int(found[1]) if found else 0
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return memory, descriptors, len(pids)
