"""The median of learning curves whose points lie apart."""

from __future__ import annotations

import pytest

from paradigms.report import curves


def test_the_median_spans_what_every_seed_has_measured() -> None:
    x, y = curves.median_curve([([0, 10], [0, 10]), ([2, 8], [4, 4]), ([1, 20], [100, 100])])
    assert (x[0], x[-1]) == (2, 8)
    # seeds at 2: 2, 4, 100; at 5: 5, 4, 100; at 8: 8, 4, 100
    assert (y[0], y[-1]) == pytest.approx((4, 8))
    assert y[(x >= 4.5).argmax()] == pytest.approx(x[(x >= 4.5).argmax()])


def test_curves_that_never_overlap_have_a_median_at_one_place() -> None:
    x, _ = curves.median_curve([([0, 1], [0, 0]), ([5, 6], [1, 1])])
    assert set(x) == {5}
