"""Law 6: with equal returns and fresh moments nothing moves, and a quadratic is climbed. Processes
that read the same returns move to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Agent, Spec
from agents.ppo import PPO
from paradigms.weights.evolved import Best, Evolved, Ranked, Rule, centred_ranks, noise
from tests.jobs import AGENTS, Idler, job, laid, sac

RULES: dict[str, Rule] = {
    "es": Ranked(sigma=0.1, weight_decay=0.0),
    "ars": Best(top=4),
}
EVERY_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
PAIRS = 8


def evolved(agent: Agent | None = None, *, seed: int = 0, sigma: float = 0.1) -> Evolved:
    return Evolved(laid(agent or sac(job().spec, 0)), seed=seed, sigma=sigma)


def slow_ranks(values: np.ndarray) -> list[float]:
    """Counts, for each value, who is below it and who is equal."""
    ranks = []
    for value in values:
        below = sum(other < value for other in values)
        equal = sum(other == value for other in values)
        ranks.append((below + (equal - 1) / 2) / (len(values) - 1) - 0.5)
    return ranks


@given(st.lists(st.one_of(st.integers(-3, 3), st.floats(-1e6, 1e6)), min_size=2, max_size=40))
def test_centred_ranks_are_what_counting_gives(values: list[float]) -> None:
    ranks = centred_ranks(np.array(values, np.float64))
    assert ranks.dtype == np.float64
    np.testing.assert_array_equal(ranks, slow_ranks(np.array(values, np.float64)))
    assert abs(ranks.sum()) < 1e-9


def test_equal_values_share_their_rank() -> None:
    assert centred_ranks(np.array([7.0, 7.0, 7.0, 7.0])).tolist() == [0, 0, 0, 0]
    assert centred_ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [0, -0.5, 0, 0.5]


def test_a_noise_depends_on_its_three_numbers_alone() -> None:
    one = noise(3, 5, 7, 1000)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, noise(3, 5, 7, 1000))
    np.testing.assert_array_equal(one[:10], noise(3, 5, 7, 10))
    others = [noise(*numbers, 1000) for numbers in ((2, 5, 7), (3, 6, 7), (3, 5, 8), (3, 7, 5))]
    for other in others:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
        assert not np.isin(one, other).any()


@EVERY_RULE
def test_equal_returns_move_nothing(rule: Rule) -> None:
    for value in (0.0, -33.25, 1e9):
        one = evolved()
        before = one.groups[0].flat.clone()
        shares = rule.shares(np.full((PAIRS, 2), value))
        assert not shares.any()
        one.move(0, rule, shares, lr=0.1)
        assert torch.equal(one.groups[0].flat, before)
        assert one.generation == 1


def test_the_shares_of_es_are_the_estimator_over_all_episodes() -> None:
    returns = np.array([[1.0, 5.0], [2.0, 2.0], [9.0, -4.0]])
    shaped = np.array(slow_ranks(returns.ravel())).reshape(3, 2)
    expected = [(plus - minus) / (6 * 0.1) for plus, minus in shaped]
    np.testing.assert_allclose(RULES["es"].shares(returns), expected)


def test_the_shares_of_ars_are_those_of_the_best_pairs() -> None:
    returns = np.array([[1.0, 5.0], [0.0, 2.0], [9.0, -4.0], [3.0, 4.0]])
    deviation = np.std([1.0, 5.0, 9.0, -4.0])
    expected = [(1 - 5) / (2 * deviation), 0, (9 + 4) / (2 * deviation), 0]
    np.testing.assert_allclose(Best(top=2).shares(returns), expected)


@EVERY_RULE
def test_a_return_that_is_a_quadratic_is_climbed(rule: Rule) -> None:
    one = evolved(sigma=0.05)
    (group,) = one.groups
    real = torch.zeros_like(group.flat)
    one._fill(np.ones(one.size, np.float32))
    real.copy_(group.grad)
    assert 0 < int(real.sum()) == one.size < len(real), "the layers are padded"
    target = real * 0.3

    def distance() -> float:
        return float((group.flat - target).square().sum())

    start = distance()
    for generation in range(150):
        returns = np.zeros((PAIRS, 2))
        for index in range(PAIRS):
            for half, sign in enumerate((1, -1)):
                one.perturb(generation, index, sign)
                returns[index, half] = -distance()
        one.move(generation, rule, rule.shares(returns), lr=0.02)
    assert distance() < 0.5 * start
    assert not group.flat[real == 0].any(), "padding stays 0"


@EVERY_RULE
def test_processes_hold_the_same_bits_after_a_hundred_generations(rule: Rule) -> None:
    """Each perturbs other pairs in between, and one joins late from the weights of another."""
    one, two = evolved(), evolved()
    generator = np.random.default_rng(0)
    for generation in range(100):
        one.perturb(generation, generation % PAIRS, 1)
        two.perturb(generation, (generation + 3) % PAIRS, -1)
        shares = rule.shares(generator.integers(-3, 4, (PAIRS, 2)).astype(float))
        one.move(generation, rule, shares, lr=0.02)
        two.move(generation, rule, shares, lr=0.02)
        if generation == 50:
            other = laid(sac(job().spec, 1))
            other.vector.load("all", one.agent.vector.floats, one.agent.vector.counts)
            two = Evolved(other, seed=0, sigma=0.1)
            assert two.generation == 51
    assert torch.equal(one.agent.vector.floats, two.agent.vector.floats)
    assert torch.equal(one.agent.vector.counts, two.agent.vector.counts)


def test_two_halves_mirror_each_other_around_the_weights() -> None:
    one = evolved(sigma=0.5)
    (group,) = one.groups
    centre = group.flat.clone()
    one.perturb(4, 2, 1)
    plus = group.flat.clone()
    one.perturb(4, 2, -1)
    assert torch.allclose((plus + group.flat) / 2, centre, atol=1e-6)
    assert float((plus - centre)[plus != centre].std()) == pytest.approx(0.5, rel=0.1)


def normalised(spec: Spec, seed: int, device: str = "cpu") -> PPO:
    return PPO(spec, seed, device, hidden_sizes=(8,), normalise=True, scale_reward=True)


@pytest.mark.parametrize("make", [normalised, *(AGENTS[n].make for n in ("td3", "sac"))])
def test_only_the_policy_is_perturbed_and_moved(make: Any) -> None:
    agent = laid(make(job().spec, 0))
    before = agent.vector.floats.clone()
    one = Evolved(agent, seed=0, sigma=0.1)
    one.perturb(0, 0, 1)
    one.move(0, RULES["ars"], np.linspace(-1, 1, PAIRS), lr=0.1)
    actor = agent.vector.span("actor")
    changed = (agent.vector.floats != before).nonzero()[:, 0]
    assert actor.start <= int(changed.min()) and int(changed.max()) < actor.stop
    assert len(changed) == one.size


def test_adams_moments_are_the_groups_own() -> None:
    one = evolved()
    (group,) = one.groups
    one.move(0, RULES["es"], np.linspace(-1, 1, PAIRS), lr=0.1)
    assert float(group.step) == 1 and group.m.any() and group.v.any()


def test_weight_decay_pulls_towards_zero() -> None:
    one, rule = evolved(), Ranked(sigma=0.1, weight_decay=0.1)
    norm = float(one.groups[0].flat.norm())
    for generation in range(20):
        one.move(generation, rule, np.zeros(PAIRS), lr=0.01)
    assert float(one.groups[0].flat.norm()) < 0.9 * norm


def test_an_agent_that_cannot_be_evolved_is_refused_in_a_sentence() -> None:
    slow = Idler(job().spec, 0)
    slow.slow["number"] = slow.groups.pop("number").tensors
    with pytest.raises(ValueError, match="choose another agent"):
        evolved(slow)
