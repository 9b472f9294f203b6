"""What every process of a run builds from its job: agent, actor, learner and pace."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.parts.vector import Vector
from paradigms.base import Job
from paradigms.experience.batches import Samples
from paradigms.experience.replay import Replay, Source
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.actor import Actor
from paradigms.loop.learner import Learner
from paradigms.loop.pace import Once, Pace


def make_agent(job: Job) -> Agent:
    """One agent on one vector; all processes build the same."""
    agent = job.make_agent(job.spec, seed=job.seed, device=job.device)
    Vector(agent)
    return agent


def make_pace(job: Job, replay: Replay, workers: int) -> Pace:
    """The pace that is held: a ratio's, or that of a replay which hands out each transition
    once."""
    limits = {
        "max_ahead": job.max_ahead,
        "workers": workers,
        "limit": job.env_steps,
        "action_repeat": job.spec.action_repeat,
    }
    if job.updates_per_env_step is not None and not replay.once:
        return Pace(updates_per_env_step=job.updates_per_env_step, warmup=job.warmup, **limits)
    if job.updates_per_env_step is None and replay.once:
        return Once(cast(Rollout, replay), **limits)
    raise ValueError(
        f"replay={replay.kind} hands out each transition once: set updates_per_env_step=null"
        if replay.once
        else f"replay={replay.kind} keeps its transitions: set updates_per_env_step to a number"
    )


def make_actor(job: Job, agent: Agent, replay: Replay, pace: Pace, rank: int) -> Actor:
    """The actor of a worker, going on after `rank`'s last fragment."""

    def fresh() -> VectorEnv[Any, Any, Any]:
        """Other episodes for every stretch of a run: a resumed or replaced actor starts anew."""
        seed = job.seed + 1_000_003 * pace.own("fragments", rank)
        env: VectorEnv[Any, Any, Any] = job.make_env(num_envs=job.num_envs, seed=seed, rank=rank)
        return env

    actor = Actor(
        fresh(),
        agent,
        replay.layout,
        explore=job.explore,
        seed=job.seed,
        rank=rank,
        workers=pace.workers,
        renew=fresh,
        renew_every=job.checkpoint_env_steps,
    )
    actor.resume(pace.own("fragments", rank), pace.own("collected", rank))
    return actor


def whose(sample_from: str | None, replay: Replay, rank: int) -> tuple[int, ...] | None:
    """The ranks whose transitions a worker learns from: its `own`, or None for everybody's.
    `sample_from` is the paradigm's setting: `all`, `own`, or None for what suits the replay."""
    if sample_from not in (None, "all", "own"):
        raise ValueError(f"paradigm.sample_from={sample_from} is unknown; choose own, all or null")
    if sample_from == "all" and replay.once:
        raise ValueError(
            f"replay={replay.kind} hands out each transition once, to whoever collected it:"
            " set paradigm.sample_from=own"
        )
    return None if sample_from == "all" or (sample_from is None and replay.shared) else (rank,)


def make_samples(sample_from: str | None, job: Job, replay: Replay, batches: int) -> Samples | None:
    """Room for `batches` of the learner's samples a worker, where `sample_from` is `learner`, or
    None and the replay has one process that draws for several."""
    if sample_from != "learner" and (
        sample_from or replay.shared or replay.once or job.workers == 1
    ):
        return None
    if not isinstance(replay, Uniform):
        raise ValueError(
            f"replay={replay.kind} hands out each transition once, to whoever collected it:"
            " set paradigm.sample_from=own"
        )
    sizes = {"workers": job.workers, "batches": batches, "size": job.batch_size or 0}
    return Samples(replay, **sizes, seed=job.seed, device=job.device)


def make_learner(job: Job, agent: Agent, replay: Source, rank: int = 0, **options: Any) -> Learner:
    """The learner of a process; rank 0 is the one that sequential has."""
    size = job.batch_size or 0
    return Learner(agent, replay, batch_size=size, seed=job.seed, rank=rank, **options)


def note_collected(actor: Actor, pace: Pace, rank: int, transitions: int) -> dict[str, float]:
    """Counts a fragment of so many valid transitions and finished episodes; returns the numbers of
    the latter."""
    episodes = actor.take_episodes()
    pace.collected(rank, transitions)
    pace.count("episodes", rank, len(episodes))
    pace.count("length", rank, sum(length for _, length in episodes))
    if not episodes:
        return {}
    return {
        "episode/return": float(np.mean([r for r, _ in episodes])),
        "episode/length": float(np.mean([n for _, n in episodes])),
    }
