"""The side of a run that starts the roles: what they share, and the loop over their reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agents.base import Agent
from agents.parts.vector import Vector
from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.experience.replay import Replay
from paradigms.loop.build import make_agent, make_pace
from paradigms.loop.pace import Pace
from paradigms.loop.totals import Meter
from paradigms.runtime.crew import Crew

TakeSnapshot = Callable[[str], Snapshot]


@dataclass
class Components:
    """The parent's: built once, before any process starts; what is shared is passed on to roles."""

    job: Job
    agent: Agent
    vector: Vector
    replay: Replay
    pace: Pace
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.pace)
        if (state := self.job.resume) is not None:
            self.replay.load(state["replay"])
            self.pace.load(state["pace"])
            self.vector.load("all", state["floats"], state["counts"])
            self.job = replace(self.job, resume=None)  # or every role would get a snapshot of it

    def progress(
        self, metrics: dict[str, float], snapshot: TakeSnapshot, stop: Callable[[], None]
    ) -> Progress:
        """Where the run stands now."""
        self.meter.note(metrics)
        pace = self.pace
        return Progress(
            env_steps=pace.total("added"),
            updates=pace.total("updates"),
            episodes=pace.total("episodes"),
            seconds=time.time() - self.job.started,
            metrics=metrics,
            snapshot=snapshot,
            save=lambda: self.save(snapshot("all")),
            stop=stop,
        )

    def save(self, newest: Snapshot) -> dict[str, Any]:
        """The complete state. Running episodes are not in it: whoever resumes starts new ones."""
        return {
            "pace": self.pace.save(),
            "replay": self.replay.save(),
            "floats": newest.floats,
            "counts": newest.counts,
        }

    def follow(
        self, crew: Crew, snapshot: TakeSnapshot, **totals: Callable[[], Any]
    ) -> Generator[Progress, None, Result]:
        """Drives a crew to its end, yielding progress; `totals` are asked at the end."""
        time_by_role: dict[str, dict[str, float]] = {}
        with crew:
            for report in crew.run():
                if report.kind == "finished":
                    time_by_role[report.name] = _shares(report.data)
                metrics = report.data if report.kind == "metrics" else {}
                progress = self.progress(metrics, snapshot, crew.stop)
                if report.kind == "restarted":
                    words = f"{report.name} {report.data['cause']}, and is replaced"
                    progress = replace(progress, notes=((words, report.data["trace"]),))
                yield progress
        others = {name: ask() for name, ask in totals.items()}
        blocked = [s.get("pace", 0.0) for name, s in time_by_role.items() if "worker" in name]
        learners = [s for name, s in time_by_role.items() if name == "learner"] or [
            *time_by_role.values()
        ]
        totals_now = self.meter.totals(
            time_by_role=time_by_role,
            learner_busy=float(np.mean([s["busy"] for s in learners] or [0.0])),
            actor_blocked=float(np.mean(blocked or [0.0])),
            restarts=crew.restarts,
            torn=self.replay.torn,
            duplicated=self.replay.duplicated,
            late=self.replay.late,
            **others,
        )
        return Result(snapshot("all"), totals_now)


def make_components(job: Job, *, workers: int) -> Components:
    """Agent, replay with a writer a worker, and counters, restored where the job resumes."""
    agent = make_agent(job)
    replay = job.make_replay(
        job.spec.with_extras(agent.extras),
        writers=workers,
        num_envs=job.num_envs,
        rollout_length=job.rollout_length,
        n_step=agent.n_step,
        gamma=agent.gamma,
        device=job.device,
    )
    return Components(job, agent, agent.vector, replay, make_pace(job, replay, workers))


def _shares(data: dict[str, Any]) -> dict[str, float]:
    """What a role reported when it finished, as shares of its time."""
    total = max(1e-9, float(data["total"]))
    waits = {what: seconds / total for what, seconds in data["seconds"].items()}
    return {"seconds": total, "busy": max(0.0, 1 - sum(waits.values())), **waits}
