"""Gorila with faults on purpose: they happen, and are rejected where that is asked for."""

from __future__ import annotations

import pytest

from benchmarks.faults import FaultyGorila, FaultyRemote
from benchmarks.writers import measure
from paradigms.weights.sharded import APPLY
from tests.jobs import job, run


def test_a_late_worker_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.faults.SHARE", 0.0)
    few = job(workers=2, env_steps=256)
    late, rejected = (run(FaultyGorila(max_staleness=most), few).totals for most in (None, 20))
    assert late["lost"] == 0 and 40 < late["policy_lag_max"]
    assert rejected["lost"] > 20 and rejected["policy_lag_max"] < late["policy_lag_max"]


def test_gradients_that_are_too_large_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.faults.LATE", 0)
    monkeypatch.setattr("benchmarks.faults.SHARE", 0.02)
    blown: list[bool] = []
    send = FaultyRemote._send

    def noted(self: FaultyRemote, kind: int, *rest: object, **named: object) -> None:
        blown.append(kind == APPLY and float(rest[1].abs().max()) > 100)  # type: ignore[attr-defined]
        send(self, kind, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FaultyRemote, "_send", noted)
    few = job(workers=2, env_steps=512)
    run(FaultyGorila(), few)
    sent = sum(blown)
    blown.clear()
    lost = run(FaultyGorila(outlier_deviations=4.0), few).totals["lost"]
    assert sent > 10 and sum(blown) < sent / 2 and lost > sent / 2


def test_a_lock_keeps_writes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.writers.SECONDS", 0.2)
    lost, torn, rate = measure(1000, locked=True)
    assert lost == torn == 0.0 and rate > 0
