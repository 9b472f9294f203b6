"""What a paradigm is: a generator over a Job that yields Progress and returns a Result.

The loop over it (train.py, and PBT over its members):

    run = paradigm.run(job)
    for progress in run:
        log(progress.metrics); if due: evaluator.submit(progress.snapshot("evaluate")); if ...:
        progress.stop()
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from agents.base import Agent, Spec


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
    log alone.
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


@dataclass(frozen=True)
class Result:
    """What a run leaves behind: its last weights ("all") and the totals that result.json reports.

    `totals` has env_steps, episodes, updates, updates_per_env_step, env_steps_per_second,
    updates_per_second, episode_length_mean, policy_lag_mean, policy_lag_max, replay_age_mean,
    learner_busy, actor_blocked, time_by_role, bytes_moved, merges, restarts, dropped, duplicated,
    torn, late, lost: those that do not apply to a paradigm are 0.
    """

    final: Snapshot
    totals: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Everything about a run that is not topology; frozen, the same for every paradigm.

    make_agent(spec, seed=, device=), make_env(num_envs=, seed=, rank=) and make_replay(...) are
    factories. `rollout_length` is in vector steps, `env_steps` (the budget) in env steps, `warmup`
    in env steps over all workers. `updates_per_env_step` is updates per env step, or None with a
    replay that hands out each row once: it sets the pace, and `batch_size` is None too.
    `max_ahead` is in updates; 0 is lockstep. `explore(steps, index, count)` -> float: own env steps
    x workers, global env index, number of envs. `lr_schedule(progress)` -> learning-rate factor
    from the share of the env-step budget done, 0..1. `resume` is what Progress.save() returned, or
    None. Every `checkpoint_env_steps` actors give their episodes up, so that a checkpoint of the
    next progress is exact (sequential). `crew`: "process" or "inline"; `order`: see journal.
    """

    spec: Spec
    make_agent: Callable[..., Agent]
    make_env: Callable[..., Any]
    make_replay: Callable[..., Any]
    explore: Callable[[int, int, int], float]
    lr_schedule: Callable[[float], float]
    env_steps: int
    workers: int = 2
    num_envs: int = 1
    rollout_length: int = 16
    batch_size: int | None = 256
    updates_per_env_step: float | None = 1.0
    warmup: int = 1000
    max_ahead: int = 1000
    policy_lag: int = 0
    seed: int = 0
    device: str = "cpu"
    crew: str = "process"
    order: Any = None
    journal: str | None = None
    resume: dict[str, Any] | None = None
    checkpoint_env_steps: int | None = None
    evaluate_in_worker: bool = False
    started: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


class Paradigm(Protocol):
    """How the work is spread over processes: a small dataclass that holds only topology.

    `needs`: what it asks of the agent (compared with `agent.offers`); `offers`: the settings of a
    run that not every paradigm has, "policy_lag" and "evaluation.where=worker"; `replays`: kinds it
    works with. `workers`: how many step envs whatever was asked for, None for as many as that.
    """

    name: str
    workers: int | None
    needs: frozenset[str]
    offers: frozenset[str]

    def run(self, job: Job) -> Generator[Progress, None, Result]: ...
