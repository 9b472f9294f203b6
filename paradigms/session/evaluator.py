"""Evaluates snapshots while training goes on: greedy episodes on the reference env, in a process of
their own that nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from paradigms.base import Snapshot
from paradigms.errors import Stopped
from paradigms.loop.episodes import Returns
from paradigms.runtime.crew import Crew, Report
from paradigms.session.evaluation_worker import EvaluationWorker, Plan, Request, Result
from paradigms.weights.published import Weights

SECONDS_BETWEEN_LOOKS = 0.01  # at the evaluation process, while a result is awaited


@dataclass(frozen=True)
class EvaluationResult:
    """What the policy of `snapshot` reached, N episodes; `snapshot` says when it was taken.
    returns: [N] float64, undiscounted. lengths: [N] int64, env steps. metrics: what the env says of
    the episodes, [N] float64 by name. confirming: the episodes were
    those of `Evaluator.measure`, on which a solving policy is confirmed."""

    snapshot: Snapshot
    returns: np.ndarray
    lengths: np.ndarray
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    confirming: bool = False

    @property
    def mean(self) -> float:
        return float(self.returns.mean())


class Evaluator:
    """Evaluates one snapshot at a time while training goes on; nobody waits for it.

    with Evaluator(plan) as evaluator:
        if evaluator.due(in_a_row): evaluator.submit(progress.snapshot("evaluate"))
        for result in evaluator.poll(): ...
        evaluator.measure(snapshot, 100)                      # after training; blocks

    The next snapshot is due `every_seconds` after the last submission, and not before the CPU time
    of the last evaluation is `share` of the wall-clock time since it ended; after a success it is
    due at once, until there are three in a row.

    The weights travel through shared memory (`Weights`), requests and results through the crew's
    pipe. An evaluation process that dies is replaced, at most three times, and its request is sent
    again; `say(words, traceback)` hears of it, and `restarts` counts it. `env_errors` counts how
    often envs have raised, of which `say` hears once.

    where: "process", or "inline": the episodes are played in this process, inside `submit`,
    `confirm` and `measure`. number: evaluations submitted before (of a resumed run). stopping:
    asked often by the methods that block; once it is true they raise Stopped.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        where: str = "process",
        number: int = 0,
        say: Callable[[str, str], None] = lambda words, trace: None,
        stopping: Callable[[], object] = lambda: False,
    ) -> None:
        self.plan, self.number, self._say, self._stopping = plan, number, say, stopping
        self._vector = plan.agent().vector
        self._weights = Weights(self._vector, "evaluate")
        self._submitted: tuple[Snapshot, bool] | None = None  # and whether it is to be confirmed
        self._request: Request | None = None  # what no result has come for
        self._result: Result | None = None
        self._requests = self.env_errors = 0
        self._earliest = self._looked = 0.0
        self._crew: Crew | None = None
        self._reports: Iterator[Report] = iter(())
        self._worker = EvaluationWorker(plan, self._weights)
        if where == "process":
            self._crew = Crew("process", seconds_to_stop=2.0)
            self._crew.add("evaluator", EvaluationWorker, plan, self._weights, restartable=True)
            self._reports = self._crew.run(tick=0.0)
            next(self._reports)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the evaluation process; an evaluation under way is abandoned."""
        if self._crew is not None:
            self._crew.stop()
            self._reports.close()  # type: ignore[attr-defined]
        self._worker.close()

    @property
    def restarts(self) -> int:
        """How many times the evaluation process has been replaced."""
        return 0 if self._crew is None else self._crew.restarts

    @property
    def free(self) -> bool:
        """Whether no evaluation is under way."""
        return self._submitted is None

    def due(self, in_a_row: int = 0) -> bool:
        """Whether a new snapshot is wanted now; `in_a_row`: successes up to the last evaluation."""
        if not self.free or self.plan.every_seconds is None:
            return False
        return 0 < in_a_row < 3 or time.monotonic() >= self._earliest

    def submit(self, snapshot: Snapshot) -> None:
        """Starts an evaluation of `plan.slots` episodes, on seeds that no other one has. Takes a
        snapshot of part "evaluate" or of a larger one, and copies its weights. Does not wait for
        episodes, unless inline. Raises ValueError for weights of another agent."""
        self._earliest = time.monotonic() + (self.plan.every_seconds or 0.0)
        self._submitted = snapshot, False
        self._ask(snapshot, "evaluate", self.number, self.plan.slots)
        self.number += 1

    def confirm(self, snapshot: Snapshot, episodes: int) -> None:
        """Like `submit`, on the first `episodes` seeds that `measure` has: `poll` returns the
        result, with `confirming`."""
        self._submitted = snapshot, True
        self._ask(snapshot, "measure", 0, episodes)

    def poll(self) -> list[EvaluationResult]:
        """What has ended since the last call: one result at most. Never blocks. Raises Failed if
        the evaluation process has died and is not replaced any more."""
        if self._submitted is None or not self._answered():
            return []
        (snapshot, confirming), self._submitted = self._submitted, None
        result = self._take()
        rest = result.cpu_seconds * (1 / self.plan.share - 1)
        self._earliest = max(self._earliest, time.monotonic() + rest)
        return [EvaluationResult(snapshot, *result.played, confirming)]

    def finish(self) -> list[EvaluationResult]:
        """Waits for the evaluation under way, if there is one; raises as `poll` does."""
        ended: list[EvaluationResult] = []
        while not self.free and not (ended := self.poll()):
            self._pause()
        return ended

    def measure(
        self, snapshot: Snapshot, episodes: int, number: int = 0, *, averaged: bool = False
    ) -> Returns:
        """Blocks until `episodes` of the policy are played: the same seeds for the same `number`.

        averaged: plays the running mean of the weights instead of the weights themselves. An
        evaluation that was under way is waited for, and its result dropped. Raises Failed with the
        evaluation process, ValueError for weights of another agent.
        """
        self.finish()
        self._ask(snapshot, "measure", number, episodes, averaged=averaged)
        while not self._answered():
            self._pause()
        result = self._take()
        return result.played

    def _going(self) -> bool:
        return not self._stopping()

    def _pause(self) -> None:
        if self._stopping():
            raise Stopped
        time.sleep(SECONDS_BETWEEN_LOOKS)

    def _ask(
        self, snapshot: Snapshot, stream: str, number: int, episodes: int, *, averaged: bool = False
    ) -> None:
        """Publishes the weights and sends the request."""
        size = self._vector.size(snapshot.part)
        if len(snapshot.floats) != size:
            raise ValueError(
                f"the policy has {len(snapshot.floats)} numbers, its agent has {size}: build the"
                " agent with the settings that the policy was trained with"
            )
        self._vector.load(snapshot.part, snapshot.floats)
        self._weights.publish(self._vector, snapshot.version)
        self._requests += 1
        self._request = Request(self._requests, stream, number, episodes, averaged)
        if self._crew is None:
            self._result = self._worker.play(self._request, self._going, self._going)
            if self._result is None:
                raise Stopped
        else:
            self._crew.tell("evaluator", self._request)

    def _answered(self) -> bool:
        """Whether the result is there; hears the evaluation process, if it is time to."""
        now = time.monotonic()
        if self._result is None and now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            for report in self._reports:
                if report.kind == "tick":
                    break
                self._hear(report)
        return self._result is not None

    def _hear(self, report: Report) -> None:
        if report.kind == "metrics":
            result = report.data["result"]
            if self._request is not None and result.request == self._request.identity:
                self._result = result
        elif report.kind == "restarted":
            words = f"the evaluation process {report.data['cause']}, and is replaced"
            self._say(words, report.data["trace"])
            if self._crew is not None and self._request is not None:
                self._crew.tell("evaluator", self._request)

    def _take(self) -> Result:
        """The result, once."""
        assert self._result is not None
        result, self._result, self._request = self._result, None, None
        if result.env_errors and not self.env_errors:
            words = f"an env of the evaluation raised {result.trace.strip().splitlines()[-1]}"
            self._say(f"{words}, and was rebuilt alone", result.trace)
        self.env_errors += result.env_errors
        return result
