"""Settings are drawn within their ranges, and perturbed to a neighbour within them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from paradigms.loop.search import Space

SEARCH: dict[str, Any] = {
    "lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "gamma": {"low": 0.5, "high": 1.0},
    "n_step": {"low": 1, "high": 5},
    "sizes": {"choices": [[16], [32, 32], "none"]},
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within(values: dict[str, Any]) -> None:
    assert 1e-4 <= values["lr"] <= 1e-1 and 0.5 <= values["gamma"] <= 1.0
    assert isinstance(values["n_step"], int) and 1 <= values["n_step"] <= 5
    assert values["sizes"] in SEARCH["sizes"]["choices"]


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.25, 1.0]))
def test_what_is_drawn_and_perturbed_lies_within(seed: int, resample: float) -> None:
    space, draws = Space(SEARCH, "search"), generator(seed)
    point = space.draw(draws)
    within(space.values(point))
    for _ in range(5):
        point = space.perturb(point, draws, resample=resample)
        within(space.values(point))


def test_numbers_are_perturbed_by_a_fifth_and_choices_by_a_place() -> None:
    space = Space(SEARCH, "search")
    point = np.array([1e-2, 0.75, 3.0, 1.0])
    moved = np.array([space.perturb(point, generator(s), resample=0.0) for s in range(40)])
    np.testing.assert_allclose(np.unique(moved[:, 0]), [0.8e-2, 1.2e-2])
    np.testing.assert_allclose(np.unique(moved[:, 1]), [0.6, 0.9])
    assert {*moved[:, 2]} == {2.0, 4.0} and {*moved[:, 3]} == {0.0, 2.0}


def test_a_logarithmic_scale_gives_every_decade_its_share() -> None:
    space, draws = Space({"lr": SEARCH["lr"]}, "search"), generator(0)
    decades = np.log10([space.draw(draws)[0] for _ in range(600)])
    counts = np.histogram(decades, bins=[-4, -3, -2, -1])[0]
    assert counts.sum() == 600 and counts.min() > 150


def test_each_whole_number_is_as_likely_as_another() -> None:
    space, draws = Space({"n": SEARCH["n_step"]}, "search"), generator(0)
    counts = np.bincount([int(space.draw(draws)[0]) for _ in range(1000)], minlength=6)[1:]
    assert counts.sum() == 1000 and counts.min() > 150 and counts.max() < 250
    space = Space({"n": {"low": 1, "high": 8, "log": True}}, "search")
    drawn = np.array([space.draw(draws)[0] for _ in range(1000)])
    assert 1 <= drawn.min() and drawn.max() <= 8
    shares = [np.mean(drawn < 3), np.mean(drawn >= 3)]  # log 3 is half of log 9
    assert max(shares) < 0.56


def test_a_number_below_zero_is_perturbed_both_ways() -> None:
    space = Space({"n": {"low": -5, "high": 5}, "x": {"low": -2.0, "high": 2.0}}, "search")
    point = np.array([-2.0, -1.0])
    moved = np.array([space.perturb(point, generator(s), resample=0.0) for s in range(40)])
    assert {*moved[:, 0]} == {-3.0, -1.0}
    np.testing.assert_allclose(np.unique(moved[:, 1]), [-1.2, -0.8])
