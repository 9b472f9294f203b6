"""One process does everything. Read it first: every other paradigm generalises this loop.

env <-> Actor.collect -> Replay.add ; Replay.sample -> learn -> descend -> Local
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from paradigms.base import Job, Progress, Result
from paradigms.loop.drive import Driver
from paradigms.loop.every import Every
from paradigms.loop.ledger import LEARNER


@dataclass(frozen=True)
class Sequential:
    """Collect a fragment, store it, learn while updates are due, and again."""

    name = "sequential"
    workers = 1
    needs = frozenset[str]()
    offers = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Yields a Progress after every fragment. Raises NotFinite if the env returns a NaN."""
        run = Driver(job, workers=1)
        parts, ledger, pace = run.components, run.ledger, run.components.pace
        actor, learner = parts.actor(run.agent, rank=0), parts.learner(run.agent)
        should_log = Every(seconds=1.0)

        while not pace.spent() and not run.stopping:
            with ledger.timed("collecting", rank=0):
                fragment = actor.collect(version=ledger.total("updates"))
            ledger.collected(0, fragment.n_valid, actor.take_episodes())
            ledger.stored(0, parts.replay.add(fragment), fragment.version)

            learner.reached(pace.progress())
            with ledger.timed("learning", LEARNER):
                while pace.claim(1):
                    ledger.learned(LEARNER, learner.update(ledger.total("learns")))
            yield run.progress(learner.metrics() if should_log() else {})

        actor.env.close()
        return run.result()
