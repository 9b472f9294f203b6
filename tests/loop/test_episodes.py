"""Workers that evaluate tell what their greedy episodes returned, and learn the same as before."""

from __future__ import annotations

import pytest

from paradigms.base import Progress
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from tests.jobs import job, run


@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()])
def test_workers_evaluate_when_asked_to(paradigm: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paradigms.loop.tasks.EXAMS", 4)
    told: dict[bool, list[float]] = {True: [], False: []}
    ended = {}
    for asked, seen in told.items():

        def look(progress: Progress, seen: list[float] = seen) -> None:
            if "evaluation/worker_return" in progress.metrics:
                seen.append(progress.metrics["evaluation/worker_return"])

        ended[asked] = run(paradigm, job(evaluate_in_worker=asked), look)
    assert told[True]
    assert all(-40 <= seen <= 0 for seen in told[True])
    assert not told[False]
    ended[True].same_as(ended[False])
