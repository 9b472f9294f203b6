"""What a paradigm is: a generator over a Job that yields Progress and returns a Result.

The loop over it (train.py, and PBT over its members):

    run = paradigm.run(job)
    for progress in run:
        log(progress.metrics); if due: evaluator.submit(progress.snapshot("evaluate")); if ...:
        progress.stop()
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from agents.base import Agent, Spec
from paradigms.settings import Budget, Checkpointing, Evaluation


@dataclass(frozen=True)
class Snapshot:
    """A part of an agent at one version: `floats` and `counts` are private copies.

    `version` counts the updates behind it; the other fields say when it was taken.
    """

    part: str
    floats: torch.Tensor
    counts: torch.Tensor
    version: int
    env_steps: int = 0
    episodes: int = 0
    updates: int = 0
    seconds: float = 0.0

    def into(self, agent: Agent) -> None:
        """Gives `agent` these weights, and the counts with the part "all"."""
        agent.vector.load(self.part, self.floats, self.counts if self.part == "all" else None)


@dataclass(frozen=True)
class Progress:
    """Where a run stands, at a moment where everything may be saved.

    `metrics` are scalars by TensorBoard name since the last progress (may be empty); `means` are
    (sum, number) since the run began, whose differences give the mean over any stretch of it;
    `snapshot(part)` takes the newest weights; `save()` returns the complete state as nested dicts
    of tensors and numbers; `stop()` asks the run to end soon: the generator then returns its Result
    as if the budget were spent; `notes` are what a person should hear, each with details for the
    log alone; `totals()` is what `Result.totals` would be now.
    """

    env_steps: int
    updates: int
    episodes: int
    seconds: float
    metrics: dict[str, float]
    means: dict[str, tuple[float, int]]
    snapshot: Callable[[str], Snapshot]
    save: Callable[[], dict[str, Any]]
    stop: Callable[[], None]
    notes: tuple[tuple[str, str], ...] = ()
    totals: Callable[[], dict[str, Any]] = dict


@dataclass(frozen=True)
class Result:
    """What a run leaves behind: its last weights ("all") and the totals that result.json reports.

    `totals` has env_steps, episodes, updates, updates_per_env_step, env_steps_per_second,
    updates_per_second, episode_length_mean, policy_lag_mean, policy_lag_max, replay_age_mean,
    learner_busy, actor_blocked, time_by_role, bytes_moved, merges, restarts, dropped, duplicated,
    torn, late, lost, skipped, env_errors: those that do not apply to a paradigm are 0.
    """

    final: Snapshot
    totals: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything about a run that is not topology; frozen, the same for every paradigm. Fields that
    conf/config.yaml has are named as there, and have no default here.

    make_agent(spec, seed=, device=), make_env(num_envs=, seed=, rank=) and make_replay(spec, ...)
    are factories. explore(env_steps, index, count) -> float: the probability of a random action, by
    a worker's own env steps x workers, the global index of an env, and the number of all envs.
    lr_schedule(progress) -> the learning rates' factor, by the share of the env-step budget that is
    done, in [0, 1].

    workers: processes that step envs. num_envs: envs of one worker. rollout_length: vector steps of
    a fragment. batch_size: transitions of a batch, None with a replay of whole fragments.
    updates_per_env_step: the ratio that is held, None where the replay sets the pace. warmup: env
    steps over all workers before the first update. max_ahead: updates by which collecting may be
    ahead; 0 is lockstep. policy_lag: updates by which the acting weights are older than the newest,
    in lockstep. crew: "process" or "inline".

    order: who goes next in an inline crew (runtime/order.py), None for round robin. journal: the
    file to record scheduling events in. resume: what Progress.save() returned. started: the time
    (Unix seconds) from which Progress.seconds counts.
    """

    spec: Spec
    make_agent: Callable[..., Agent]
    make_env: Callable[..., Any]
    make_replay: Callable[..., Any]
    explore: Callable[[int, int, int], float]
    lr_schedule: Callable[[float], float]
    workers: int
    num_envs: int
    rollout_length: int
    batch_size: int | None
    updates_per_env_step: float | None
    warmup: int
    max_ahead: int
    policy_lag: int
    seed: int
    device: str
    crew: str
    budget: Budget
    evaluation: Evaluation
    checkpoint: Checkpointing
    order: Any = None
    journal: str | None = None
    resume: dict[str, Any] | None = None
    started: float = 0.0


class Paradigm(Protocol):
    """How the work is spread over processes: a small dataclass that holds only topology.

    `needs`: what it asks of the agent (compared with `agent.offers`); `offers`: the settings of a
    run that not every paradigm has, "policy_lag" and "evaluation.where=worker"; `replays`: kinds it
    works with. `ignores`: settings of a run, or whole groups of them, that mean nothing to it; who
    types one is refused. `replays` and `ignores` may be missing: all kinds, and none. `workers`:
    how many step envs whatever was asked for, None for as many as that.
    """

    name: str
    workers: int | None
    needs: frozenset[str]
    offers: frozenset[str]

    def run(self, job: Job) -> Generator[Progress, None, Result]: ...
