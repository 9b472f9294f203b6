"""Law 16: in lockstep with `lag: L` and one update a round, every row that is consumed comes from
the policy of exactly L updates ago."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.experience.layout import Fragment
from paradigms.loop.learner import Learner
from tests.jobs import job, run, world

WORKERS = {"dcollect": 2, "dupdate": 1}


@pytest.fixture
def consumed(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Learner version and the versions of all valid rows, of each fragment as it is taken."""
    seen: list[np.ndarray] = []

    def arrived(self: Learner, fragment: Fragment, version: int) -> None:
        rows = fragment.transitions["version"][fragment.transitions["valid"]]
        seen.append(np.array([version, rows.min(), rows.max()]))

    monkeypatch.setattr(Learner, "arrived", arrived)
    return seen


@pytest.mark.parametrize("policy_lag", [0, 1, 2, 5])
@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()], ids=lambda p: p.name)
def test_every_row_is_as_old_as_was_asked_for(
    paradigm: Any, policy_lag: int, consumed: list[np.ndarray]
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
    version, oldest, newest = np.transpose(consumed)
    assert_array_equal(oldest, newest)
    assert_array_equal(version, np.repeat(np.arange(len(version) // workers), workers))
    assert_array_equal(version - newest, np.minimum(version, policy_lag))
