"""Covering arrays: few cases in place of a whole product.

Most faults need one value, or two values together, to show (Kuhn, Wallace and Gallo 2004, *Software
Fault Interactions and Implications for Software Testing*). So it is enough that every two values
that can occur together do so in some case.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Case = TypeVar("Case", bound=tuple)


def pairs(case: tuple[Hashable, ...]) -> set[Hashable]:
    """Every two values of a case, each with its place."""
    return set(itertools.combinations(enumerate(case), 2))


def covering(
    cases: Iterable[Case], shows: Callable[[Case], Iterable[Hashable]] = pairs
) -> list[Case]:
    """Few of the cases that show together what all of them show; by default every pair of values.

    Greedy: the next case is the one that adds most, the first of those that add the same; so the
    result depends on nothing but the order of the cases.
    """
    left = {case: set(shows(case)) for case in cases}
    wanted = set().union(*left.values())
    chosen = []
    while wanted:
        best = max(left, key=lambda case: len(left[case] & wanted))
        wanted -= left.pop(best)
        chosen.append(best)
    return chosen
