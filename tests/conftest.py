"""What all tests share: examples that are the same in every run, and no limit on their time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

# A loaded machine is slow and a test must not fail for that: pytest-timeout is the only clock.
settings.register_profile(
    "paceline",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("paceline")


@pytest.fixture(autouse=True)
def subnormal_floats() -> Iterator[None]:
    """What a run sets for its process is taken back: Hypothesis draws subnormal numbers too."""
    yield
    torch.set_flush_denormal(False)
