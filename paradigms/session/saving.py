"""When a run saves its complete state, what is in it, and how a run goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from paradigms.base import Job, Progress
from paradigms.session.checkpoint import Checkpoints, Unsavable
from paradigms.settings import Checkpointing


class CheckpointSchedule:
    """Saves whenever a multiple of `every_env_steps` has been passed, and at the end.

    A checkpoint that cannot be written ends no run: `failures` counts it, and `say` hears of it.
    shape: what has to be the same when the run goes on (see `shape_of`). save_others: the state of
    what goes on beside the job (see Evaluations.save). best_at: the env steps of the best policy,
    None as long as there is none. saved_at: env steps of the checkpoint that the run was resumed
    from.
    """

    def __init__(
        self,
        folder: Path,
        settings: Checkpointing,
        shape: dict[str, int],
        save_others: Callable[[], dict[str, Any]],
        *,
        say: Callable[[str], None],
        best_at: Callable[[], int | None] = lambda: None,
        saved_at: int = 0,
    ) -> None:
        self.settings, self.saved_at, self.failures = settings, saved_at, 0
        self._store = Checkpoints(folder, keep=settings.keep, say=say)
        self._shape, self._save_others, self._say = shape, save_others, say
        self._best_at = best_at

    def save_if_due(self, progress: Progress) -> None:
        """Blocks while a checkpoint is written, if one is due."""
        every = self.settings.every_env_steps
        if every is None or progress.env_steps // every <= self.saved_at // every:
            return
        self.saved_at = progress.env_steps
        self.save_at_last(progress)

    def save_at_last(self, progress: Progress) -> str:
        """Writes a checkpoint, and blocks until it is on disk. Returns why it could not be written,
        or an empty string: the disk may be full or refuse (OSError), a weight may not be finite or
        a part of the state of a kind that no checkpoint holds (Unsavable). Other errors are raised.
        """
        state = {
            "run": progress.save(),
            **self._save_others(),
            "shape": self._shape,
            "env_steps": progress.env_steps,
            "seconds": progress.seconds,
        }
        try:
            self._store.save(state, progress.env_steps, self._best_at())
        except (OSError, Unsavable) as error:
            self.failures += 1
            self._say(f"the checkpoint could not be saved: {error}")
            return str(error)
        return ""


class Unfit(ValueError):
    """A run cannot go on with the settings of a job; the text says which to change."""


def shape_of(job: Job, weights: int, paradigm: object = None) -> dict[str, int]:
    """What the arrays of a job's state depend on; weights: the floats of the agent's vector."""
    shape = {"workers": job.workers, "num_envs": job.num_envs, "weights of the agent": weights}
    if (members := getattr(paradigm, "members", None)) is not None:
        shape["paradigm.members"] = members
    return shape


def resumed(job: Job, state: dict[str, Any], home: str, shape: dict[str, int]) -> Job:
    """The job as it goes on from a checkpoint's `state` of the run in `home`; its counters and
    seconds continue. It has no journal: a journal of what comes could not be re-executed without
    the state that it begins with. Raises Unfit if the job has another shape than the run had, or if
    nothing is left to do."""
    for what, now in shape.items():
        if (before := state["shape"][what]) != now:
            raise Unfit(
                f"resume={home} has {what}={before}, and with these settings it would be {now}:"
                " leave out what changes that, or begin a new run"
            )
    at = int(state["env_steps"])
    if at >= job.budget.env_steps:
        raise Unfit(
            f"resume={home} has done {at} env steps already:"
            f" add budget.env_steps={2 * at} or another number above"
        )
    began = job.started - float(state["seconds"])
    return replace(job, resume=state["run"], started=began, journal=None)
