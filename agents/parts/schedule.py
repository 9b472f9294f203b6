"""Values that change over a run, as functions of its progress.

Progress is the share of the env-step budget that is done: 0 at the start of a run, 1 at its end. So
a run that is resumed with a larger budget goes on from an earlier point of its schedules. A setting
that may be a number or a schedule is written in YAML as a number or as an object:

    gamma: {_target_: agents.parts.schedule.Discount, start: 0.99, end: 0.998}

Every schedule is at `start` up to the progress `hold` and at `end` from the progress `until` on.
Its constructor raises ValueError for ends or shares out of bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.base import above, at_least, within
from agents.parts.bounds import Multiple, Unit

Schedule = Callable[[float], float]  # progress in [0, 1] -> the value at that progress


@dataclass(frozen=True)
class Linear:
    """In a straight line from `start` to `end`."""

    start: float
    end: float
    hold: Unit = 0.0
    until: Unit = 1.0

    def __post_init__(self) -> None:
        _check_shares("schedule", self.hold, self.until)

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * _along(progress, self.hold, self.until)


@dataclass(frozen=True)
class Geometric:
    """In equal ratios from `start` to `end`, both above 0: a straight line in the logarithm."""

    start: float
    end: float
    hold: Unit = 0.0
    until: Unit = 1.0

    def __post_init__(self) -> None:
        _check_shares("schedule", self.hold, self.until)
        above(0, "schedule", start=self.start, end=self.end)

    def __call__(self, progress: float) -> float:
        along = _along(progress, self.hold, self.until)
        return float(self.start ** (1 - along) * self.end**along)


@dataclass(frozen=True)
class Discount:
    """A discount factor whose horizon 1 / (1 - gamma) goes in equal ratios from that of `start` to
    that of `end`, both in [0, 1) (Francois-Lavet et al. 2015, arXiv:1512.02011, let it grow)."""

    start: float
    end: float
    hold: Unit = 0.0
    until: Unit = 1.0

    def __post_init__(self) -> None:
        _check_shares("schedule", self.hold, self.until)
        for name, gamma in (("start", self.start), ("end", self.end)):
            if not 0 <= gamma < 1:
                raise ValueError(
                    f"schedule.{name}={gamma} must lie in [0, 1): a discount of 1 has no horizon"
                )

    def __call__(self, progress: float) -> float:
        along = _along(progress, self.hold, self.until)
        return float(1 - (1 - self.start) ** (1 - along) * (1 - self.end) ** along)


@dataclass(frozen=True)
class Factor(Linear):
    """The learning rates' factor, 0 or more: Linear, 1 throughout by default."""

    start: Multiple = 1.0
    end: Multiple = 1.0

    def __post_init__(self) -> None:
        _check_shares("lr_schedule", self.hold, self.until)
        at_least(0, "lr_schedule", start=self.start, end=self.end)
        if self.start == self.end == 0:
            raise ValueError(
                "lr_schedule.start=0 and lr_schedule.end=0 are a learning rate of 0 for the whole"
                " run: make one of them larger"
            )


def at(value: float | Schedule, progress: float) -> float:
    """A number as it is, a schedule at `progress`."""
    return value(progress) if callable(value) else value


def ends(group: str = "agent", /, **settings: float | Schedule | None) -> dict[str, float | None]:
    """The settings by name, for `at_least`, `above` and `within`: a number or None as it is, a
    schedule by its two ends, `name.start` and `name.end`. Raises ValueError for anything else."""
    found: dict[str, float | None] = {}
    for name, value in settings.items():
        if callable(value):
            found |= {f"{name}.start": value(0.0), f"{name}.end": value(1.0)}
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            found[name] = value
        else:
            raise ValueError(f"{group}.{name}={value} must be a number or a schedule")
    return found


def _along(progress: float, hold: float, until: float) -> float:
    """How much of the way from `hold` to `until` is done, in [0, 1]."""
    if progress <= hold:
        return 0.0
    return min(1.0, (progress - hold) / max(1e-9, until - hold))


def _check_shares(group: str, hold: float, until: float) -> None:
    within(0, 1, group, until=until)
    if not 0 <= hold <= until:
        raise ValueError(f"{group}.hold={hold} must lie in [0, {group}.until={until}]")
