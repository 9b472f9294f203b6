"""Vectors that are averaged in pairs: the mean of all of them stays, and nothing that is lost
spreads."""

from __future__ import annotations

from typing import Any

import torch

from agents.parts.vector import Vector
from paradigms.gossip import Gossiping
from paradigms.runtime.lock import Lock
from paradigms.weights.gossip import Gossip, Vectors
from paradigms.weights.merge import exact
from tests.jobs import AGENTS, job, laid, run, sac


class Alone:
    """A link of a role that nobody keeps waiting."""

    def wait(self, what: str, ready: Any, *, brief: bool) -> bool:
        return bool(ready())


ALONE: Any = Alone()


def vectors(workers: int, name: str = "sac", **options: bool) -> tuple[Vectors, Vector]:
    pupil = AGENTS[name]
    agent = laid(pupil.make(pupil.job().spec, seed=0, **options))
    made = Vectors(agent.vector, [Lock() for _ in range(workers)]).by(ALONE)
    noise = torch.randn(made.floats.shape, generator=torch.Generator().manual_seed(0))
    made.floats += noise
    return made, agent.vector


def test_two_vectors_become_their_mean_and_the_mean_of_all_stays() -> None:
    made, _ = vectors(3)
    before, mean = made.floats.clone(), made.snapshot("all", made.floats.shape[1]).floats
    assert made.average(2, 0)
    torch.testing.assert_close(made.floats[0], (before[0] + before[2]) / 2)
    assert torch.equal(made.floats[0], made.floats[2])
    assert torch.equal(made.floats[1], before[1])
    torch.testing.assert_close(made.snapshot("all", before.shape[1]).floats, mean)


def test_sums_are_averaged_with_all_their_digits() -> None:
    made, _ = vectors(2, "ppo", normalise=True)
    assert made.sums
    for span in made.sums:
        made.floats[:, span] = 0
        half = (span.stop - span.start) // 2
        made.floats[0, span.start : span.start + half] = 1e8
        made.floats[1, span.start + half : span.stop] = 1.0
    assert made.average(0, 1)
    for span in made.sums:
        assert (exact(made.floats[0, span]) == 5e7 + 0.5).all()


def test_a_vector_that_is_not_finite_is_averaged_with_none() -> None:
    made, _ = vectors(2)
    made.floats[0, 3] = float("nan")
    before = made.floats[1].clone()
    assert not made.average(1, 0)
    assert torch.equal(made.floats[1], before)
    assert torch.equal(made.snapshot("all", len(before)).floats, before)


def test_every_other_worker_is_met_and_never_oneself() -> None:
    made, _ = vectors(4)
    met: list[tuple[int, int]] = []
    made.average = lambda rank, other: met.append((rank, other)) or True  # type: ignore[method-assign, func-returns-value, assignment]
    spec = job().spec
    gossip = Gossip(
        laid(sac(spec, 0)),
        made,
        None,
        None,
        ALONE,
        rank=1,
        every=3,
        seed=0,
        met=lambda _: None,  # type: ignore[arg-type]
    )
    for _ in range(120):
        gossip.give()
    assert len(met) == 40
    assert {other for _, other in met} == {0, 2, 3}


def test_workers_stay_near_each_other_and_their_averages_are_counted() -> None:
    few = job(workers=3, env_steps=384)
    often, never = (run(Gossiping(every=every), few) for every in (1, 10**9))
    assert often.totals["merges"] > 100 and never.totals["merges"] == 0
    assert often.totals["updates"] == never.totals["updates"] > 300
    assert often.totals["lost"] == 0 and often.totals["bytes_moved"] > 0
    assert int(often.result.final.counts[0]) == often.totals["updates"]
