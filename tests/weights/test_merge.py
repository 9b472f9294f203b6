"""Merge rules against vectors computed by hand.

The agent has a group `net` of one tensor, a group `alpha`, a target that follows `net`, and a slow
tensor that follows nothing. Below c is the learner's vector, b the base, w what the worker came to.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.base import Acted, Agent, Batch, Group, Learned, State
from agents.parts.normal import Normal
from agents.parts.vector import Vector
from envs.make import describe
from paradigms.weights.merge import Damped, Delta, Elastic, finite, make_rule
from tests.jobs import world

SPEC = describe(world())
TAU = 0.1


class Two(Agent):
    """Tensors of two numbers each; it never acts."""

    def __init__(self) -> None:
        super().__init__(SPEC, 0)
        self.tensors = {
            name: torch.zeros(2, requires_grad=True)
            for name in ("net", "alpha", "target", "statistic")
        }
        for name in ("net", "alpha"):
            self.groups[name] = Group([self.tensors[name]], lr=0.0)
        for name in ("target", "statistic"):
            self.slow[name] = [self.tensors[name].detach()]
        self.follows = {"target": ("net", TAU)}
        self.parts = {"act": ["net"], "evaluate": ["net"]}

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        raise NotImplementedError

    def learn(self, batch: Batch) -> Learned:
        raise NotImplementedError


def vector(step: int = 0, **values: float) -> Vector:
    """A vector with these values (two of each; moments as net_m, net_v) and `step` updates done."""
    made = Vector(Two())
    for name, value in values.items():
        made.flat(name.replace("_", "."))[:2] = torch.tensor([value, -value])
    for group in ("net", "alpha"):
        made.flat(f"{group}.step").fill_(step)
    return made


def reads(made: Vector | Tensor, name: str) -> float:
    """The first of a name's two values; asserts that the second is its negative."""
    if isinstance(made, Vector):
        flat = made.flat(name.replace("_", "."))
    else:
        flat = made[vector().span(name.replace("_", "."))]
    assert flat[0] == -flat[1] and not flat[2:].any()
    return float(flat[0])


def steps(made: Vector) -> list[float]:
    return [float(made.flat(f"{group}.step")[0]) for group in ("net", "alpha")]


# c at 30 updates; b = what c was at 20; w = b after 4 updates
C = {"net": 2.0, "alpha": 8.0, "target": 1.0, "statistic": 5.0, "net_m": 0.5, "net_v": 4.0}
B = {"net": 1.0, "alpha": 7.0, "target": 0.5, "statistic": 3.0, "net_m": 0.4, "net_v": 3.0}
W = {"net": 4.0, "alpha": 5.0, "target": 9.0, "statistic": 4.0, "net_m": 0.9, "net_v": 8.0}
LAG = 1 - (1 - TAU) ** 4  # the target's rate for the worker's four updates


def learner() -> Vector:
    return vector(30, **C)


def worker() -> tuple[Tensor, Tensor]:
    return vector(20, **B).floats, vector(24, **W).floats


def test_damped_moves_a_share_of_the_way_to_the_worker_and_forgets_first_moments() -> None:
    c, (b, w) = learner(), worker()
    Damped(0.75)(c, b, w, made=4, alone=False)
    assert reads(c, "net") == 2 + 0.25 * (4 - 2)
    assert reads(c, "alpha") == 8 + 0.25 * (5 - 8)
    assert reads(c, "statistic") == 5 + 0.25 * (4 - 5)
    assert reads(c, "target") == pytest.approx(1 + LAG * (2.5 - 1))
    assert reads(c, "net_m") == 0
    assert reads(c, "net_v") == 4 + 0.25 * (8 - 4)
    assert steps(c) == [34, 34]


def test_delta_adds_what_the_worker_learned_and_averages_first_moments() -> None:
    c, (b, w) = learner(), worker()
    Delta(0.5)(c, b, w, made=4, alone=False)
    assert reads(c, "net") == 2 + 0.5 * (4 - 1)
    assert reads(c, "alpha") == 8 + 0.5 * (5 - 7)
    assert reads(c, "statistic") == 5 + 0.5 * (4 - 3)
    assert reads(c, "target") == pytest.approx(1 + LAG * (3.5 - 1))
    assert reads(c, "net_m") == pytest.approx(0.5 + 0.5 * (0.9 - 0.5))
    assert reads(c, "net_v") == 4 + 0.5 * (8 - 4)
    assert steps(c) == [34, 34]


def test_elastic_moves_both_sides_and_averages_the_learners_moments() -> None:
    c, (b, w) = learner(), worker()
    Elastic(0.25)(c, b, w, made=4, alone=False)
    assert reads(c, "net") == 2 + 0.25 * (4 - 2)
    assert reads(w, "net") == 4 - 0.25 * (4 - 2)
    assert reads(c, "alpha") == 8 + 0.25 * (5 - 8)
    assert reads(w, "alpha") == 5 - 0.25 * (5 - 8)
    assert reads(c, "target") == pytest.approx(1 + LAG * (2.5 - 1))
    assert reads(w, "target") == 9
    for moment in ("net_m", "net_v"):
        assert reads(w, moment) == pytest.approx(W[moment])
        assert reads(c, moment) == pytest.approx(C[moment] + 0.25 * (W[moment] - C[moment]))
    assert steps(c) == [34, 34]


