"""One run in which workers fail again and again, at moments that a seed draws: how soon does each
step again, and what is lost?"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breaking import leftovers
from benchmarks.breaking.faults import KINDS, SECONDS_BETWEEN, Fault
from benchmarks.breaking.runs import EVOLVED, WORKERS, WatchedRun
from paradigms.base import Progress

SECONDS_TO_COME_BACK = 60.0  # a deadline against hanging, not a claim
FAULTS_A_CHECKPOINT = 25
HEARTBEAT = 3.0  # of runs in which processes hang


class Chaos:
    """Lets faults befall a run, one after another, the next one soon after the worker of the last
    one stepped again; then stops it. seconds: how long that took, each; failed: processes that had
    to be replaced."""

    def __init__(self, run: WatchedRun, kinds: Sequence[str], draws: random.Random) -> None:
        self.run, self.kinds, self.draws = run, list(kinds), draws
        self.seconds, self.failed = list[float](), 0
        self.fault: Fault | None = None
        self.due: float | None = None
        self.begun = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.fault is not None:
            waited = now - self.begun
            assert waited < SECONDS_TO_COME_BACK, f"worker-{self.fault.rank} does not step again"
            if (seconds := self.fault.over()) is None:
                return
            self.seconds.append(seconds)
            self.failed += self.fault.failed
            self.fault, self.due = None, None
            if len(self.seconds) % FAULTS_A_CHECKPOINT == 0:
                self.run.save()
        if not self.kinds:
            return progress.stop()
        if not progress.updates or min(map(self.run.marks.first, range(WORKERS))) == 0.0:
            return
        if self.due is None:
            self.due = now + self.draws.expovariate(1 / SECONDS_BETWEEN)
        if now >= self.due:
            rank = self.draws.randrange(WORKERS)
            self.fault = KINDS[self.kinds.pop(0)](self.run, rank, self.draws)
            self.begun = now
            self.fault.begin()


def suffer(
    name: str, kinds: Sequence[str], seed: int, *, heartbeat: float = 60.0, resumes: bool = True
) -> dict[str, Any]:
    """One run of a paradigm with these faults, in order, and its continuation from its checkpoint,
    if it `resumes`; what it came to. Raises AssertionError if anything that docs/reliability.md
    promises does not hold."""
    begun, draws = time.monotonic(), random.Random(f"{name} {seed}")
    with leftovers.none(), tempfile.TemporaryDirectory() as folder:
        run = WatchedRun(name, seed=seed, folder=Path(folder), heartbeat=heartbeat)
        chaos = Chaos(run, kinds, draws)
        for progress in run:
            chaos(progress)
        assert len(chaos.seconds) == len(kinds), f"{len(chaos.seconds)} faults of {len(kinds)}"
        totals = run.audit(chaos.failed)
        run.save()
        state = run.whole()
        if resumes:
            run.resume(state)
    half, most = np.percentile(chaos.seconds, (50, 95))
    counted = ("lost", "dropped", "torn", "duplicated", "skipped", "updates", "env_steps")
    return {
        "faults": {kind: list(kinds).count(kind) for kind in dict.fromkeys(kinds)},
        "failed": chaos.failed,
        "seconds_p50": float(half),
        "seconds_p95": float(most),
        "seconds_max": max(chaos.seconds),
        **{key: totals[key] for key in counted},
        "wall_seconds": time.monotonic() - begun,
    }


def drawn(name: str, count: int, seed: int) -> list[str]:
    """So many faults of all kinds that this paradigm's workers can have, by the seed."""
    kinds = [kind for kind in KINDS if kind not in ("server", "nan" if name in EVOLVED else "")]
    return random.Random(f"kinds {name} {seed}").choices(kinds, k=count)
