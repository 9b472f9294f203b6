"""What processes share without a lock, or with one of our own, in every order of their accesses:
nothing torn is taken for whole, and nothing is lost, taken twice or given to another one.

Each scenario is also tried with mistakes in the library's code, which the explorer must find.

python -m tests.test_interleavings       # how many schedules of each are tried
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from paradigms.runtime.memory import Shared
from tests import scenarios
from tests.interleavings import Explored, access, explore, wait, wander
from tests.mistakes import MISTAKES, SCENARIOS, Mistake
from tests.scenarios import Made
from tests.watched import watched


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    with watched():
        yield


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_no_order_is_anything_torn_lost_or_mixed_up(name: str) -> None:
    right(tried(name))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.why)
def test_the_explorer_finds_that(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistake.owner, mistake.name, mistake.made())
    explored = tried(mistake.scenario)
    assert isinstance(explored.error, AssertionError | IndexError), explored


def test_every_scenario_has_a_mistake_that_is_found() -> None:
    without = {"frames, an actor replaced"}  # which is there for what is stored elsewhere
    assert {mistake.scenario for mistake in MISTAKES} == SCENARIOS.keys() - without


def test_larger_cases_at_random() -> None:
    right(wander(functools.partial(scenarios.published, readers=2), schedules=150))


def tried(name: str) -> Explored:
    scenario, preemptions = SCENARIOS[name]
    return explore(scenario, preemptions=preemptions)


def right(explored: Explored) -> None:
    if explored.error is not None:
        explored.error.add_note(f"in the order {explored.order}")
        raise explored.error


def counts(adds: int, wrong: bool = False) -> Made:
    """Two processes that add to a number, one of them in the other's place if that is `wrong`."""
    numbers = Shared((2, 8), np.int64).array

    def add(own: int) -> None:
        for _ in range(adds):
            numbers[own, 0] += 1

    def check() -> None:
        assert numbers[:, 0].sum() == 2 * adds

    return [functools.partial(add, own) for own in ((0, 0) if wrong else (0, 1))], check


def test_an_addition_is_lost_by_one_preemption() -> None:
    right(explore(functools.partial(counts, 2), preemptions=2))
    explored = explore(functools.partial(counts, 1, wrong=True), preemptions=0)
    assert (explored.error, explored.schedules) == (None, 2)
    explored = explore(functools.partial(counts, 1, wrong=True), preemptions=1)
    assert isinstance(explored.error, AssertionError) and explored.preemptions == 1


def test_every_order_is_tried() -> None:
    """Two processes of two accesses each: six orders."""
    seen = set()

    def both() -> Made:
        number, went = Shared(1, np.int64).array, list[int]()

        def write(own: int) -> None:
            for _ in range(2):
                number[0] = own
                went.append(own)

        return [functools.partial(write, own) for own in (0, 1)], lambda: seen.add(tuple(went))

    right(explore(both, preemptions=4))
    assert len(seen) == 6


def test_waiting_for_each_other_and_going_on_for_ever_are_found() -> None:
    def waiting() -> Made:
        done = Shared(2, np.int64).array

        def process(own: int) -> None:
            wait(lambda: done[1 - own])
            done[own] = 1

        return [functools.partial(process, own) for own in (0, 1)], lambda: None

    def endless() -> Made:
        def process() -> None:
            while True:
                access("door", write=True)

        return [process, process], lambda: None

    for scenario, word in ((waiting, "waits"), (endless, "its end")):
        assert word in str(explore(scenario, preemptions=0).error)


def main() -> None:
    with watched():
        for name in SCENARIOS:
            began = time.perf_counter()
            explored = tried(name)
            right(explored)
            seconds = time.perf_counter() - began
            sys.stdout.write(
                f"{name:28} {explored.preemptions} preemptions  {explored.schedules:6,} schedules"
                f"  {seconds:5.2f} s\n"
            )


if __name__ == "__main__":
    main()
