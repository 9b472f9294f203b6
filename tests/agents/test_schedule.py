"""The line that a learning rate follows, at points computed by hand."""

from __future__ import annotations

import pytest

from agents.parts.schedule import Line


@pytest.mark.parametrize(
    ("share", "factor"), [(0.0, 1.0), (0.1, 1.0), (0.35, 0.525), (0.6, 0.05), (1.0, 0.05)]
)
def test_it_holds_then_falls_straight_then_stays(share: float, factor: float) -> None:
    assert Line(hold=0.1, final=0.05, end=0.6)(share) == pytest.approx(factor)


def test_without_a_final_it_stays_at_one() -> None:
    assert {Line()(share) for share in (0.0, 0.5, 1.0)} == {1.0}
