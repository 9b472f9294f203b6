"""One run as a person sees and keeps it: what train.py's loop does with each progress."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.parts.vector import Vector
from paradigms.base import Job, Paradigm, Progress, Result, Snapshot
from paradigms.errors import Stopped
from paradigms.session import form, results
from paradigms.session import origin as record
from paradigms.session.checkpoint import Checkpoints, Damaged
from paradigms.session.evaluations import Evaluations, dated, finite
from paradigms.session.folder import RunFolder
from paradigms.session.log import Log, summary
from paradigms.session.outcome import SolveTracker
from paradigms.session.saving import CheckpointSchedule, Unfit, resumed, shape_of
from paradigms.session.signals import Signals
from paradigms.session.sinks import Sink, Sinks
from paradigms.session.stopping import StopReason
from paradigms.settings import RunSettings


class Session:
    """A job, the paradigm that runs it, and what goes on beside them: log, evaluations, checkpoints
    and the reason to stop, each an object of its own. The order of things is train.train's.

    With `settings.resume` the run goes on with the newest whole checkpoint of that folder. Raises
    Damaged if there is none, ValueError if it does not fit the job, if nothing is left to do, or if
    another run is going on in the folder. random_return: of an episode with random actions, None if
    unknown. sinks: by name, where numbers go beside the run's own files. Processes start, and files
    are written, in the `with`:

        with Session(job, paradigm, folder, settings, random_return=None) as session:
            for progress in paradigm.run(session.job):
                session.note(progress); session.evaluate(progress); session.save_if_due(progress)
                if session.enough(progress): progress.stop()
            session.finish(result); session.result()
    """

    def __init__(
        self,
        job: Job,
        paradigm: Paradigm,
        folder: RunFolder,
        settings: RunSettings,
        *,
        random_return: float | None,
        sinks: Mapping[str, Sink] | None = None,
    ) -> None:
        self.paradigm, self.folder, self.settings = paradigm, folder, settings
        self.sinks = Sinks(sinks or {})
        self.signals = Signals()
        self.stop = StopReason(settings.budget, self.signals, when_solved=settings.stop_when_solved)
        self.tracker = SolveTracker(job.spec.threshold, random_return)
        agent = job.make_agent(job.spec, seed=job.seed, device="cpu")
        vector = Vector(agent)
        self._size = vector.size("evaluate")
        self._shape = shape_of(job, vector.size("all"), paradigm)
        self._averaged = agent.parts["evaluate"] != agent.parts["act"]
        self._notes = [
            f"{folder.choices['paradigm']}: {record.words(paradigm)}",
            f"on {folder.world}; folder {folder.path}",
            *record.introduction(job, agent, paradigm),
        ]
        self.job, self._evaluated = job, 0
        self.resumed_at: int | None = None
        self._progress: Progress | None = None
        self._result: Result | None = None
        folder.lock()
        try:
            folder.for_a_run(settings.resume)
            if settings.resume is not None:
                self._resume(settings.resume)
        except BaseException:
            folder.release()
            raise

    def __enter__(self) -> Session:
        settings = self.settings
        undescribed = self.folder.describe()
        self.log = Log(
            self.folder.path,
            env_steps=self.job.budget.env_steps,
            seconds=settings.budget.seconds,
            sinks=self.sinks,
            resumed_at=self.resumed_at,
        )
        if undescribed:
            self.log.failed(undescribed)
        about = self.folder.described(self.resumed_at)
        self.sinks.start(replace(about, failed=self.log.failed))
        self.evaluations = Evaluations(
            self.job,
            settings.evaluation,
            self.tracker,
            folder=self.folder,
            log=self.log,
            number=self._evaluated,
            stop_when_solved=settings.stop_when_solved,
            averaged=self._averaged,
            stopping=lambda: self.signals.caught,
        )
        self.checkpoints = CheckpointSchedule(
            self.folder.checkpoints,
            settings.checkpoint,
            self._shape,
            self.evaluations.save,
            say=self.log.say,
            best_at=lambda: None if (best := self.tracker.best) is None else best.env_steps,
            saved_at=self.resumed_at or 0,
        )
        self.signals.at_once = self._end_at_once
        self.signals.__enter__()
        for line in self._notes:
            self.log.say(line)
        return self

    def __exit__(self, *_: object) -> None:
        self.signals.__exit__()
        self.evaluations.close()
        self.log.close(int(self.stop.reason == "error"))
        self.folder.release()

    @property
    def begun(self) -> bool:
        """Whether the paradigm has yielded."""
        return self._progress is not None

    def note(self, progress: Progress) -> None:
        """Logs what a paradigm yields."""
        if self._progress is None:
            names = [child.name for child in multiprocessing.active_children()]
            words = ", ".join(["main", *sorted(names)])
            self.log.say(f"processes: {words}; one thread each, {os.cpu_count()} cores")
            self.job = replace(self.job, resume=None)  # its memory is not needed any more
        self._progress = progress
        for words, trace in progress.notes:
            self.log.say(words, trace)
        self.log.progress(progress)

    def evaluate(self, progress: Progress) -> None:
        """Takes an evaluation that has ended, and submits the newest policy when one is due."""
        with contextlib.suppress(Stopped):
            self.evaluations.step(progress)

    def save_if_due(self, progress: Progress) -> None:
        """Writes a checkpoint, if one is due; where that fails, logs it, counts it and goes on."""
        self.checkpoints.save_if_due(progress)

    def enough(self, progress: Progress) -> bool:
        """Whether to stop now: true once."""
        due = self.stop.due(progress.seconds, solved=self.evaluations.solved)
        if due and self.stop.reason == "signal":
            self.log.say("stopping: saving a checkpoint (again: stop at once)")
        return due

    def finish(self, result: Result) -> None:
        """After the last progress: saves, keeps the final policy, and measures what is kept."""
        self.log.settle()
        self._result = result
        progress, interrupted = self._progress, self.stop.reason == "signal"
        if progress is None:
            return
        if self.settings.checkpoint.at_end or interrupted:
            if failure := self.checkpoints.save_at_last(progress):
                self.stop.failed(f"the checkpoint of the end could not be saved: {failure}")
        final = self._keep_final(result.final, progress)
        if not interrupted:
            try:
                self.evaluations.finish(final)
            except Stopped:
                self.stop.reason = "signal"
                self.log.say("stopping: the kept policies are not all measured")
        for name in self.evaluations.unkept:
            self.stop.lacks(f"the {name} policy could not be saved")

    def fail(self, error: BaseException, trace: str) -> None:
        """Notes what ended the run, and saves what it has learned until then, if that is whole."""
        self.stop.failed(f"{type(error).__name__}: {error}".splitlines()[0])
        self.log.settle()
        self.log.say(f"stopped by an error: {self.stop.error}", trace)
        if self._progress is None:
            return
        try:
            self.checkpoints.save_at_last(self._progress)
            self._keep_final(self._progress.snapshot("all"), self._progress)
        except Exception as second:  # of whatever kind: the first error is the one to report
            self.log.say(f"what was learned could not be saved: {second}", traceback.format_exc())

    def result(self) -> dict[str, Any]:
        """Writes result.json, prints the summary, and returns the former."""
        self._hand_on()
        result = self._write()
        self.sinks.finish(result)
        for line in ["", *summary(result)]:
            self.log.say(line)
        further = [f"budget.env_steps={max(2 * result['env_steps'], self.job.budget.env_steps)}"]
        further += ["stop_when_solved=false"] if self.stop.reason == "solved" else []
        further += ["budget.seconds=null"] if self.stop.spent(result["seconds"]) else []
        for line in self.folder.next_commands(further, tensorboard="tensorboard" in self.sinks):
            self.log.say(line)
        return result

    def _keep_final(self, whole: Snapshot, progress: Progress) -> Snapshot | None:
        """Keeps the final policy and returns it; None if its weights are not finite."""
        final = replace(whole, part="evaluate", floats=whole.floats[: self._size])
        final = dated(final, progress)
        if not finite(final):
            self.log.say("the final policy is not kept: its weights are not finite")
            return None
        try:
            self.folder.keep("final", final, None)
        except OSError as error:
            self.log.failed(why := f"the final policy could not be saved: {error}")
            self.stop.lacks(why)
        return final

    def _hand_on(self) -> None:
        """Gives the sinks the policies that the run has left."""
        for name in ("solving", "best", "final"):
            if (path := self.folder.path / f"{name}.safetensors").exists():
                self.sinks.file(path, "policy")

    def _write(self) -> dict[str, Any]:
        progress, choices, totals = self._progress, self.folder.choices, dict[str, Any]()
        if progress is not None:
            counts = ("env_steps", "updates", "episodes")
            totals = progress.totals() | {name: getattr(progress, name) for name in counts}
        if self._result is not None:
            totals |= self._result.totals
        for name in ("restarts", "env_errors"):
            totals[name] = totals.get(name, 0) + getattr(self.evaluations, name)
        result = {
            **{name: choices.get(name, "") for name in ("paradigm", "agent", "env")},
            "seed": self.job.seed,
            "workers": self.job.workers,
            "device": self.job.device,
            "stopped_by": self.stop.reason,
            "error": self.stop.error or None,
            **self.tracker.result(totals),
            "seconds": 0.0 if progress is None else progress.seconds,
            "extra": {
                "evaluations": len(self.tracker.means),
                "confirmations": self.tracker.confirmations,
                "averaged_return": self.evaluations.averaged_return,
                "failed_saves": self.checkpoints.failures,
                "failed_writes": self.log.failed_writes,
                "resumed_at": self.resumed_at,
                "members_run": record.member_of(self.paradigm),
                "failed_sinks": self.sinks.errors,
            },
        }
        return results.keep(result, self.folder, self.stop)

    def _end_at_once(self) -> None:
        self.stop.reason = "signal"
        self._write()

    def _resume(self, home: str) -> None:
        state = Checkpoints(Path(home) / "checkpoints", say=self._notes.append).newest()
        try:
            self.job = resumed(self.job, state, home, self._shape)
            form.check(state, self._size)
            form.load(self.job, self.paradigm)
            self.resumed_at = int(state["env_steps"])
            self.tracker.load(state["outcome"])
            self._evaluated = int(state["evaluations"])
        except Unfit:
            raise
        except (
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
            ValueError,
            RuntimeError,
        ) as error:
            raise Damaged(
                f"resume={home}: its newest checkpoint is whole, but not one of this version"
                f" ({type(error).__name__} {error})"
            ) from error
        self._notes.append(f"going on after {self.resumed_at:,} env steps")