def test_mean_of_four_is_a_quarter_of_what_each_learned() -> None:
    c, (b, w) = learner(), worker()
    rule = make_rule("mean", damping=0.8, scale=None, workers=4)
    for _ in range(4):
        rule(c, b, w, made=4, alone=False)
    assert reads(c, "net") == 2 + (4 - 1)
    assert steps(c) == [46, 46]


@pytest.mark.parametrize("rule", [Damped(0.0), Delta(1.0)], ids=["damped by 0", "delta of scale 1"])
def test_what_a_lone_worker_did_is_taken_over_whole(rule: Damped | Delta) -> None:
    c, (b, w) = learner(), worker()
    rule(c, b, w, made=4, alone=True)
    assert torch.equal(c.floats, w)


@pytest.mark.parametrize("rule", [Damped(1.0), Delta(0.0)], ids=["damped by 1", "delta of scale 0"])
def test_nothing_moves_not_even_by_a_nan(rule: Damped | Delta) -> None:
    for alone in (True, False):
        c, (b, w) = learner(), worker()
        before = c.floats.clone()
        rule(c, b, w.fill_(math.nan), made=4, alone=alone)
        assert torch.equal(c.floats, before)


def test_a_second_workers_delta_is_on_top_of_the_firsts() -> None:
    c = learner()
    for net in (4.0, 0.0):  # from the same base: one went up by 3, the other down by 1
        Delta(1.0)(c, worker()[0], vector(24, **{**W, "net": net}).floats, made=4, alone=False)
    assert reads(c, "net") == 2 + 3 - 1
    assert steps(c) == [38, 38]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 64), st.floats(0.001, 0.5))
def test_a_target_follows_a_merge_as_it_follows_that_many_updates(made: int, tau: float) -> None:
    c, w = learner(), vector(20 + made, **W).floats
    c.agent.follows = {"target": ("net", tau)}
    Delta(0.0001)(c, worker()[0], w, made=made, alone=False)
    merged = reads(c, "net")
    target = 1.0
    for _ in range(made):  # the merged net stands still
        target += tau * (merged - target)
    assert reads(c, "target") == pytest.approx(target, rel=1e-4)


SHARES = [
    ("delta", 1, 1.0),
    ("delta", 2, 1 / math.sqrt(2)),
    ("delta", 3, 1.25 / 3),
    ("delta", 4, 0.3125),
    ("delta", 5, 0.25),
    ("delta", 10, 0.125),
    ("mean", 5, 0.2),
    ("elastic", 3, 0.3),
    ("damped", 5, 0.25),
]


def test_the_default_share_by_number_of_workers(subtests: pytest.Subtests) -> None:
    for merge, workers, share in SHARES:
        with subtests.test(merge, workers=workers):
            rule = make_rule(merge, damping=0.75, scale=None, workers=workers)
            assert isinstance(rule, Damped | Delta | Elastic)
            assert rule.a == pytest.approx(share)
            assert rule.keeps_own == (merge == "elastic")


def test_settings_that_mean_nothing_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"paradigm.damping=1.5 must lie in \[0, 1\]"):
        make_rule("damped", damping=1.5, scale=None, workers=2)
    with pytest.raises(ValueError, match="choose delta, damped, elastic or mean"):
        make_rule("average", damping=0.8, scale=None, workers=2)


def test_one_number_that_is_not_finite_is_found() -> None:
    for bad in [math.nan, math.inf, -math.inf]:
        floats = torch.ones(1000)
        assert finite(floats)
        floats[777] = bad
        assert not finite(floats)


def test_targets_follow_after_more_updates_than_a_float32_can_count() -> None:
    """Adam's step is a float32, in which 2^24 + 1 = 2^24."""
    big = 1 << 24
    c, b = vector(big, **C), vector(big, **B).floats
    Delta(0.5)(c, b, vector(big, **W).floats, made=4, alone=False)
    assert reads(c, "target") == pytest.approx(1 + LAG * (3.5 - 1))


class Normalised(Two):
    """With the sums of a normaliser of one feature."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = Normal(1)
        self.slow["normal"] = self.normal.tensors
        self.sums = {"normal"}


@pytest.mark.parametrize("merge", ["delta", "damped", "elastic", "mean"])
def test_the_deviation_of_a_feature_far_from_zero_survives_many_merges(merge: str) -> None:
    """Mean 300, deviation 1: sums of squares rounded to float32 at each merge lose the deviation
    after a thousand merges."""
    rule = make_rule(merge, damping=0.5, scale=None, workers=2)
    learner, workers = Normalised(), [Normalised(), Normalised()]
    c, vectors = Vector(learner), [Vector(each) for each in workers]
    generator = torch.Generator().manual_seed(0)
    for agent in (learner, *workers):  # elastic workers begin from weights of their own
        agent.normal.update(300 + torch.randn(64, 1, generator=generator))
    for _ in range(1000):
        for agent, mine in zip(workers, vectors, strict=True):
            if not rule.keeps_own:
                mine.floats.copy_(c.floats)
            base = mine.floats.clone()
            agent.normal.update(300 + torch.randn(16, 1, generator=generator))
            rule(c, base, mine.floats, made=0, alone=False)
    mean, deviation = learner.normal.moments()
    assert float(mean[0]) == pytest.approx(300, abs=0.1)
    assert float(deviation[0]) == pytest.approx(1, abs=0.05)
