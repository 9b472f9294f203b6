"""Counter-based draws: a generator starts where names and numbers say."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

from agents.parts.draws import key, reseed


def test_keys_never_change() -> None:
    """Recorded once: other numbers would make old runs unrepeatable."""
    assert key() == 0xF52A15E9A9B5E89B
    assert key(0, "act", 0, 0) == 6887818959871401568
    assert key(-1, "learn", 3, 1 << 40) == 11541088794903589355


@pytest.mark.slow
def test_another_process_has_the_same_keys() -> None:
    """Python's own hash of a string would not do."""
    words = (7, "sample", 3, 12345)
    code = f"from agents.parts.draws import key; print(key(*{words}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == key(*words)


def test_keys_of_different_work_differ() -> None:
    work = itertools.product(range(4), ["act", "learn", "sample", "task"], range(4), range(500))
    keys = [key(*words) for words in work]
    assert len({*keys}) == len(keys) == 4 * 4 * 4 * 500
    assert len({k >> 32 for k in keys}) > 0.99 * len(keys)
    for bit in range(64):
        share = sum(k >> bit & 1 for k in keys) / len(keys)
        assert share == pytest.approx(0.5, abs=0.02)


def test_a_generator_that_is_reseeded_forgets_what_it_has_drawn() -> None:
    one, two = torch.Generator(), torch.Generator().manual_seed(5)
    torch.randn(7, generator=two)
    draws = [torch.randn(4, generator=reseed(g, 0, "act", 1, 2)) for g in (one, two)]
    assert torch.equal(*draws)


def test_neighbouring_work_draws_unlike_numbers() -> None:
    drawn = torch.stack(
        [torch.randn(64, generator=reseed(torch.Generator(), 0, "act", 0, n)) for n in range(400)]
    )
    neighbours = (drawn[:-1] * drawn[1:]).mean(1)
    assert neighbours.mean().abs() < 4 / (64 * 399) ** 0.5
    assert drawn.mean().abs() < 4 / (64 * 400) ** 0.5
    assert drawn.var() == pytest.approx(1, abs=0.03)
