"""What all tests share: examples that are the same in every run, and no limit on their time."""

from __future__ import annotations

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
