"""One run as train.py drives it: what it logs, evaluates, saves and leaves in its folder."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.parts.vector import Vector
from paradigms.base import Job, Paradigm, Progress, Result, Snapshot
from paradigms.session import origin as record
from paradigms.session.checkpoint import Checkpoints, Damaged, save_policy, write_json
from paradigms.session.evaluator import Evaluation, Evaluator, Plan
from paradigms.session.log import Log, summary
from paradigms.session.outcome import IN_A_ROW, Outcome
from paradigms.session.signals import Signals


class Session:
    """A job, the paradigm that runs it, and everything around the loop over its progress.

    values: the resolved configuration, plain; choices: the names chosen for its groups. With
    `values["resume"]` it goes on with the newest whole checkpoint of that folder, and raises
    Damaged if there is none, ValueError if nothing is left to do. Use it in a `with`.
    """

    def __init__(
        self,
        job: Job,
        paradigm: Paradigm,
        folder: Path,
        *,
        values: dict[str, Any],
        choices: dict[str, str],
    ) -> None:
        self.paradigm, self.folder, self.values = paradigm, folder, values
        self.choices = _choices(values["resume"]) or choices
        agent = job.make_agent(job.spec, seed=job.seed, device="cpu")
        self._size = Vector(agent).size("evaluate")
        self._averages = agent.parts["evaluate"] != agent.parts["act"]
        self._averaged: float | None = None
        self.outcome = Outcome(job.spec.threshold, values["env"]["random_return"])
        self.signals = Signals()
        self._notes = [
            f"{self.choices['paradigm']}: {record.words(paradigm)}",
            f"on {values['env']['id']}; folder {folder}",
            *record.introduction(job, agent),
        ]
        self._checkpoints = Checkpoints(
            folder / "checkpoints", keep=values["checkpoint"]["keep"], say=self._notes.append
        )
        self._evaluations = 0
        self.resumed_at: int | None = None
        self.job = self._resumed(job) if values["resume"] else job
        self._saved_at = self.resumed_at or 0
        self._offered_at = -1
        self._progress: Progress | None = None
        self._result: Result | None = None
        self._stopped_by, self._error, self._failed_saves = "budget", "", 0
        self._seconds = 0.0
        self._stopping = False
        self._solved = False

    def __enter__(self) -> Session:
        v, job = self.values, self.job
        write_json(self.folder / "run.json", {**record.origin(), "choices": self.choices})
        self.log = Log(
            self.folder,
            env_steps=job.env_steps,
            seconds=v["budget"]["seconds"],
            tensorboard=v["tensorboard"],
            resumed_at=self.resumed_at,
        )
        plan = v["evaluation"]
        self.evaluator: Evaluator | None = None
        if plan["every_seconds"] is not None or plan["confirm_episodes"]:
            self.evaluator = Evaluator(
                Plan(
                    job.make_agent,
                    job.make_env,
                    job.spec,
                    slots=plan["episodes"],
                    seed=job.seed,
                    every_seconds=None if job.evaluate_in_worker else plan["every_seconds"],
                    share=plan["share"],
                ),
                size=self._size,
                where="inline" if plan["where"] == "inline" else "process",
                number=self._evaluations,
            )
        self.signals.at_once = self._at_once
        self.signals.__enter__()
        for line in self._notes:
            self.log.say(line)
        return self

    def __exit__(self, *_: object) -> None:
        self.signals.__exit__()
        if self.evaluator is not None:
            self.evaluator.close()
        self.log.close()

    def note(self, progress: Progress) -> None:
        """Logs what a paradigm yields."""
        if self._progress is None:
            names = [child.name for child in multiprocessing.active_children()]
            words = ", ".join(["main", *sorted(names)])
            self.log.say(f"processes: {words}; one thread each, {os.cpu_count()} cores")
            self.job = replace(self.job, resume=None)  # taken up: it need not be kept as well
        self._progress = progress
        self._seconds = progress.seconds
        for words, trace in progress.notes:
            self.log.say(words, trace)
        self.log.progress(progress)

    def evaluate(self, progress: Progress) -> None:
        """Takes an evaluation that has ended, and offers the newest policy when one is due."""
        if self.evaluator is None:
            return
        for evaluation in self.evaluator.poll():
            self._take(evaluation)
        episodes, candidate = self.values["evaluation"]["confirm_episodes"], None
        if self.values["stop_when_solved"] and episodes:
            candidate = self.outcome.unconfirmed()
        if candidate is not None and self.evaluator.free:
            self.evaluator.confirm(candidate, episodes)
        streak = 0 if self.outcome.reached else self.outcome.in_a_row
        if progress.updates > self._offered_at and progress.updates and self.evaluator.due(streak):
            self._offered_at = progress.updates
            self.evaluator.offer(self._dated(progress.snapshot("evaluate"), progress))

    def save_if_due(self, progress: Progress) -> None:
        """Writes a checkpoint; where that fails, says so, counts it and goes on."""
        every = self.job.checkpoint_env_steps
        if every is None or progress.env_steps // every <= self._saved_at // every:
            return
        self._saved_at = progress.env_steps
        try:
            self._save(progress)
        except (OSError, Damaged, TypeError) as error:
            self._failed_saves += 1
            self.log.say(f"the checkpoint could not be saved: {error}")

    def enough(self, progress: Progress) -> bool:
        """Whether to stop now: true once."""
        seconds = self.values["budget"]["seconds"]
        if self._stopping:
            return False
        if self.signals.caught:
            self._stopped_by = "signal"
            self.log.say("stopping: saving a checkpoint (again: stop at once)")
        elif self.values["stop_when_solved"] and self._solved:
            self._stopped_by = "solved"
        elif seconds is None or progress.seconds < seconds:
            return False
        self._stopping = True
        return True

    def finish(self, result: Result) -> None:
        """After the last progress: saves, keeps the final policy, and measures what is kept."""
        self.log.settle()
        self._result = result
        progress = self._progress
        if progress is None:
            return
        if self.values["checkpoint"]["at_end"] or self._stopped_by == "signal":
            try:
                self._save(progress)
            except (OSError, Damaged, TypeError) as error:
                self._stopped_by, self._error = "error", f"the checkpoint of the end: {error}"
                self._failed_saves += 1
        final = self._dated(result.final, progress)
        final = replace(final, part="evaluate", floats=final.floats[: self._size])
        self._keep("final", final, None)
        episodes = self.values["evaluation"]["confirm_episodes"]
        if self.evaluator is None or self._stopped_by == "signal":
            return
        for evaluation in self.evaluator.finish():
            self._take(evaluation)
        if episodes:
            self.log.say(f"measuring the kept policies on {episodes} further episodes each")
            self.outcome.measure(final, episodes, self.evaluator.measure)
            if self.outcome.solved and self.outcome.solving is not None:
                self._keep("solving", self.outcome.solving, self.outcome.confirmed)
            if self._averages:
                played = self.evaluator.measure(final, episodes, averaged=True)
                self._averaged = float(played.returns.mean())
                self.log.say(f"the averaged policy reaches {self._averaged:.1f}")

    def fail(self, error: BaseException, trace: str) -> None:
        """Notes what ended the run."""
        self._stopped_by, self._error = "error", f"{type(error).__name__}: {error}".splitlines()[0]
        self.log.settle()
        self.log.say(f"stopped by an error: {self._error}", trace)

    def result(self) -> dict[str, Any]:
        """Writes result.json, prints the summary, and returns the former."""
        result = self._write()
        self.log.say("")
        for line in summary(result):
            self.log.say(line)
        policy = (self.folder / "final.safetensors").exists()
        tensorboard = bool(self.values["tensorboard"])
        further = [f"budget.env_steps={max(2 * result['env_steps'], self.job.env_steps)}"]
        seconds = self.values["budget"]["seconds"]
        further += ["stop_when_solved=false"] if self._stopped_by == "solved" else []
        further += ["budget.seconds=null"] if seconds and self._seconds >= seconds else []
        for line in record.commands(self.folder, further, policy=policy, tensorboard=tensorboard):
            self.log.say(line)
        return result

    def _write(self) -> dict[str, Any]:
        progress, totals = self._progress, {}
        if progress is not None:
            counts = ("env_steps", "updates", "episodes")
            totals = {name: getattr(progress, name) for name in counts}
        if self._result is not None:
            totals |= self._result.totals
        names = {name: self.choices.get(name, "") for name in ("paradigm", "agent", "env")}
        result = {
            **names,
            "seed": self.job.seed,
            "workers": self.job.workers,
            "device": self.job.device,
            "stopped_by": self._stopped_by,
            "error": self._error or None,
            **self.outcome.result(totals),
            "seconds": self._seconds,
            "extra": {
                "evaluations": len(self.outcome.means),
                "confirmations": self.outcome.confirmations,
                "averaged_return": self._averaged,
                "failed_saves": self._failed_saves,
                "resumed_at": self.resumed_at,
            },
        }
        write_json(self.folder / "result.json", result)
        return result

    def _at_once(self) -> None:
        self._stopped_by = "signal"
        self._write()

    def _take(self, evaluation: Evaluation) -> None:
        snapshot, outcome = evaluation.snapshot, self.outcome
        if evaluation.confirming:
            self._solved = outcome.confirm(evaluation)
            word = "confirmed" if self._solved else "not confirmed"
            episodes = len(evaluation.returns)
            self.log.say(f"{word}: {evaluation.mean:.1f} on {episodes} further episodes")
            return
        self.log.evaluation(evaluation)
        new = outcome.add(evaluation)
        if not self.values["evaluation"]["confirm_episodes"]:
            self._solved = outcome.reached
        if outcome.in_a_row and ("solving" in new or not outcome.reached):
            self.log.say(
                f"{snapshot.seconds:7.1f} s  {snapshot.env_steps:,} env steps: evaluated"
                f" {evaluation.mean:.1f}, at the threshold of {outcome.threshold:g}"
                f" ({outcome.in_a_row} of {IN_A_ROW} in a row)"
            )
        for name in new:
            kept = outcome.solving if name == "solving" else outcome.best
            assert kept is not None
            self._keep(name, kept, outcome.recent)

    def _keep(self, name: str, snapshot: Snapshot, mean: float | None) -> None:
        about = {key: self.values[key] for key in ("agent", "env", "seed")}
        about |= {"choices": self.choices, "which": name, "evaluated": mean}
        save_policy(self.folder / f"{name}.safetensors", snapshot, about)

    def _dated(self, snapshot: Snapshot, progress: Progress) -> Snapshot:
        return replace(
            snapshot,
            env_steps=progress.env_steps,
            episodes=progress.episodes,
            updates=progress.updates,
            seconds=progress.seconds,
        )

    def _save(self, progress: Progress) -> None:
        state = {
            "run": progress.save(),
            "outcome": self.outcome.save(),
            "evaluations": 0 if self.evaluator is None else self.evaluator.number,
            "env_steps": progress.env_steps,
            "seconds": progress.seconds,
        }
        self._checkpoints.save(state, progress.env_steps)

    def _resumed(self, job: Job) -> Job:
        """The job as it goes on; counters and seconds continue. A journal of what comes could not
        be replayed without the state it begins with, so there is none."""
        home = Path(self.values["resume"])
        state = Checkpoints(home / "checkpoints", say=self._notes.append).newest()
        at = self.resumed_at = int(state["env_steps"])
        if at >= job.env_steps:
            raise ValueError(
                f"resume={home} has done {at} env steps already:"
                f" add budget.env_steps={2 * at} or another number above"
            )
        self._notes.append(f"going on after {at:,} env steps")
        self.outcome.load(state["outcome"])
        self._evaluations = int(state["evaluations"])
        began = job.started - float(state["seconds"])
        return replace(job, resume=state["run"], started=began, journal=None)


def _choices(resume: str | None) -> dict[str, str]:
    """What was chosen for each group when a resumed run began."""
    file = Path(resume or "", "run.json")
    if resume is None or not file.exists():
        return {}
    return dict(json.loads(file.read_text())["choices"])
