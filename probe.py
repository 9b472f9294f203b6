"""What a few seconds of training say about a run: what env steps and updates cost in one process,
and how many workers make it fastest on this machine (workers=auto)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from conf.sentences import Wrong

if TYPE_CHECKING:
    from conf.compose import Setup
    from paradigms.base import Job, Paradigm

SECONDS = 4.0  # of each trial
WARMUP = 256  # env steps of a trial before its first update, at most
WORTH = 1.05  # by how much a run has to be faster to be worth more workers


def core_count() -> int:
    """The cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


class Trial(NamedTuple):
    """What a few seconds of training in one process came to. step, update: seconds of one env step
    with acting, and of one update (0.0 where none was made). warmup: env steps before the first."""

    env_steps: int
    updates: int
    step: float
    update: float
    warmup: int = 0

    def said(self) -> str:
        """In one line."""
        return (
            f"an env step costs {1e3 * self.step:.3g} ms, an update {1e3 * self.update:.3g} ms;"
            f" {self.ratio:.3g} updates an env step: learning takes {100 * self.learning:.0f} %"
        )

    @property
    def ratio(self) -> float:
        return self.updates / max(1, self.env_steps - self.warmup)

    @property
    def learning(self) -> float:
        """The share of the time that updates take, at the ratio of the run."""
        learn = self.ratio * self.update
        return learn / (learn + self.step)


def measure(job: Job, seconds: float | None = None) -> Trial:
    """Trains so long (SECONDS) in this process, from the first update on. Raises Wrong where none
    is made."""
    seconds = SECONDS if seconds is None else seconds
    from paradigms.sequential import Sequential

    short = replace(job, warmup=min(job.warmup, WARMUP), started=time.time())
    going, begun = Sequential().run(short), None
    while True:
        try:
            progress = next(going)
        except StopIteration as end:
            totals: dict[str, Any] = end.value.totals
            break
        now = time.monotonic()
        begun = now if begun is None and progress.updates else begun
        if begun is not None and now - begun > seconds:
            progress.stop()
    if not totals["updates"]:
        raise Wrong("no update was made: make budget.env_steps larger than warmup")
    (spent,) = totals["time_by_role"].values()
    collect, learn = (spent.get(what, 0.0) * spent["seconds"] for what in ("collect", "learn"))
    steps, updates = totals["env_steps"], totals["updates"]
    return Trial(steps, updates, collect / steps, learn / updates, short.warmup)


def settled(setup: Setup) -> Setup:
    """A run of workers=auto with the number of workers that was fastest here: all are tried for a
    few seconds, 1, 2, 4 and so on up to one a core, at the ratio of updates to env steps that the
    run holds. Prints what was measured."""
    from conf.build import assemble

    job, paradigm = assemble(setup.values)
    workers = paradigm.workers
    if workers is None:
        print(f"workers=auto: training for {SECONDS:g} s in one process, then with each number ...")
        print(measure(job).said(), flush=True)
        tried = {n: speed(job, paradigm, n) for n in counts(core_count())}
        workers = fewest(tried)
        print(
            f"workers={workers}, because the env steps a second were "
            + ", ".join(f"{found:,.0f} with {n}" for n, found in tried.items()),
            flush=True,
        )
    new = {"workers": workers}
    return replace(setup, values=setup.values | new, stored=setup.stored | new, auto=False)


def counts(cores: int) -> list[int]:
    """The numbers of workers that are tried."""
    return sorted({min(2**k, cores) for k in range(cores.bit_length() + 1)})


def fewest(tried: Mapping[int, float]) -> int:
    """Of the numbers of workers with their speeds the smallest that another one does not beat by
    more than 5 %."""
    best = max(tried.values())
    return min(n for n, speed in tried.items() if speed * WORTH >= best)


def speed(job: Job, paradigm: Paradigm, workers: int) -> float:
    """Env steps a second of a paradigm with so many workers, in SECONDS from its first update."""
    budget = replace(job.budget, env_steps=10**9, seconds=None)
    short = replace(
        job,
        workers=workers,
        warmup=min(job.warmup, WARMUP),
        budget=budget,
        journal=None,
        started=time.time(),
    )
    going, first, last = paradigm.run(short), None, None
    try:
        while True:
            progress = next(going)
            now = time.monotonic(), progress.env_steps
            if progress.updates:
                first, last = first or now, now
            if first and now[0] - first[0] > SECONDS:
                break
    finally:
        going.close()
    assert first and last
    return (last[1] - first[1]) / (last[0] - first[0])
