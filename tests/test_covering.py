"""The covering arrays that choose the cases of other tests."""

from __future__ import annotations

import itertools

from tests.covering import covering, pairs

FACTORS = ("abcde", "xyz", (0, 1), (False, True))


def test_every_pair_of_values_occurs_in_a_fraction_of_the_product() -> None:
    product = [*itertools.product(*FACTORS)]
    chosen = covering(product)
    assert set().union(*map(pairs, chosen)) == set().union(*map(pairs, product))
    assert 15 <= len(chosen) <= 18 < len(product) == 60, "15 is the least: 5 letters x 3"
    assert chosen == covering(product)


def test_only_given_cases_are_chosen_and_only_what_they_show_is_wanted() -> None:
    allowed = [case for case in itertools.product(*FACTORS) if case[0] != "a" or case[1] == "x"]
    assert set(covering(allowed)) <= set(allowed)
    singles = covering(allowed, lambda case: enumerate(case))
    assert len(singles) == 5, "each letter once, the other values beside them"
