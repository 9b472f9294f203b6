"""Sum trees against plain arrays and cumulative sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from paradigms.experience.sumtree import FAN, MANY, SumTrees, Windows

LEAVES = st.sampled_from([1, 2, FAN - 1, FAN, FAN + 1, FAN**2, FAN**2 + 1, 700])


@settings(max_examples=60)
@given(LEAVES, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_sum_of_a_tree_is_the_sum_of_its_leaves(leaves: int, trees: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made, plain = SumTrees(trees, leaves), np.zeros((trees, leaves))
    for _ in range(20):
        flat = rng.permutation(trees * leaves)[: rng.integers(0, trees * leaves + 1)]
        tree, leaf = np.divmod(flat, leaves)
        plain[tree, leaf] = 10.0 ** rng.uniform(-8, 8, len(flat)) * (rng.random(len(flat)) < 0.8)
        made.set(tree, leaf, plain[tree, leaf])
        assert_allclose(made.totals(), plain.sum(1), rtol=1e-13)
    tree, leaf = np.divmod(np.arange(trees * leaves), leaves)
    assert_array_equal(made.values(tree, leaf), plain.reshape(-1))


@settings(max_examples=60)
@given(LEAVES, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_leaf_is_found_where_the_cumulative_sum_passes_the_number(
    leaves: int, trees: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plain = rng.integers(0, 4, (trees, leaves)).astype(float)
    plain[:, rng.integers(leaves)] = 1  # whole numbers: all sums are exact
    made = SumTrees(trees, leaves)
    tree, leaf = np.divmod(np.arange(trees * leaves), leaves)
    made.set(tree, leaf, plain.reshape(-1))

    tree = rng.integers(trees, size=50)
    below = np.floor(rng.random(50) * 2 * plain.sum(1)[tree]) / 2
    expected = [
        np.searchsorted(plain[t].cumsum(), b, side="right")
        for t, b in zip(tree, below, strict=True)
    ]
    found, value = made.find(tree, below)
    assert_array_equal(found, expected)
    assert_array_equal(value, plain[tree, found])


@pytest.mark.parametrize("order", ["in order", "scattered"])
def test_sums_are_right_when_very_many_leaves_are_set_at_once(order: str) -> None:
    rng, leaves = np.random.default_rng(0), 3 * MANY
    made, flat = SumTrees(2, leaves), np.arange(leaves // 2, 2 * leaves - 5)
    if order == "scattered":
        flat = rng.permutation(flat)
    value = rng.integers(1, 9, len(flat)).astype(float)
    made.set(*np.divmod(flat, leaves), value)
    totals = [value[flat // leaves == tree].sum() for tree in (0, 1)]
    assert made.totals().tolist() == totals
    found, _ = made.find(np.array([0, 0, 1, 1]), np.array([0, totals[0], 0, totals[1]]))
    assert found.tolist() == [leaves // 2, leaves - 1, 0, leaves - 6]


@pytest.mark.parametrize("beyond", [0.0, 1e-9, 1.0])
def test_a_leaf_of_0_is_never_found(beyond: float) -> None:
    """Not even where rounding, or the caller, wants more than the sum."""
    made, rng = SumTrees(1, 1000), np.random.default_rng(0)
    leaf = rng.permutation(1000)[:30]
    made.set(np.zeros(30, np.int64), leaf, rng.uniform(1e-9, 1e9, 30))
    edges = np.concatenate(([0.0], made.totals() + beyond, made.totals() * rng.random(1000)))
    found, value = made.find(np.zeros(len(edges), np.int64), edges)
    assert {*found} <= {*leaf}
    assert (value > 0).all()


@settings(max_examples=60)
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 40)), min_size=1))
def test_a_moved_window_holds_just_its_transitions(
    window: int, moves: list[tuple[int, int]]
) -> None:
    windows, held = Windows(2, window), set[int]()
    one = np.array([1])
    for first, length in moves:
        now = {*range(first, first + min(length, window))}
        head = first + min(length, window)
        stream, entered = windows.move(one, np.array([first]), np.array([head]))
        assert len(entered) == len({*entered})
        assert {*entered} == now - held
        windows.set(stream, entered, 1.0 + entered)
        held = now
        serials = np.array(sorted(held), np.int64)
        assert windows.trees.totals().tolist() == [0, (1 + serials).sum()]
        assert windows.holds(np.ones(150, np.int64), np.arange(150)).sum() == len(held)
        if held:
            found, power = windows.find(np.ones(99, np.int64), np.linspace(0, power_sum(held), 99))
            assert {*found} <= held
            assert_array_equal(power, 1 + found)


def power_sum(held: set[int]) -> float:
    return float(sum(1 + serial for serial in held))
