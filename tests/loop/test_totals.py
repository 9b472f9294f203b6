"""What a run amounts to, from its counters."""

from __future__ import annotations

import pytest

from paradigms.loop import totals as meter
from paradigms.loop.pace import Pace
from paradigms.loop.totals import TOTALS, Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The meter's time, in its only element."""
    now = [0.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    return now


def make() -> Pace:
    return Pace(updates_per_env_step=0.5, warmup=100, max_ahead=0, workers=2, limit=1000)


def test_every_total_is_there_when_nothing_has_happened() -> None:
    assert Meter(make()).totals() == TOTALS


def test_totals_are_the_counters() -> None:
    pace = make()
    for column, n in (("episodes", 3), ("length", 50), ("merges", 7), ("lost", 2), ("updates", 40)):
        pace.count(column, 0, n)
        pace.count(column, -1, n)
    pace.count("added", -1, 260)
    totals = Meter(pace).totals(restarts=1, time_by_role={"learner": {"busy": 0.5}})
    assert totals == {
        **TOTALS,
        "env_steps": 260,
        "episodes": 6,
        "episode_length_mean": 100 / 6,
        "updates": 80,
        "updates_per_env_step": 80 / 160,
        "merges": 14,
        "lost": 4,
        "restarts": 1,
        "time_by_role": {"learner": {"busy": 0.5}},
    }


def test_rates_go_from_the_first_update_seen_to_the_last(clock: list[float]) -> None:
    pace = make()
    gauge = Meter(pace)
    for now, added, updates in ((5, 100, 0), (10, 20, 10), (20, 80, 40), (40, 100, 50), (90, 0, 0)):
        clock[0] = float(now)
        pace.count("added", -1, added)
        pace.count("updates", -1, updates)
        gauge.note({})
    totals = gauge.totals()
    assert totals["env_steps_per_second"] == (80 + 100) / 30
    assert totals["updates_per_second"] == (40 + 50) / 30


def test_lag_and_age_are_averaged_over_what_was_told() -> None:
    gauge = Meter(make())
    gauge.note({"policy_lag/mean": 2.0, "policy_lag/max": 9.0})
    gauge.note({"replay/age": 100.0})
    gauge.note({"policy_lag/mean": 4.0, "policy_lag/max": 5.0, "replay/age": 300.0})
    totals = gauge.totals()
    assert (totals["policy_lag_mean"], totals["policy_lag_max"]) == (3.0, 9.0)
    assert totals["replay_age_mean"] == 200.0
