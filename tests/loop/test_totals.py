"""The totals of a run are computed from its counters."""

from __future__ import annotations

import pytest

from paradigms.loop import totals as module
from paradigms.loop.drive import Driver
from paradigms.loop.ledger import LEARNER, Ledger
from paradigms.loop.totals import TOTALS, Totals, time_of_role
from paradigms.runtime.link import Report
from tests.jobs import job


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of Totals, in its only element."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def make() -> Totals:
    plain = job(updates_per_env_step=0.5, warmup=100, workers=2, env_steps=1000)
    return Driver(plain, workers=2).totals


def test_every_total_exists_when_nothing_has_happened() -> None:
    assert make().result() == TOTALS


def test_totals_are_the_counters() -> None:
    totals = make()
    ledger = totals.ledger
    for column, n in (("episodes", 3), ("length", 50), ("merges", 7), ("lost", 2), ("updates", 40)):
        ledger.count(column, 0, n)
        ledger.count(column, LEARNER, n)
    ledger.count("added", LEARNER, 260)
    ledger.count("collected", 0, 264)
    assert totals.result(restarts=1) == {
        **TOTALS,
        "env_steps": 260,
        "episodes": 6,
        "episode_length_mean": 100 / 6,
        "updates": 80,
        "updates_per_env_step": 80 / 160,
        "merges": 14,
        "lost": 4,
        "dropped": 4,
        "restarts": 1,
    }


def test_rates_go_from_the_first_update_seen_to_the_last(clock: list[float]) -> None:
    totals = make()
    for now, added, updates in ((5, 100, 0), (10, 20, 10), (20, 80, 40), (40, 100, 50), (90, 0, 0)):
        clock[0] = float(now)
        totals.ledger.count("added", LEARNER, added)
        totals.ledger.count("updates", LEARNER, updates)
        totals.note({})
    result = totals.result()
    assert result["env_steps_per_second"] == (80 + 100) / 30
    assert result["updates_per_second"] == (40 + 50) / 30


def test_policy_lag_is_averaged_over_fragments_and_replay_age_over_reports() -> None:
    totals = make()
    totals.ledger.learned(LEARNER, 10)
    for rank, version in ((0, 8), (1, 1), (0, 10)):
        totals.ledger.stored(rank, 4, version)
    totals.ledger.stored(1, 0, 0)  # a fragment that had been there before
    totals.note({"replay/age": 100.0})
    totals.note({"replay/age": 300.0})
    result = totals.result()
    assert (result["policy_lag_mean"], result["policy_lag_max"]) == ((2 + 9 + 0) / 3, 9)
    assert result["replay_age_mean"] == 200.0


def test_busy_learners_and_blocked_actors_are_weighed_by_their_seconds() -> None:
    roles = {
        "learner": {"seconds": 10.0, "collect": 0.0, "learn": 0.9},
        "worker-0": {"seconds": 10.0, "collect": 0.5, "learn": 0.0, "pace": 0.4},
        "worker-1": {"seconds": 30.0, "collect": 0.2, "learn": 0.0, "pace": 0.8},
    }
    result = make().result(roles)
    assert result["learner_busy"] == pytest.approx(0.9)
    assert result["actor_blocked"] == pytest.approx((0.4 * 10 + 0.8 * 30) / 40)
    assert result["time_by_role"] == roles


@pytest.mark.parametrize(("name", "rank"), [("learner", LEARNER), ("worker-1", 1)])
def test_the_time_of_a_role_is_what_the_ledger_and_its_waits_say(name: str, rank: int) -> None:
    ledger = Ledger(2)
    with ledger.timed("learning", rank):
        pass
    report = Report(name, "finished", {"seconds": {"pace": 2.0}, "total": 8.0})
    share = ledger.seconds("learning", rank) / 8
    assert share > 0
    assert time_of_role(report, ledger) == {
        "seconds": 8.0,
        "busy": 0.75,
        "collect": 0.0,
        "learn": share,
        "pace": 0.25,
    }
