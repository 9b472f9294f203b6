"""What a user sets for a run, beside its job: fields are named as the keys of conf/config.yaml.

Defaults are in the YAML alone. The annotations carry the bounds, which conf/ checks; nothing here
does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The run ends after so many env steps, over all workers, or after so many seconds since its
    process began; None: no limit of seconds."""

    env_steps: Annotated[int, Ge(1)]
    seconds: Annotated[float, Gt(0)] | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Greedy episodes on the reference env.

    where: a process of its own, this process between two fragments, or the workers (dcollect and
    dupdate; their returns are only logged). every_seconds: wall-clock seconds between two
    submissions, at least; None: no evaluation while training. share: the largest share of one core
    that evaluation takes on average while training. episodes: of one evaluation. confirm_episodes:
    of each policy that is confirmed or measured; 0: none is.
    """

    where: Literal["process", "inline", "worker"]
    every_seconds: Annotated[float, Ge(0)] | None
    share: Annotated[float, Gt(0), Le(1)]
    episodes: Annotated[int, Ge(1)]
    confirm_episodes: Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """every_env_steps: a checkpoint whenever a multiple of it has been passed; None: none while
    training. at_end: one when the run ends (after a signal there is one in any case). keep: how
    many checkpoints stay, the newest ones; beside them the one nearest to the best policy."""

    every_env_steps: Annotated[int, Ge(1)] | None
    at_end: bool
    keep: Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """stop_when_solved: end when a policy is confirmed (see SolveTracker). journal: whether it
    is written. resume: the folder of a run to go on with. score: what a
    sweeper gets, the final return or the seconds to the threshold."""

    budget: Budget
    evaluation: Evaluation
    checkpoint: Checkpointing
    stop_when_solved: bool
    journal: bool
    resume: str | None
    score: Literal["return", "seconds"]
