"""How soon does training go on when workers are killed at random moments, and what is lost?

    python -m benchmarks.chaos kills=10 seed=0 hogwild dupdate

In one run of each paradigm (all that have workers, if none is named) with two workers, one of them
is killed by SIGKILL again and again, at moments that the seed draws; the next one when it has
collected a fragment again. Prints a table, and raises AssertionError if a worker was not replaced,
if counters do not agree, or if a process is left.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from conf.build import assemble
from conf.compose import compose
from paradigms.base import Progress
from paradigms.loop import drive
from paradigms.loop.ledger import Ledger
from paradigms.runtime import machine
from paradigms.runtime.crew import Crew

PARADIGMS = tuple(
    "dcollect dupdate hogwild locked a3c gossip allreduce gorila es ars pbt".split(),
)
OWN = {"pbt": ["paradigm.members=2", "paradigm.ready=500"]}  # settings of a paradigm
WORKERS = 2
SETTINGS = [
    "env=pendulum",
    f"workers={WORKERS}",
    "budget.env_steps=1000000000",
    "warmup=64",
    "rollout_length=16",
    "agent.hidden_sizes=[32,32]",
    "replay.batch_size=32",
    "replay.capacity=20000",
]
SECONDS_BETWEEN = 2.0  # of stepping, on average, before the next kill
SECONDS_TO_COME_BACK = 120.0  # a deadline against hanging, not a claim


@dataclass
class Chaos:
    """Kills workers of a run whose counters are `ledger`, and notes the seconds from each kill
    until that worker has collected a fragment again."""

    ledger: Ledger
    kills: int
    draws: random.Random
    seconds: list[float] = field(default_factory=list)
    rank: int = 0
    killed_at: float = 0.0
    fragments: int = 0
    due: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.killed_at:
            assert now - self.killed_at < SECONDS_TO_COME_BACK, f"worker-{self.rank} is gone"
            if self.ledger.own("fragments", self.rank) <= self.fragments:
                return
            self.seconds.append(now - self.killed_at)
            self.killed_at, self.due = 0.0, None
        if len(self.seconds) == self.kills:
            return progress.stop()
        if not progress.updates:
            return
        if self.due is None:
            self.due = now + self.draws.expovariate(1 / SECONDS_BETWEEN)
        if now >= self.due:
            self.kill()

    def kill(self) -> None:
        self.rank = self.draws.randrange(WORKERS)
        pids = {child.name: child.pid for child in multiprocessing.active_children()}
        if (pid := pids.get(f"worker-{self.rank}")) is not None:
            os.kill(pid, signal.SIGKILL)
            self.killed_at = time.monotonic()
            self.fragments = self.ledger.own("fragments", self.rank)


def suffer(name: str, kills: int, seed: int) -> tuple[list[float], dict[str, Any]]:
    """One run: the seconds until each worker stepped again, and the run's totals."""
    setup = compose([f"paradigm={name}", *SETTINGS, *OWN.get(name, [])])
    job, paradigm = assemble(setup.values, started=time.time())
    ledgers = list[Ledger]()

    def noted(*args: Any, **options: Any) -> Ledger:
        ledgers.append(Ledger(*args, **options))
        return ledgers[-1]

    module = sys.modules[type(paradigm).__module__]
    patient = functools.partial(Crew, restarts=10**6)
    with mock.patch.object(drive, "Ledger", noted), mock.patch.object(module, "Crew", patient):
        run, chaos = paradigm.run(job), None
        while True:
            try:
                progress = next(run)
            except StopIteration as end:
                totals: dict[str, Any] = end.value.totals
                break
            chaos = chaos or Chaos(ledgers[0], kills, random.Random(seed))
            chaos(progress)
    assert chaos is not None
    audit(totals, kills)
    return chaos.seconds, totals


def audit(totals: dict[str, Any], kills: int) -> None:
    """Asserts what docs/reliability.md promises of the end of a run."""
    assert totals["restarts"] == kills, totals
    assert totals["lost"] <= kills, totals
    most = 8 * WORKERS * 16 * 4  # what was on its way when the run was stopped
    assert 0 <= totals["dropped"] <= most, totals
    assert not multiprocessing.active_children()


def main() -> None:
    machine.prepare()
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    names = [word for word in sys.argv[1:] if "=" not in word] or PARADIGMS
    kills, seed = int(words.get("kills", 10)), int(words.get("seed", 0))
    print("| paradigm | kills | stepping again, s: p50 | p95 | lost | dropped env steps |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        seconds, totals = suffer(name, kills, seed)
        half, most = np.percentile(seconds, (50, 95))
        lost, dropped = totals["lost"], totals["dropped"]
        print(f"| `{name}` | {kills} | {half:.1f} | {most:.1f} | {lost} | {dropped} |", flush=True)


if __name__ == "__main__":
    main()
