"""A process that saves one checkpoint after another, killed by SIGKILL at random moments: each time
a whole one has to be left, and none older than what was said to be saved."""

from __future__ import annotations

import itertools
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paradigms.runtime import start
from paradigms.runtime.memory import Shared
from paradigms.session.checkpoint import OLD, Checkpoints

FLOATS = 50_000
LONGEST = 0.15  # seconds from the first save to the kill; a save takes some ten milliseconds
SECONDS_TO_SAVE = 60.0  # a deadline against hanging, not a claim


def state(number: int) -> dict[str, Any]:
    """A state that shows whether all of it is from one save."""
    return {
        "number": number,
        "floats": torch.full((FLOATS,), float(number)),
        "replay": {"transitions": [np.full(FLOATS, number, np.int64)]},
    }


def whole(found: dict[str, Any]) -> int:
    """Its number. Raises AssertionError if it is a mixture."""
    number = int(found["number"])
    assert bool((found["floats"] == number).all()), "floats of another save"
    assert bool((found["replay"]["transitions"][0] == number).all()), "arrays of another save"
    return number


def save_on(folder: str, first: int, said: Shared) -> None:
    """Saves for ever: numbers from `first` on, every step three times. said: the last number that
    was saved."""
    store = Checkpoints(folder)
    for number in itertools.count(first):
        store.save(state(number), number // 3)
        said.array[0] = number


def kills(count: int, seed: int) -> dict[str, Any]:
    """So many kills; in how many of them a checkpoint was half written, or one moved aside."""
    draws, begun = random.Random(f"saves {seed}"), time.monotonic()
    partial = replaced = newest = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Checkpoints(folder)
        for _ in range(count):
            said = Shared(1, np.int64)
            process = start.start(save_on, "saver", folder, newest + 1, said)
            deadline = time.monotonic() + SECONDS_TO_SAVE
            while not said.array[0]:
                assert process.is_alive() and time.monotonic() < deadline, "nothing is saved"
                time.sleep(0.001)
            time.sleep(draws.uniform(0.0, LONGEST))
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            process.close()
            partial += any(Path(folder).glob(".tmp-*"))
            replaced += any(Path(folder).glob(f"*{OLD}"))
            found = whole(store.newest())
            assert found >= said.array[0], f"{said.array[0]} was saved, and {found} is newest"
            newest = found
    seconds = time.monotonic() - begun
    return {"kills": count, "partial": partial, "replaced": replaced, "wall_seconds": seconds}
