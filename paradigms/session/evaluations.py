"""Which policies a run evaluates, confirms and keeps, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from paradigms.base import Job, Progress, Snapshot
from paradigms.session.evaluation_worker import Plan
from paradigms.session.evaluator import EvaluationResult, Evaluator
from paradigms.session.folder import RunFolder
from paradigms.session.log import Log
from paradigms.session.outcome import IN_A_ROW, SolveTracker
from paradigms.settings import Evaluation


class Evaluations:
    """Submits the newest policy when an evaluation is due, and hands the results to the tracker,
    the log and the run's folder.

    number: evaluations submitted before (of a resumed run). stop_when_solved: candidates are
    confirmed while training. averaged: the agent evaluates a running mean of its weights, too (its
    part "evaluate" is larger than "act"), which `finish` measures. stopping: asked often; once it
    is true the methods that play or wait raise Stopped.

        for progress in run: evaluations.step(progress); if evaluations.solved: ...
        evaluations.finish(final)
    """

    def __init__(
        self,
        job: Job,
        settings: Evaluation,
        tracker: SolveTracker,
        *,
        folder: RunFolder,
        log: Log,
        number: int,
        stop_when_solved: bool,
        averaged: bool,
        stopping: Callable[[], object] = lambda: False,
    ) -> None:
        self.settings, self.tracker, self.folder, self.log = settings, tracker, folder, log
        self.solved = False  # and confirmed, where candidates are: the run may stop
        self.averaged_return: float | None = None
        self._number, self._averaged, self._submitted_at = number, averaged, 0
        self._confirms = stop_when_solved and settings.confirm_episodes > 0
        self._unkept: dict[str, float | None] = {}  # policies that could not be saved yet
        self._evaluator: Evaluator | None = None
        if settings.every_seconds is not None or settings.confirm_episodes:
            in_worker = settings.where == "worker"
            plan = Plan(
                job.make_agent,
                job.make_env,
                job.spec,
                slots=settings.episodes,
                seed=job.seed,
                every_seconds=None if in_worker else settings.every_seconds,
                share=settings.share,
            )
            where = "inline" if settings.where == "inline" else "process"
            self._evaluator = Evaluator(
                plan, where=where, number=number, say=log.say, stopping=stopping
            )

    @property
    def restarts(self) -> int:
        """How many times the evaluation process has been replaced."""
        return 0 if self._evaluator is None else self._evaluator.restarts

    @property
    def unkept(self) -> list[str]:
        """The policies that are not on disk as they should be, by name."""
        return list(self._unkept)

    @property
    def env_errors(self) -> int:
        """How often envs of evaluations have raised, and were rebuilt."""
        return 0 if self._evaluator is None else self._evaluator.env_errors

    def step(self, progress: Progress) -> None:
        """Takes a result that has come, and submits a policy that is due. Never blocks, unless
        evaluation.where=inline. Raises Failed with the evaluation process."""
        if self._evaluator is None:
            return
        for result in self._evaluator.poll():
            self._take(result)
        candidate = self.tracker.unconfirmed() if self._confirms else None
        if candidate is not None and self._evaluator.free:
            self._evaluator.confirm(candidate, self.settings.confirm_episodes)
        in_a_row = 0 if self.tracker.reached else self.tracker.in_a_row
        if progress.updates > self._submitted_at and self._evaluator.due(in_a_row):
            self._submitted_at = progress.updates
            newest = dated(progress.snapshot("evaluate"), progress)
            if finite(newest):  # what has diverged is no candidate for the best policy
                self._evaluator.submit(newest)

    def finish(self, final: Snapshot | None) -> None:
        """After training: waits for what is under way, and measures the policies that are kept,
        each on `confirm_episodes` episodes. final: part "evaluate"; None if there is none."""
        episodes = self.settings.confirm_episodes
        if self._evaluator is None:
            return
        for result in self._evaluator.finish():
            self._take(result)
        if not episodes:
            return
        self.log.say(f"measuring the kept policies on {episodes} further episodes each")
        for name in self.tracker.measure(final, episodes, self._evaluator.measure):
            self._keep(name, self.tracker.measured[name])
        for name, mean in list(self._unkept.items()):
            self._keep(name, mean)
        if self._averaged and final is not None:
            played = self._evaluator.measure(final, episodes, averaged=True)
            self.averaged_return = float(played.returns.mean())
            self.log.say(f"the averaged policy reaches {self.averaged_return:.1f}")

    def save(self) -> dict[str, Any]:
        """For a checkpoint."""
        number = self._number if self._evaluator is None else self._evaluator.number
        return {"outcome": self.tracker.save(), "evaluations": number}

    def close(self) -> None:
        """Ends the evaluation process."""
        if self._evaluator is not None:
            self._evaluator.close()

    def _take(self, result: EvaluationResult) -> None:
        snapshot, tracker = result.snapshot, self.tracker
        if result.confirming:
            self.solved = tracker.confirm(result)
            word = "confirmed" if self.solved else "not confirmed"
            self.log.say(f"{word}: {result.mean:.1f} on {len(result.returns)} further episodes")
            return
        self.log.evaluation(result)
        new = tracker.add(result)
        if not self.settings.confirm_episodes:
            self.solved = tracker.reached
        if tracker.in_a_row and ("solving" in new or not tracker.reached):
            self.log.say(
                f"{snapshot.seconds:7.1f} s  {snapshot.env_steps:,} env steps: evaluated"
                f" {result.mean:.1f}, at the threshold of {tracker.threshold:g}"
                f" ({tracker.in_a_row} of {IN_A_ROW} in a row)"
            )
        for name in dict.fromkeys((*new, *self._unkept)):
            self._keep(name, tracker.recent if name in new else self._unkept[name])

    def _keep(self, name: str, mean: float | None) -> None:
        """Writes a policy; one that cannot be written is tried again after the next evaluation."""
        kept = self.tracker.solving if name == "solving" else self.tracker.best
        assert kept is not None
        try:
            self.folder.keep(name, kept, mean)
        except OSError as error:
            self._unkept[name] = mean
            self.log.failed(f"the {name} policy could not be saved: {error}")
        else:
            self._unkept.pop(name, None)


def finite(snapshot: Snapshot) -> bool:
    """Whether all weights are."""
    return bool(torch.isfinite(snapshot.floats).all())


def dated(snapshot: Snapshot, progress: Progress) -> Snapshot:
    """The snapshot, with the counts and seconds of the progress at which it was taken."""
    return replace(
        snapshot,
        env_steps=progress.env_steps,
        episodes=progress.episodes,
        updates=progress.updates,
        seconds=progress.seconds,
    )
