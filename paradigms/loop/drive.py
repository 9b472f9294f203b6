"""The driver of a run: it builds what is shared, yields the progress, and sums up at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from paradigms.base import Job, Progress, Result, Snapshot
from paradigms.loop.build import Components, make_agent, make_pace, make_replay
from paradigms.loop.ledger import LEARNER, Ledger
from paradigms.loop.totals import Totals, time_of_role
from paradigms.runtime.crew import Crew

TakeSnapshot = Callable[[str], Snapshot]
ENV_OF_WORKER = "an env of worker"  # how a note of its errors begins


class Readable(Protocol):
    """Weights that can be read while a run goes on: Weights or Bound."""

    def snapshot(self, part: str, size: int) -> Snapshot: ...


class Driver:
    """The process that `paradigm.run(job)` runs in: builds everything before any process starts.

        run = Driver(job, workers=job.workers)
        crew.add("worker-0", ActorWorker, run.components, ...)
        return (yield from run.follow(crew, weights))

    `agent` and `vector` are its own; a resumed job's counters, transitions and weights are loaded.
    """

    def __init__(self, job: Job, *, workers: int) -> None:
        self.agent = make_agent(job)
        self.vector = self.agent.vector
        replay = make_replay(job, self.agent, workers)
        ledger = Ledger(workers, job.spec.action_repeat)
        pace = make_pace(job, replay, ledger)
        if (state := job.resume) is not None:
            replay.load(state["replay"])
            ledger.load(state["ledger"])
            pace.resume()
            self.vector.load("all", state["floats"], state["counts"])
            job = replace(job, resume=None)  # or every role would be sent a copy of it
        self.components = Components(job, replay, ledger, pace)
        self.totals = Totals(self.components)
        self.stopping = self._told = False

    @property
    def ledger(self) -> Ledger:
        return self.components.ledger

    def stop(self) -> None:
        """Asks the run to end as if its budget were spent."""
        self.stopping = True

    def progress(
        self,
        metrics: dict[str, float],
        snapshot: TakeSnapshot | None = None,
        stop: Callable[[], None] | None = None,
        totals: Callable[[], dict[str, Any]] | None = None,
    ) -> Progress:
        """Where the run stands now. snapshot, stop, totals: of this process's own agent and loop if
        not given."""
        ledger, take = self.ledger, snapshot or self.snapshot
        self.totals.note(metrics)
        return Progress(
            env_steps=ledger.total("added"),
            updates=ledger.total("updates"),
            episodes=ledger.total("episodes"),
            seconds=time.time() - self.components.job.started,
            metrics=metrics,
            means=ledger.means(),
            snapshot=take,
            save=lambda: self.save(take("all")),
            stop=stop or self.stop,
            notes=self._news(),
            totals=totals or self.sum,
        )

    def snapshot(self, part: str) -> Snapshot:
        """A part of this process's own agent."""
        floats = self.vector.floats[: self.vector.size(part)].detach().cpu().clone()
        return Snapshot(part, floats, self.vector.counts.clone(), self.ledger.total("updates"))

    def result(self) -> Result:
        """What a loop in this process leaves behind."""
        return Result(self.snapshot("all"), self.sum())

    def sum(self) -> dict[str, Any]:
        """The totals of a loop in this process."""
        collect = self.ledger.seconds("collecting", 0)
        learn = self.ledger.seconds("learning", LEARNER)
        total = max(1e-9, collect + learn)
        main = {"seconds": total, "busy": 1.0, "collect": collect / total, "learn": learn / total}
        return self.totals.result({"main": main})

    def save(self, newest: Snapshot) -> dict[str, Any]:
        """The complete state. Running episodes are not in it: whoever resumes starts new ones."""
        return {
            "ledger": self.ledger.save(),
            "replay": self.components.replay.save(),
            "floats": newest.floats,
            "counts": newest.counts,
        }

    def follow(
        self,
        crew: Crew,
        weights: Readable,
        moved: Sequence[Any] = (),
        counted: Sequence[Any] = (),
    ) -> Generator[Progress, None, Result]:
        """Runs a crew to its end and yields a Progress for each of its reports.

        weights: where snapshots come from. moved: whose `bytes_moved` are summed. counted: whose
        `torn` counts, beside the replay's. Raises Failed or Deadlock with the crew.
        """
        time_by_role: dict[str, dict[str, float]] = {}

        def snapshot(part: str) -> Snapshot:
            return weights.snapshot(part, self.vector.size(part))

        def totals() -> dict[str, Any]:
            return self.totals.result(
                time_by_role,
                restarts=crew.restarts,
                bytes_moved=sum(part.bytes_moved for part in moved),
                torn=self.components.replay.torn + sum(part.torn for part in counted),
            )

        with crew:
            for report in crew.run():
                if report.kind == "finished":
                    time_by_role[report.name] = time_of_role(report, self.ledger)
                metrics = report.data if report.kind == "metrics" else {}
                progress = self.progress(metrics, snapshot, crew.stop, totals)
                if report.kind == "restarted":
                    words = f"{report.name} {report.data['cause']}, and is replaced"
                    notes = (*progress.notes, (words, report.data["trace"]))
                    progress = replace(progress, notes=notes)
                elif report.kind == "note":
                    words = f"{report.name}: {report.data['words']}"
                    progress = replace(progress, notes=(*progress.notes, (words, "")))
                yield progress
        return Result(snapshot("all"), totals())

    def _news(self) -> tuple[tuple[str, str], ...]:
        """The first error of an env, once, with its traceback."""
        first = None if self._told else self.ledger.first_error
        if first is None:
            return ()
        self._told, (rank, trace) = True, first
        return (
            (
                f"{ENV_OF_WORKER} {rank} raised {trace.splitlines()[-1]}, and was rebuilt alone;"
                " env_errors in result.json counts how often",
                trace,
            ),
        )
