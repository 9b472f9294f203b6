"""Small jobs on toy envs, and what is left of a run: shared by the tests of laws and parts.

Factories are plain functions and classes of importable modules, so that jobs can go to processes.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.actor_critic import ActorCritic
from agents.base import Agent, Spec
from agents.dqn import DQN
from agents.parts.explore import Warmup
from agents.parts.optim import Local
from agents.parts.schedule import Factor
from agents.parts.vector import Vector
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from envs.make import describe, make_env
from paradigms.allreduce import AllReduce
from paradigms.base import Job, Progress, Result
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.evolution import ARS, ES
from paradigms.experience.elite import Elite
from paradigms.experience.layout import layout_of
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Fifo, Rollout
from paradigms.experience.uniform import Uniform
from paradigms.gorila import Gorila
from paradigms.gossip import Gossiping
from paradigms.hogwild import Hogwild
from paradigms.loop import build
from paradigms.loop.pace import Once, Pace
from paradigms.runtime import machine
from paradigms.sequential import Sequential
from paradigms.settings import Budget, Checkpointing, Evaluation
from tests.idler import Idler as Idler
from tests.reinforce import Reinforce

if TYPE_CHECKING:
    import pytest

torch.set_num_threads(1)  # as every process of a run does; the bits depend on it

NO_CHECKPOINTS = Checkpointing(every_env_steps=None, at_end=False, keep=1)
NO_EVALUATION = Evaluation(
    where="inline", every_seconds=None, share=1.0, episodes=1, confirm_episodes=0
)
PARADIGMS: Mapping[str, Any] = {
    "sequential": Sequential(),
    "dcollect": DCollect(),
    "dupdate": DUpdate(),
    "hogwild": Hogwild(),
    "locked": Hogwild(locked=True),
    "a3c": Hogwild(copy="rollout"),
    "allreduce": AllReduce(),
    "gossip": Gossiping(every=2),
    "gorila": Gorila(shards=2),
}
EVOLVED: Mapping[str, Any] = {  # without gradients: no replay, no pace, and no `learn`
    "es": ES(pairs=3),
    "ars": ARS(pairs=3, top=2),
}


def sac(spec: Spec, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any) -> SAC:
    """A SAC of 16 x 16 units; `fused=False` is the Adam that complains about stale graphs."""
    agent = SAC(spec, seed, device, **{"hidden_sizes": (16, 16), "lr": 1e-3, **options})
    agent.optim = Local(fused=fused)
    return agent


def laid(agent: Agent) -> Agent:
    """The agent on a vector of its own."""
    Vector(agent)
    return agent


def world(name: str = "Identity", **options: Any) -> Callable[..., Any]:
    """A factory of one of our toy envs."""
    return functools.partial(make_env, id=f"paceline/{name}-v0", **options)


def job(
    worlds: Callable[..., Any] | None = None,
    agent: Callable[..., Agent] = sac,
    *,
    capacity: int = 10_000,
    **changes: Any,
) -> Job:
    """One worker with two envs in lockstep, one update an env step after 32, inline.

    `changes` are fields of Job, or of its budget, checkpoint and evaluation.
    """
    worlds = world() if worlds is None else worlds
    changes |= {
        name: replace(default, **{key: changes.pop(key) for key in keys if key in changes})
        for name, default, keys in (
            ("budget", Budget(env_steps=128, seconds=None), ["env_steps"]),
            ("checkpoint", NO_CHECKPOINTS, ["every_env_steps"]),
            ("evaluation", NO_EVALUATION, ["where"]),
        )
        if name not in changes
    }
    plain = Job(
        spec=describe(worlds),
        make_agent=agent,
        make_env=worlds,
        make_replay=functools.partial(Uniform, capacity=capacity),
        explore=Warmup(changes.get("warmup", 32)),
        lr_schedule=Factor(end=0.1, hold=0.5),
        workers=1,
        num_envs=2,
        rollout_length=8,
        batch_size=16,
        updates_per_env_step=1.0,
        warmup=32,
        max_ahead=0,
        policy_lag=0,
        seed=0,
        device="cpu",
        crew="inline",
        budget=changes["budget"],
        evaluation=changes["evaluation"],
        checkpoint=changes["checkpoint"],
        started=time.time(),
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class Pupil:
    """An agent as the laws try it: on which env, with which replay, and what its job changes."""

    make: Callable[..., Agent]
    world: Callable[..., Any] = field(default_factory=world)
    replay: Callable[..., Any] | None = None  # Uniform
    changes: Mapping[str, Any] = field(default_factory=dict)

    def job(self, **changes: Any) -> Job:
        """A job of this agent; `changes` win."""
        replay = {} if self.replay is None else {"make_replay": self.replay}
        return job(self.world, self.make, **{**replay, **self.changes, **changes})


SMALL = {"hidden_sizes": (16, 16)}
SEEING: Mapping[str, Any] = {**SMALL, "encoder": "conv", "features": 8}
ONCE = {"updates_per_env_step": None, "warmup": 0, "batch_size": None, "rollout_length": 4}
DISCRETE = world("IdentityDiscrete")
SPOT, SPOTS = (world(name, kwargs={"size": 8}) for name in ("Spot", "SpotDiscrete"))
DICT = world("IdentityDict", kwargs={"size": 8})
DRIFT = world("Drift", kwargs={"size": 8}, stack=3)
SHIFTED = functools.partial(Uniform, capacity=10_000, shift=2)
PRIORITIZED = functools.partial(Prioritized, capacity=10_000, beta_samples=500)
RAINBOW: Mapping[str, Any] = {  # conf/agent/rainbow.yaml
    "eps": 1.5e-4,
    "n_step": 3,
    "double": True,
    "dueling": True,
    "head": "categorical",
    "noisy": True,
    "store_q": True,  # as conf/paradigm/apex.yaml has it
}
AGENTS: Mapping[str, Pupil] = {
    "sac": Pupil(sac),
    "sac with the plain Adam": Pupil(functools.partial(sac, fused=False)),
    "sac, prioritized": Pupil(sac, replay=PRIORITIZED),
    "sac, ape-x": Pupil(functools.partial(sac, store_q=True, n_step=2), replay=PRIORITIZED),
    "sac, elite": Pupil(sac, replay=functools.partial(Elite, capacity=10_000, share=0.5)),
    "td3": Pupil(functools.partial(TD3, **SMALL)),
    "tqc": Pupil(functools.partial(sac, quantiles=5, drop=1)),
    "dqn": Pupil(functools.partial(DQN, **SMALL), DISCRETE),
    "rainbow": Pupil(functools.partial(DQN, **SMALL, **RAINBOW), DISCRETE, PRIORITIZED),
    "sac_discrete": Pupil(functools.partial(DiscreteSAC, **SMALL), DISCRETE),
    "sac with images": Pupil(functools.partial(sac, **SEEING), SPOT),
    "td3 with images": Pupil(functools.partial(TD3, **SEEING), SPOT),
    "sac_discrete with a dict": Pupil(functools.partial(DiscreteSAC, **SEEING), DICT),
    "sac with a vae": Pupil(
        functools.partial(sac, **{**SEEING, "encoder": "vae"}), world("Spot", kwargs={"size": 16})
    ),
    "dqn with images": Pupil(functools.partial(DQN, **SEEING), SPOTS),
    "dqn with frames": Pupil(functools.partial(DQN, **SEEING, n_step=2), DRIFT, SHIFTED),
    "rainbow with frames": Pupil(
        functools.partial(DQN, **{**SEEING, "encoder": "impala"}, **RAINBOW), DRIFT, PRIORITIZED
    ),
    "ppo with a dict": Pupil(
        functools.partial(PPO, epochs=2, minibatches=2, **SEEING), DICT, Rollout, ONCE
    ),
    "ppo with frames": Pupil(
        functools.partial(PPO, epochs=2, minibatches=2, critic_weight=0.5, **SEEING),
        DRIFT,
        Rollout,
        ONCE,
    ),
    "actor_critic with images": Pupil(
        functools.partial(ActorCritic, lstm=4, critic_weight=0.5, **SEEING),
        SPOTS,
        Rollout,
        {**ONCE, "rollout_length": 2},
    ),
    "reinforce": Pupil(functools.partial(Reinforce, passes=3), replay=Rollout, changes=ONCE),
    "reinforce, fifo": Pupil(
        functools.partial(Reinforce, passes=4),
        replay=functools.partial(Fifo, fragments=2),
        changes=ONCE,
    ),
    "ppo": Pupil(
        functools.partial(PPO, epochs=2, minibatches=2, **SMALL), replay=Rollout, changes=ONCE
    ),
    "actor_critic": Pupil(
        functools.partial(ActorCritic, **SMALL), DISCRETE, Rollout, {**ONCE, "rollout_length": 2}
    ),
    "actor_critic with a memory": Pupil(
        functools.partial(ActorCritic, lstm=8, **SMALL),
        DISCRETE,
        Rollout,
        {**ONCE, "rollout_length": 2},
    ),
}


@dataclass(frozen=True)
class Ended:
    """A run that is over: its Result, and everything that could be saved at its end."""

    job: Job
    result: Result
    state: dict[str, Any]

    @property
    def floats(self) -> torch.Tensor:
        return self.result.final.floats

    @property
    def totals(self) -> dict[str, Any]:
        return self.result.totals

    def stored(self) -> list[np.ndarray]:
        """What the replay holds: transitions of each stream, oldest first."""
        extras = self.job.make_agent(self.job.spec, seed=0, device="cpu").extras
        shape = (self.job.rollout_length, self.job.num_envs)
        spec = self.job.spec.with_extras(extras)
        row = layout_of(self.job.make_replay, spec, *shape).transition
        streams = [
            np.asarray(packed).view(row)[:, 0] for packed in self.state["replay"]["transitions"]
        ]
        return [stream[:-1] for stream in streams]  # the last one is only the write head's obs

    def same_as(self, other: Ended) -> None:
        """Asserts that both runs ended with the same bits."""
        for key in ("env_steps", "updates", "episodes"):
            assert self.totals[key] == other.totals[key]
        assert torch.equal(self.floats, other.floats)
        assert torch.equal(self.result.final.counts, other.result.final.counts)
        mine, others = self.state["replay"], other.state["replay"]
        assert mine.keys() == others.keys()
        for name in mine:
            if isinstance(mine[name], list):
                for one, two in zip(mine[name], others[name], strict=True):
                    assert torch.equal(one, two)
            else:
                assert np.array_equal(mine[name], others[name]), name


def counters(monkeypatch: pytest.MonkeyPatch) -> list[Pace]:
    """The Pace of every run that is begun from here on, as soon as it is begun."""
    paces: list[Pace] = []

    def noted(kind: type[Pace]) -> Callable[..., Pace]:
        def made(*args: Any, **options: Any) -> Pace:
            paces.append(kind(*args, **options))
            return paces[-1]

        return made

    for kind in (Pace, Once):
        monkeypatch.setattr(build, kind.__name__, noted(kind))
    return paces


def run(paradigm: Any, job: Job, look: Callable[[Progress], None] = lambda progress: None) -> Ended:
    """Runs a job to its end, on one thread; `look` sees every Progress."""
    machine.prepare()
    steps = paradigm.run(job)
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return Ended(job, end.value, progress.save())
        look(progress)
