"""Law 16: in lockstep with `policy_lag: L` and one update a round, every transition that is
consumed comes from the policy of exactly L updates ago."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from paradigms.base import Progress
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.loop.ledger import Ledger
from tests.jobs import job, run, world

WORKERS = {"dcollect": 2, "dupdate": 1}


@pytest.fixture
def consumed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Updates made, and the version of the policy behind it, of each fragment as it is stored."""
    seen: list[tuple[int, int]] = []
    stored = Ledger.stored

    def noted(self: Ledger, rank: int, transitions: int, version: int) -> None:
        seen.append((self.total("updates"), version))
        stored(self, rank, transitions, version)

    monkeypatch.setattr(Ledger, "stored", noted)
    return seen


@pytest.mark.parametrize(
    ("paradigm", "policy_lag"),
    [(DCollect(), 0), (DCollect(), 5), (DUpdate(), 1), (DUpdate(), 2), (DUpdate(), 5)],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_transition_is_as_many_updates_old_as_requested(
    paradigm: Any, policy_lag: int, consumed: list[tuple[int, int]]
) -> None:
    workers = WORKERS[paradigm.name]
    updates_per_env_step = 1 / (8 * workers)  # one update a round of 4 steps of 2 envs
    once_a_round = job(
        world(autoreset="same_step"),
        workers=workers,
        rollout_length=4,
        num_envs=2,
        updates_per_env_step=updates_per_env_step,
        warmup=0,
        env_steps=160,
        policy_lag=policy_lag,
    )
    ended = run(paradigm, once_a_round)
    assert (
        ended.totals["updates"]
        == ended.totals["env_steps"] * updates_per_env_step
        >= 2 * policy_lag
    )
    updates, version = np.transpose(consumed)
    assert_array_equal(updates, np.repeat(np.arange(len(updates) // workers), workers))
    assert_array_equal(updates - version, np.minimum(updates, policy_lag))
    for stream in ended.stored():
        assert {*stream["version"]} == {*version}
    assert ended.totals["policy_lag_max"] == policy_lag


@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()], ids=lambda p: p.name)
def test_policy_lag_is_in_updates_and_the_final_weights_have_none(paradigm: Any) -> None:
    """Four updates a round are published together: a lag of six is two publications, not six."""
    ends = []
    for policy_lag in (0, 6):
        snapshots: list[int] = []

        def look(progress: Progress, seen: list[int] = snapshots) -> None:
            seen.append(progress.updates - progress.snapshot("evaluate").version)

        ended = run(paradigm, job(policy_lag=policy_lag, env_steps=320, rollout_length=4), look)
        assert {*snapshots} == {0}
        assert ended.result.final.version == ended.totals["updates"]
        ends.append(ended)
    plain, lagged = ends
    assert plain.totals["policy_lag_max"] == 0
    assert 6 <= lagged.totals["policy_lag_max"] < 6 + 8
