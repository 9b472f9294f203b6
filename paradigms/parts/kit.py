"""What every process of a run starts from: the agent, the rows' layout, the replay and the
counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.parts.vector import Vector
from paradigms.base import Copy, Job, Progress, Result
from paradigms.parts.actor import Actor
from paradigms.parts.crew import Crew
from paradigms.parts.learner import Learner
from paradigms.parts.meter import Meter
from paradigms.parts.pace import Once, Pace
from paradigms.parts.replay import Uniform
from paradigms.parts.rollout import Rollout
from paradigms.parts.rows import Replay, Source
from paradigms.parts.samples import Samples

CopyPart = Callable[[str], Copy]


@dataclass
class Kit:
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
            self.job = replace(self.job, resume=None)  # or every role would get a copy of it

    def progress(
        self, metrics: dict[str, float], copy: CopyPart, stop: Callable[[], None]
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
            copy=copy,
            save=lambda: self.save(copy("all")),
            stop=stop,
        )

    def save(self, newest: Copy) -> dict[str, Any]:
        """The complete state. Running episodes are not in it: whoever resumes starts new ones."""
        return {
            "pace": self.pace.save(),
            "replay": self.replay.save(),
            "floats": newest.floats,
            "counts": newest.counts,
        }

    def follow(
        self, crew: Crew, copy: CopyPart, **totals: Callable[[], Any]
    ) -> Generator[Progress, None, Result]:
        """Drives a crew to its end, yielding progress; `totals` are asked at the end."""
        time_by_role: dict[str, dict[str, float]] = {}
        with crew:
            for report in crew.run():
                if report.kind == "finished":
                    time_by_role[report.name] = _shares(report.data)
                metrics = report.data if report.kind == "metrics" else {}
                progress = self.progress(metrics, copy, crew.stop)
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
        return Result(copy("all"), totals_now)


def make_agent(job: Job) -> Agent:
    """One agent on one vector; all processes build the same."""
    agent = job.make_agent(job.spec, seed=job.seed, device=job.device)
    Vector(agent)
    return agent


def make_kit(job: Job, *, workers: int) -> Kit:
    """Agent, replay with a writer a worker, and counters, restored where the job resumes."""
    agent = make_agent(job)
    replay = job.make_replay(
        job.spec.with_extras(agent.extras),
        writers=workers,
        envs=job.envs,
        turn=job.turn,
        n_step=agent.n_step,
        gamma=agent.gamma,
        device=job.device,
    )
    return Kit(job, agent, agent.vector, replay, make_pace(job, replay, workers))


def make_pace(job: Job, replay: Replay, workers: int) -> Pace:
    """The pace that is held: a ratio's, or that of a replay which hands out each row once."""
    limits = {
        "slack": job.slack,
        "workers": workers,
        "limit": job.env_steps,
        "repeat": job.spec.action_repeat,
    }
    if job.ratio is not None and not replay.once:
        return Pace(ratio=job.ratio, warmup=job.warmup, **limits)
    if job.ratio is None and replay.once:
        return Once(cast(Rollout, replay), **limits)
    raise ValueError(
        f"replay={replay.kind} hands out each row once: set updates_per_env_step=null"
        if replay.once
        else f"replay={replay.kind} keeps its rows: set updates_per_env_step to a number"
    )


def make_actor(job: Job, agent: Agent, replay: Replay, pace: Pace, rank: int) -> Actor:
    """The actor of a worker, going on after `rank`'s last fragment."""

    def fresh() -> VectorEnv[Any, Any, Any]:
        """Other episodes for every stretch of a run: a resumed or replaced actor starts anew."""
        seed = job.seed + 1_000_003 * pace.own("fragments", rank)
        env: VectorEnv[Any, Any, Any] = job.make_env(num_envs=job.envs, seed=seed, rank=rank)
        return env

    actor = Actor(
        fresh(),
        agent,
        replay.rows,
        explore=job.explore,
        seed=job.seed,
        rank=rank,
        workers=pace.workers,
        renew=fresh,
        renew_every=job.checkpoint_env_steps,
    )
    actor.resume(pace.own("fragments", rank), pace.own("collected", rank))
    return actor


def whose(rows: str | None, replay: Replay, rank: int) -> tuple[int, ...] | None:
    """The ranks whose rows a worker learns from: its `own`, or None for everybody's. `rows` is the
    paradigm's setting: `shared`, `own`, or None for what suits the replay."""
    if rows not in (None, "shared", "own"):
        raise ValueError(f"paradigm.rows={rows} is unknown; choose shared, own or null")
    if rows == "shared" and replay.once:
        raise ValueError(
            f"replay={replay.kind} hands out each row once, to whoever collected it:"
            " set paradigm.rows=own"
        )
    return None if rows == "shared" or (rows is None and replay.shared) else (rank,)


def make_samples(rows: str | None, job: Job, replay: Replay, batches: int) -> Samples | None:
    """Room for `batches` of the learner's samples a worker, where `rows` is `sent`, or None and the
    replay has one process that draws for several: rows of their own would be other problems."""
    if rows != "sent" and (rows or replay.shared or replay.once or job.workers == 1):
        return None
    if not isinstance(replay, Uniform):
        raise ValueError(
            f"replay={replay.kind} hands out each row once, to whoever collected it:"
            " set paradigm.rows=own"
        )
    sizes = {"workers": job.workers, "batches": batches, "size": job.batch_size or 0}
    return Samples(replay, **sizes, seed=job.seed, device=job.device)


def make_learner(job: Job, agent: Agent, replay: Source, rank: int = 0, **options: Any) -> Learner:
    """The learner of a process; rank 0 is the one that sequential has."""
    size = job.batch_size or 0
    return Learner(agent, replay, batch_size=size, seed=job.seed, rank=rank, **options)


def note_collected(actor: Actor, pace: Pace, rank: int, rows: int) -> dict[str, float]:
    """Counts a fragment of so many valid rows and finished episodes; returns the numbers of the
    latter."""
    episodes = actor.take_episodes()
    pace.collected(rank, rows)
    pace.count("episodes", rank, len(episodes))
    pace.count("length", rank, sum(length for _, length in episodes))
    if not episodes:
        return {}
    return {
        "episode/return": float(np.mean([r for r, _ in episodes])),
        "episode/length": float(np.mean([n for _, n in episodes])),
    }


def _shares(data: dict[str, Any]) -> dict[str, float]:
    """What a role reported when it finished, as shares of its time."""
    total = max(1e-9, float(data["total"]))
    waits = {what: seconds / total for what, seconds in data["seconds"].items()}
    return {"seconds": total, "busy": max(0.0, 1 - sum(waits.values())), **waits}
