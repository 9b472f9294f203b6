from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from paradigms.errors import Deadlock, Failed
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.runtime.order import Order
from tests.runtime import roles


@pytest.fixture(autouse=True)
def no_thread_is_left_over() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Say(Role):
    """Says its name n times, one a go; with `points`, also at so many points in between."""

    def __init__(self, said: list[str], n: int, points: int = 0) -> None:
        self.said, self.n, self.points = said, n, points

    def run(self, link: Link) -> None:
        for _ in range(self.n):
            if not link.go():
                self.said.append(f"{link.name} stops")
                return
            self.said.append(link.name)
            for _ in range(self.points):
                link.give_way()
                self.said.append(link.name.upper())


class Hand(Role):
    """Waits for its number, then passes the next one on; ends when the number is large."""

    def __init__(self, box: list[int], mine: int, of: int) -> None:
        self.box, self.mine, self.of = box, mine, of

    def run(self, link: Link) -> None:
        while link.go() and link.wait("its number", lambda: self.box[0] % self.of == self.mine):
            if self.box[0] > 20:
                return link.finish()
            self.box[0] += 1


def drive(crew: Crew) -> None:
    with crew:
        for _ in crew.run():
            pass


def said_by(crew: Crew, n: int, **options: Any) -> list[str]:
    said: list[str] = []
    for name in "abc":
        crew.add(name, Say, said, n, **options)
    drive(crew)
    return said


def test_roles_go_round_in_the_order_added() -> None:
    assert said_by(Crew("inline"), 3) == list("abcabcabc")


def test_roles_give_way_to_each_other_within_their_work() -> None:
    crew, said = Crew("inline"), list[str]()
    crew.add("a", Say, said, 2, 1)
    crew.add("b", Say, said, 2, 1)
    drive(crew)
    assert said == list("abABabAB")


def test_a_role_waits_until_the_others_have_done_their_part() -> None:
    crew, box = Crew("inline"), [0]
    for mine in range(3):
        crew.add(f"hand{mine}", Hand, box, mine, 3)
    drive(crew)
    assert box == [21]


def test_if_all_wait_the_deadlock_says_who_waits_for_what() -> None:
    crew = Crew("inline")
    crew.add("a", roles.Wait)
    crew.add("b", roles.Wait)
    with pytest.raises(Deadlock, match="a waits for what a wants, b waits for what b wants"):
        drive(crew)


def test_a_wait_with_a_timeout_is_no_deadlock() -> None:
    class Patient(Role):
        def run(self, link: Link) -> None:
            assert not link.wait("nothing", bool, timeout=1000.0)
            assert link.seconds["nothing"] < 10.0

    crew = Crew("inline")
    crew.add("a", Patient)
    crew.add("b", Patient)
    crew.add("c", roles.Count, 1000)
    drive(crew)


def test_an_error_has_the_name_of_its_role_and_its_traceback() -> None:
    crew = Crew("inline")
    crew.add("good", roles.Work)
    crew.add("bad", roles.Fail, "raises")
    with pytest.raises(Failed, match="role bad raised ValueError: a sentence about a fault") as e:
        drive(crew)
    assert "in raises" in e.value.trace
    assert isinstance(e.value.__cause__, ValueError)


def test_an_error_in_a_condition_is_that_of_the_role_that_waits() -> None:
    class Bad(Role):
        def run(self, link: Link) -> None:
            answers = iter([False])
            link.wait("a condition", lambda: next(answers))

    crew = Crew("inline")
    crew.add("bad", Bad)
    crew.add("good", roles.Work)
    with pytest.raises(Failed, match="role bad raised StopIteration"):
        drive(crew)


def test_a_role_that_hangs_is_noticed() -> None:
    crew = Crew("inline", heartbeat=0.2, seconds_to_stop=0.1)
    woken = threading.Event()

    class Hang(Role):
        def run(self, link: Link) -> None:
            link.go()
            woken.wait()

    crew.add("bad", Hang)
    with pytest.raises(Failed, match=r"(?s)role bad has not reached link.go\(\) for 0.2 s.*in run"):
        drive(crew)
    woken.set()
    for thread in threading.enumerate():
        if thread.name == "bad":
            thread.join(10)


def test_a_closed_crew_unwinds_its_roles() -> None:
    ended = []

    class Tidy(Role):
        def run(self, link: Link) -> None:
            try:
                while link.go():
                    link.wait("nothing", bool, timeout=1.0)
            finally:
                ended.append(link.name)

    crew = Crew("inline")
    for name in "abc":
        crew.add(name, Tidy)
    with crew:
        next(crew.run())
    assert sorted(ended) == ["a", "b", "c"]


def test_stop_is_seen_at_the_next_go() -> None:
    crew, said = Crew("inline"), list[str]()
    for name in "ab":
        crew.add(name, Say, said, 1000)
    with crew:
        for _ in crew.run():
            crew.stop()
    assert sorted(said[-2:]) == ["a stops", "b stops"]
    assert len(said) < 40


def test_the_parent_runs_at_the_same_moments_every_time() -> None:
    def moments() -> list[int]:
        crew, said = Crew("inline"), list[str]()
        for name in "abc":
            crew.add(name, Say, said, 50, 1)
        with crew:
            return [len(said) for _ in crew.run()]

    first = moments()
    assert first == moments()
    assert len(first) > 300 // 17


def test_an_order_of_ones_own_chooses_who_goes() -> None:
    class Last(Order):
        def choose(self, waiting: Mapping[str, str], ready: list[str], idle: int) -> str:
            return ready[-1]

    assert said_by(Crew("inline", Last()), 3) == list("cccbbbaaa")


def test_a_replaced_role_keeps_its_place_in_the_round() -> None:
    class FailOnce(Say):
        def run(self, link: Link) -> None:
            if "b" not in self.said:
                link.go()
                self.said.append("b")
                raise ValueError("the first b fails")
            super().run(link)

    crew, said = Crew("inline"), list[str]()
    crew.add("a", Say, said, 4)
    crew.add("b", FailOnce, said, 3, restartable=True)
    crew.add("c", Say, said, 4)
    drive(crew)
    assert said == list("abcacabcabcb")  # in its second round the new b begins
