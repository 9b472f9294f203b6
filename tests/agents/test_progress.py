"""The loop tells the agent its progress before every learn, whatever the paradigm."""

from __future__ import annotations

import pytest

from agents.base import Batch, Learned
from tests.jobs import PARADIGMS, Idler, job, laid, run

WORKERS = {name: 1 if name == "sequential" else 2 for name in PARADIGMS}


class Noting(Idler):
    """Notes its progress and the learning rates' factor at each learn, one list a copy."""

    notes: dict[int, list[tuple[float, float]]] = {}  # noqa: RUF012

    def learn(self, batch: Batch) -> Learned:
        self.notes.setdefault(id(self), []).append((self.progress, self.optim.lr_factor))
        return super().learn(batch)


def test_an_agent_begins_at_0() -> None:
    assert laid(Idler(job().spec, 0)).progress == 0.0


@pytest.mark.parametrize("name", PARADIGMS)
def test_progress_is_the_share_of_the_budget_and_the_learning_rate_follows_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noting, "notes", {})
    ours = job(agent=Noting, lr_schedule=lambda share: 1 - share, workers=WORKERS[name])
    run(PARADIGMS[name], ours)
    assert Noting.notes
    for notes in Noting.notes.values():
        progress = [share for share, _ in notes]
        assert all(factor == 1 - share for share, factor in notes)
        assert progress == sorted(progress) and len(set(progress)) > 3
        assert progress[0] < 0.6 and progress[-1] > 0.9
