"""A run is stopped once, for the first reason that holds."""

from __future__ import annotations

import pytest

from paradigms.session.signals import Signals
from paradigms.session.stopping import StopReason
from paradigms.settings import Budget


def reason(seconds: float | None = None, *, when_solved: bool = False) -> StopReason:
    return StopReason(Budget(env_steps=1, seconds=seconds), Signals(), when_solved=when_solved)


def test_a_run_with_no_other_limit_stops_when_its_env_steps_are_spent() -> None:
    stop = reason()
    assert not stop.due(1e9, solved=True)
    assert (stop.reason, stop.error) == ("budget", "")


def test_a_run_is_stopped_once_for_the_first_reason() -> None:
    stop = reason(2.0)
    assert [stop.due(seconds, solved=False) for seconds in (1.9, 2.0, 2.1)] == [False, True, False]
    assert stop.reason == "budget"


@pytest.mark.parametrize(("when_solved", "expected"), [(True, "solved"), (False, "budget")])
def test_a_solved_run_stops_if_it_is_to(when_solved: bool, expected: str) -> None:
    stop = reason(5.0, when_solved=when_solved)
    assert stop.due(1.0, solved=True) == when_solved
    assert stop.reason == expected


def test_a_signal_goes_before_other_reasons() -> None:
    stop = reason(1.0, when_solved=True)
    stop.signals.caught = 2
    assert stop.due(2.0, solved=True)
    assert stop.reason == "signal"


def test_an_error_is_the_last_word() -> None:
    stop = reason(1.0)
    assert stop.due(2.0, solved=False)
    stop.failed("ValueError: no")
    assert (stop.reason, stop.error) == ("error", "ValueError: no")
