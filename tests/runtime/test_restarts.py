from __future__ import annotations

from paradigms.runtime.restarts import LONGEST_PAUSE, SECONDS_TO_FORGIVE, Restarts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_in_a_short_time_and_no_more() -> None:
    restarts = Restarts(2, Clock())
    for name in ("one", "another"):
        assert restarts.left()
        restarts.make(name, lived=1000.0)
    assert not restarts.left()
    assert restarts.made == 2


def test_one_is_forgiven_after_a_while() -> None:
    clock = Clock()
    restarts = Restarts(2, clock)
    restarts.make("one", lived=1000.0)
    restarts.make("one", lived=1000.0)
    clock.now += 0.9 * SECONDS_TO_FORGIVE
    assert not restarts.left()
    clock.now += 0.2 * SECONDS_TO_FORGIVE
    assert restarts.left()
    restarts.make("one", lived=1000.0)
    assert not restarts.left()
    clock.now += 10 * SECONDS_TO_FORGIVE
    for _ in range(2):  # no more than the limit, however long nothing happens
        assert restarts.left()
        restarts.make("one", lived=1000.0)
    assert not restarts.left()


def test_none_is_allowed_where_none_may_be() -> None:
    assert not Restarts(0, Clock()).left()


def test_who_fails_young_again_and_again_is_replaced_later_and_later() -> None:
    restarts = Restarts(100, Clock())
    pauses = [restarts.make("young", lived=1.0) for _ in range(10)]
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE
    assert restarts.make("other", lived=1.0) == 0.0
    assert restarts.make("young", lived=1000.0) == 0.0
    assert restarts.make("young", lived=1.0) == 0.0
