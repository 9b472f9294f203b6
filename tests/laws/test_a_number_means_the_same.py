"""Law 18: what is logged of episodes and policy lag means the same in every paradigm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from paradigms.base import Progress
from tests.jobs import PARADIGMS, Ended, job, run, world

MEANS = {"episode/return", "episode/length", "policy_lag/mean"}
MEANS |= {"evaluation/worker_return", "evaluation/worker_length"}


def followed(name: str, **changes: object) -> tuple[Ended, list[dict[str, tuple[float, int]]]]:
    means: list[dict[str, tuple[float, int]]] = []

    def look(progress: Progress) -> None:
        means.append(progress.means)

    worlds = world("Counting", autoreset="same_step")
    return run(PARADIGMS[name], job(worlds, env_steps=480, **changes), look), means


def finished_returns(ended: Ended) -> list[float]:
    """The returns of the episodes that ended, from the rewards that the replay holds."""
    returns = []
    for stream in ended.stored():
        ends = np.flatnonzero(stream["terminated"] | stream["truncated"])
        sums = np.cumsum(stream["reward"].astype(np.float64))[ends]
        returns += np.diff(sums, prepend=0.0).tolist()
    return returns


@pytest.mark.parametrize("name", PARADIGMS)
def test_every_episode_counts_once_in_the_mean(name: str) -> None:
    """And sums only grow, so that their differences are the means of a stretch."""
    workers = 1 if name == "sequential" else 2
    ended, means = followed(name, workers=workers, max_ahead=16)
    for before, after in itertools.pairwise(means):
        assert all(after[key][1] >= before[key][1] for key in MEANS)
    last, returns = means[-1], finished_returns(ended)
    assert {*last} == MEANS
    gained, episodes = last["episode/return"]
    assert episodes == len(returns) == ended.totals["episodes"] > 20
    assert gained == pytest.approx(sum(returns))


@pytest.mark.slow
def test_one_worker_logs_what_sequential_logs() -> None:
    (_, expected), *others = [followed(name) for name in PARADIGMS]
    for _, means in others:
        assert means[-1] == expected[-1]
