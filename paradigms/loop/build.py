"""What the processes of a run are made of: everything here is built from the job alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.parts.vector import Vector
from paradigms.base import Job
from paradigms.experience.batches import DrawnBatches
from paradigms.experience.nothing import Nothing
from paradigms.experience.replay import Replay, Source
from paradigms.experience.uniform import Uniform
from paradigms.loop.actor import Actor
from paradigms.loop.episodes import EvaluationTask
from paradigms.loop.learner import Learner
from paradigms.loop.ledger import Ledger
from paradigms.loop.pace import Consumed, Once, Pace


@dataclass(frozen=True)
class Components:
    """What all processes of a run share, pickled to each of them; and what each builds for itself.

    `replay`, `ledger` and `pace` lie in shared memory. Agents built here are alike in every bit.
    """

    job: Job
    replay: Replay
    ledger: Ledger
    pace: Pace

    def agent(self) -> Agent:
        """An agent on a vector of its own."""
        return make_agent(self.job)

    def actor(self, agent: Agent, rank: int) -> Actor:
        """The actor of worker `rank`, going on after the rank's last fragment."""
        job, ledger = self.job, self.ledger

        def fresh() -> VectorEnv[Any, Any, Any]:
            """Other episodes for every stretch of a run: a resumed or replaced actor starts
            anew."""
            seed = job.seed + 1_000_003 * ledger.own("fragments", rank)
            env: VectorEnv[Any, Any, Any] = job.make_env(
                num_envs=job.num_envs, seed=seed, rank=rank
            )
            return env

        actor = Actor(
            fresh(),
            agent,
            self.replay.layout,
            explore=job.explore,
            seed=job.seed,
            rank=rank,
            workers=ledger.workers,
            renew=fresh,
            every_env_steps=job.checkpoint.every_env_steps,
            failed=functools.partial(ledger.failed, rank),
        )
        actor.resume(ledger.own("fragments", rank), ledger.own("collected", rank))
        return actor

    def recover(self, rank: int) -> None:
        """For worker `rank`, if it replaces one that stored and learned by itself: puts right what
        that one counted and did not do, or did and did not count. Its open fragment or update is
        lost, and counted as such; env steps that did not reach the replay were never collected,
        and updates that were claimed and not made are due again."""
        ledger = self.ledger
        ledger.count("lost", rank)
        ledger.stored(rank, self.uncounted(rank), ledger.total("updates"))
        ledger.withdraw(rank)
        self.pace.recover(rank)

    def uncounted(self, rank: int) -> int:
        """How many transitions of worker `rank` are in the replay, and not in the ledger, because
        it died between the two."""
        ledger = self.ledger
        transitions = ledger.own("added", rank) // ledger.action_repeat
        return self.replay.uncounted(rank, transitions, ledger.own("arrived", rank))

    def learner(
        self,
        agent: Agent,
        *,
        rank: int = 0,
        source: Source | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Learner:
        """The learner of a process; rank 0 draws what sequential draws. source: where batches come
        from, if not from the replay; ranks: whose transitions they have, None for everybody's."""
        return Learner(
            agent,
            source or self.replay,
            batch_size=self.job.batch_size or 0,
            seed=self.job.seed,
            rank=rank,
            ranks=ranks,
            lr_schedule=self.job.lr_schedule,
            skipped=functools.partial(self.ledger.skipped, rank),
        )

    def evaluation(self, agent: Agent, rank: int) -> EvaluationTask | None:
        """The worker's own evaluation, where `evaluation.where=worker` asks for it."""
        if self.job.evaluation.where != "worker":
            return None
        return EvaluationTask(self.job, agent, rank, functools.partial(self.ledger.failed, rank))


def without_replay(job: Job) -> Job:
    """The job of a paradigm that keeps no transitions of its own."""
    kept = {"make_replay": Nothing, "batch_size": None, "updates_per_env_step": 0.0, "warmup": 0}
    return replace(job, **kept)  # type: ignore[arg-type]


def make_agent(job: Job) -> Agent:
    """One agent on one vector; all processes build the same."""
    agent = job.make_agent(job.spec, seed=job.seed, device=job.device)
    Vector(agent)
    return agent


def make_replay(job: Job, agent: Agent, writers: int) -> Replay:
    """The job's replay, for the columns that the agent emits and so many writing processes."""
    replay: Replay = job.make_replay(
        job.spec.with_extras(agent.extras),
        writers=writers,
        num_envs=job.num_envs,
        rollout_length=job.rollout_length,
        n_step=agent.n_step,
        gamma=agent.gamma,
        device=job.device,
    )
    return replay


def make_pace(job: Job, replay: Replay, ledger: Ledger) -> Pace:
    """The pace that is held: a ratio's, or that of a replay whose fragments are consumed once.

    Raises ValueError if `updates_per_env_step` is a number for the second kind or null for the
    first.
    """
    limits = {"max_ahead": job.max_ahead, "env_steps": job.budget.env_steps}
    if job.updates_per_env_step is not None and not replay.once:
        return Pace(
            ledger,
            updates_per_env_step=job.updates_per_env_step,
            warmup=job.warmup,
            **limits,
        )
    if job.updates_per_env_step is None and replay.once:
        return Once(ledger, cast(Consumed, replay), **limits)
    raise ValueError(
        f"replay={replay.kind} consumes each transition once: set updates_per_env_step=null"
        if replay.once
        else f"replay={replay.kind} keeps its transitions: set updates_per_env_step to a number"
    )


def whose(sample_from: str | None, replay: Replay, rank: int) -> tuple[int, ...] | None:
    """The ranks whose transitions worker `rank` learns from; None for everybody's.

    `sample_from` is the paradigm's setting: `all`, `own`, or None for what suits the replay.
    """
    if sample_from not in (None, "all", "own"):
        raise ValueError(f"paradigm.sample_from={sample_from} is unknown; choose own, all or null")
    if sample_from == "all" and replay.once:
        raise ValueError(_consumed_once(replay))
    return None if sample_from == "all" or (sample_from is None and replay.shared) else (rank,)


def make_drawn_batches(
    sample_from: str | None, job: Job, replay: Replay, batches: int
) -> DrawnBatches | None:
    """The buffer of learner-drawn batches, `batches` of them a worker; None if workers sample
    themselves.

    Used when `sample_from` is `learner`, or by default for a replay that only one process can
    sample where several workers learn.
    """
    if sample_from != "learner" and (
        sample_from or replay.shared or replay.once or job.workers == 1
    ):
        return None
    if not isinstance(replay, Uniform):
        raise ValueError(_consumed_once(replay))
    sizes = {"workers": job.workers, "batches": batches, "size": job.batch_size or 0}
    return DrawnBatches(replay, **sizes, seed=job.seed, device=job.device)


def _consumed_once(replay: Replay) -> str:
    return (
        f"replay={replay.kind} consumes each transition once, in the process that collected it:"
        " set paradigm.sample_from=own"
    )
