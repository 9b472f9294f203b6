"""One process does everything in turn. Read it first: every other paradigm generalises this loop.

env <-> Actor.collect -> Replay.add ; Replay.sample -> learn -> descend -> Local
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.loop.build import make_actor, make_learner, note_collected
from paradigms.loop.drive import make_components


@dataclass(frozen=True)
class Sequential:
    """Collect a turn, store it, learn what is owed, and again."""

    name = "sequential"
    workers = 1
    needs = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        components = make_components(job, workers=1)
        job, agent, vector = components.job, components.agent, components.vector
        replay, pace = components.replay, components.pace
        actor = make_actor(job, agent, replay, pace, rank=0)
        learner = make_learner(job, agent, replay)
        seconds = {"collect": 0.0, "learn": 0.0}
        told = 0.0
        stopped: list[bool] = []

        def snapshot(part: str) -> Snapshot:
            floats = vector.floats[: vector.size(part)].detach().cpu().clone()
            return Snapshot(part, floats, vector.counts.clone(), pace.total("updates"))

        while not pace.spent() and not stopped:
            begun = time.monotonic()
            fragment = actor.collect(version=pace.total("updates"))
            learner.arrived(fragment, pace.total("updates"))
            metrics = note_collected(actor, pace, 0, fragment.steps)
            pace.arrived(0, replay.add(fragment))

            learning = time.monotonic()
            agent.progress = pace.share()
            agent.optim.lr_factor = job.lr_schedule(agent.progress)
            while pace.claim(1):
                pace.learned(-1, learner.update(pace.total("learns")))

            now = time.monotonic()
            seconds["collect"] += learning - begun
            seconds["learn"] += now - learning
            if now - told > 1:
                told, metrics = now, metrics | learner.metrics()
            yield components.progress(metrics, snapshot, lambda: stopped.append(True))

        actor.env.close()
        total = max(1e-9, sum(seconds.values()))
        shares = {"seconds": total, **{what: s / total for what, s in seconds.items()}}
        return Result(
            snapshot("all"),
            components.meter.totals(
                time_by_role={"main": shares},
                learner_busy=shares["learn"],
                torn=replay.torn,
                duplicated=replay.duplicated,
                late=replay.late,
            ),
        )
