"""One process does everything in turn. Read it first: every other paradigm generalises this loop.

    env <-> Actor.collect -> Replay.add ; Replay.sample -> learn -> descend -> Local
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from agents.parts.vector import Vector
from paradigms.base import Copy, Job, Progress, Result
from paradigms.parts.actor import Actor
from paradigms.parts.learner import Learner
from paradigms.parts.meter import Meter
from paradigms.parts.pace import Pace


@dataclass(frozen=True)
class Sequential:
    """Collect a turn, store it, learn what is owed, and again."""

    name = "sequential"
    needs = frozenset[str]()

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        agent = job.make_agent(job.spec, seed=job.seed, device=job.device)
        vector = Vector(agent)
        spec = job.spec.with_extras(agent.extras)
        replay = job.make_replay(
            spec,
            writers=1,
            envs=job.envs,
            turn=job.turn,
            n_step=agent.n_step,
            gamma=agent.gamma,
            device=job.device,
        )
        env = job.make_env(num_envs=job.envs, seed=job.seed, rank=0)
        actor = Actor(env, agent, replay.rows, explore=job.explore, seed=job.seed)
        learner = Learner(agent, replay, batch_size=job.batch_size, seed=job.seed)
        pace = Pace(ratio=job.ratio, warmup=job.warmup, slack=0, workers=1, limit=job.env_steps)
        meter = Meter(pace)

        def copy(part: str) -> Copy:
            floats = vector.floats[: vector.size(part)].detach().cpu().clone()
            return Copy(part, floats, vector.counts.clone(), pace.total("updates"))

        def save() -> dict[str, Any]:
            parts = {"pace": pace, "replay": replay, "actor": actor}
            actor.reset()
            return {name: part.save() for name, part in parts.items()} | {
                "floats": vector.floats.cpu().clone(),
                "counts": vector.counts.clone(),
            }

        if job.resume is not None:
            for name, part in (("pace", pace), ("replay", replay), ("actor", actor)):
                part.load(job.resume[name])
            vector.load("all", job.resume["floats"], job.resume["counts"])

        seconds = {"collect": 0.0, "learn": 0.0}
        told = 0.0
        while not pace.spent():
            clock = time.monotonic()
            fragment = actor.collect(version=pace.total("updates"))
            learner.arrived(fragment, pace.total("updates"))
            pace.count("collected", 0, fragment.steps)
            pace.count("added", 0, replay.add(fragment))
            episodes = actor.take_episodes()
            pace.count("episodes", 0, len(episodes))
            pace.count("length", 0, sum(length for _, length in episodes))
            learning = time.monotonic()

            agent.optim.scale = job.scale(pace.share())
            while pace.claim(1):
                pace.count("updates", -1, learner.update(pace.total("updates")))
            now = time.monotonic()
            seconds["collect"] += learning - clock
            seconds["learn"] += now - learning

            metrics: dict[str, float] = {}
            if now - told > 1:
                told, metrics = now, learner.metrics()
            for episode_return, length in episodes:
                metrics |= {"episode/return": episode_return, "episode/length": length}
            meter.note(metrics)
            yield Progress(
                env_steps=pace.total("added"),
                updates=pace.total("updates"),
                episodes=pace.total("episodes"),
                seconds=time.time() - job.started,
                metrics=metrics,
                copy=copy,
                save=save,
            )
        env.close()
        totals = meter.totals(
            time_by_role={"main": seconds},
            learner_busy=seconds["learn"] / max(1e-9, sum(seconds.values())),
            torn=replay.torn,
            duplicated=replay.duplicated,
        )
        return Result(copy("all"), totals)
