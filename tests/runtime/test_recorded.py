"""Re-execution: a crew repeats a journal, and says where it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paradigms.errors import Deadlock, Diverged
from paradigms.runtime.crew import Crew
from paradigms.runtime.journal import Journal
from paradigms.runtime.link import Link, Role
from paradigms.runtime.order import Order
from paradigms.runtime.recorded import Recorded
from tests.runtime import roles
from tests.runtime.journals import event, written

DRAINS, MAKERS = 60, 3


def makers_and_taker(
    kind: str, order: Any = None, journal: Path | None = None, pause: float = 0.0
) -> np.ndarray:
    """Makers send the taker numbers made of the version they see; all it got, in order."""
    board = roles.Board(MAKERS, DRAINS)
    with Crew(kind, order, journal=journal) as crew:
        crew.add("taker", roles.Taker, board, DRAINS)
        for rank in range(MAKERS):
            crew.add(f"maker{rank}", roles.Maker, board, rank, pause, rank=rank)
        for _ in crew.run():
            pass
    return board.taken.array.copy()


def kinds_of(journal: Journal) -> dict[str, list[str]]:
    return {role: list(map(str, journal.events(role))) for role in journal.roles}


class Shuffled(Order):
    """Any role may go next."""

    def begin(self, names: Sequence[str]) -> None:
        self.rng = np.random.default_rng(3)

    def choose(self, waiting: Mapping[str, str], ready: list[str], idle: int) -> str:
        return ready[self.rng.integers(len(ready))]


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        pytest.param("process", None, marks=pytest.mark.slow),
        ("inline", None),
        ("inline", Shuffled()),
    ],
)
def test_a_run_is_repeated_from_its_journal(kind: str, order: Any, tmp_path: Path) -> None:
    first, again = tmp_path / "first.bin", tmp_path / "again.bin"
    taken = makers_and_taker(kind, order, first, pause=0.002 if kind == "process" else 0.0)
    assert len(set(taken)) == DRAINS
    for _ in range(2):
        recorded = Recorded(Journal.read(first))
        assert np.array_equal(makers_and_taker("inline", recorded, again), taken)
        assert kinds_of(Journal.read(again)) == kinds_of(Journal.read(first))


class Script(Role):
    """Does the given events, and notes each in a list that all roles share."""

    def __init__(self, log: list[str], *events: tuple[str, dict[str, int]]) -> None:
        self.log, self.events = log, events

    def run(self, link: Link) -> None:
        for kind, fields in self.events:
            if not link.go():
                return
            with link.event(kind, **fields):
                self.log.append(f"{link.name} {kind} {max(fields.values(), default=0)}")


def execute(
    journal: Journal, scripts: dict[str, list[tuple[str, dict[str, int]]]], **options: bool
) -> list[str]:
    log: list[str] = []
    with Crew("inline", Recorded(journal, **options)) as crew:
        for name, events in scripts.items():
            crew.add(name, Script, log, *events)
        for _ in crew.run():
            pass
    return log


def scripted(
    path: Path, scripts: dict[str, list[tuple[str, dict[str, int]]]], end: bool = True
) -> Journal:
    pairs = [(name, event(k, **f)) for name, events in scripts.items() for k, f in events]
    return written(path, list(scripts), *pairs, end=end)


def pulls(*versions: int) -> list[tuple[str, dict[str, int]]]:
    return [("pull", {"read": version}) for version in versions]


def publishes(*versions: int, worker: int = -1) -> list[tuple[str, dict[str, int]]]:
    return [("publish", {"written": version, "worker": worker}) for version in versions]


def test_a_version_is_pulled_while_it_is_the_newest(tmp_path: Path) -> None:
    scripts = {"l": publishes(1, 2), "a": pulls(0, 0, 1, 2), "b": pulls(1, 2, 2)}
    log = execute(scripted(tmp_path / "j", scripts), scripts)
    first, second = log.index("l publish 1"), log.index("l publish 2")
    assert set(log[:first]) == {"a pull 0"}
    assert set(log[first + 1 : second]) == {"a pull 1", "b pull 1"}
    assert set(log[second + 1 :]) == {"a pull 2", "b pull 2"}
    assert len(log) == 9


def test_writers_of_one_version_line_go_in_its_order(tmp_path: Path) -> None:
    scripts = {
        "a": [("apply", {"written": v}) for v in (1, 4)],
        "b": [("apply", {"written": v}) for v in (2, 3)],
        "c": pulls(0, 3),
    }
    log = execute(scripted(tmp_path / "j", scripts), scripts)
    assert [line for line in log if "apply" in line] == [
        "a apply 1",
        "b apply 2",
        "b apply 3",
        "a apply 4",
    ]
    assert log.index("b apply 3") < log.index("c pull 3") < log.index("a apply 4")


def test_weights_of_each_worker_have_versions_of_their_own(tmp_path: Path) -> None:
    scripts = {
        "s0": publishes(1, 2, worker=0),
        "s1": publishes(1, 2, worker=1),
        "a": [("pull", {"worker": 0, "read": 2}), ("pull", {"worker": 1, "read": 0})],
    }
    log = execute(scripted(tmp_path / "j", scripts), scripts)
    assert log.index("s0 publish 2") < log.index("a pull 2")
    assert log.index("a pull 1") < log.index("s1 publish 1")


def test_a_pull_of_an_old_version_on_purpose_happens_when_it_did(tmp_path: Path) -> None:
    scripts = {
        "l": publishes(1, 2),
        "a": [("pull", {"read": 0, "base": 1}), ("pull", {"read": 1, "base": 2})],
    }
    log = execute(scripted(tmp_path / "j", scripts), scripts)
    assert log == ["l publish 1", "a pull 1", "l publish 2", "a pull 2"]


def test_a_resumed_run_begins_with_the_version_it_had(tmp_path: Path) -> None:
    scripts = {"l": publishes(501), "a": pulls(500, 501)}
    log = execute(scripted(tmp_path / "j", scripts), scripts)
    assert log == ["a pull 500", "l publish 501", "a pull 501"]


def test_a_role_is_stopped_where_its_records_end(tmp_path: Path) -> None:
    scripts = {"l": publishes(1, 2), "a": pulls(0, 2)}
    journal = scripted(tmp_path / "j", scripts)
    log = execute(journal, {"l": publishes(1, 2, 3, 4), "a": pulls(0, 2, 2, 2)})
    assert sorted(log) == ["a pull 0", "a pull 2", "l publish 1", "l publish 2"]


def one_role(*events: tuple[str, dict[str, int]]) -> dict[str, Any]:
    return {"a": list(events)}


@pytest.mark.parametrize(
    ("recorded", "done", "message"),
    [
        (("learn", {}), ("drain", {}), "a begins drain .* the journal has learn"),
        (("drain", {"worker": 1}), ("drain", {"worker": 2}), "worker=2 .* the journal has .*=1"),
        (("learn", {"count": 3}), ("learn", {"count": 4}), "count=4.* the journal has .*count=3"),
    ],
)
def test_a_re_execution_that_does_something_else_diverges(
    recorded: Any, done: Any, message: str, tmp_path: Path
) -> None:
    journal = scripted(tmp_path / "j", one_role(recorded))
    with pytest.raises(Diverged, match=message):
        execute(journal, one_role(done))


def test_a_re_execution_that_does_less_diverges(tmp_path: Path) -> None:
    journal = scripted(tmp_path / "j", one_role(("learn", {}), ("publish", {"written": 1})))
    with pytest.raises(Diverged, match=r"a has returned, the journal still has publish 1"):
        execute(journal, one_role(("learn", {})))


def test_a_rule_may_be_changed_under_a_recorded_order(tmp_path: Path) -> None:
    scripts = {"l": publishes(1, 2), "a": pulls(0, 1)}
    journal = scripted(tmp_path / "j", scripts)
    log = execute(journal, {"l": publishes(1, 2), "a": pulls(7, 8)}, strict=False)
    assert log == ["a pull 7", "l publish 1", "a pull 8", "l publish 2"]


def test_a_re_execution_needs_the_same_roles(tmp_path: Path) -> None:
    journal = scripted(tmp_path / "j", {"l": [], "a": []})
    with pytest.raises(ValueError, match="the journal has the roles l, a, this run has l: re-exec"):
        execute(journal, {"l": []})


def test_a_journal_that_cannot_have_happened_is_a_deadlock(tmp_path: Path) -> None:
    scripts = {"l": publishes(1, 2), "a": pulls(2, 1)}
    journal = scripted(tmp_path / "j", scripts)
    with pytest.raises(Deadlock, match=r"l waits for publish 1 .*, a waits for pull 0 \("):
        execute(journal, scripts)


def test_the_journal_of_a_killed_run_is_repeated_as_far_as_it_reaches(tmp_path: Path) -> None:
    scripts = {"l": publishes(1, 2), "a": pulls(0, 1, 2, 3)}
    journal = scripted(tmp_path / "j", scripts, end=False)
    assert not journal.complete()
    log = execute(journal, {"l": publishes(1, 2, 3), "a": pulls(0, 1, 2, 3)})
    assert sorted(log) == ["a pull 0", "a pull 1", "a pull 2", "l publish 1", "l publish 2"]


def test_a_re_execution_that_gets_nowhere_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Idle(Role):
        def run(self, link: Link) -> None:
            while link.go():
                pass

    monkeypatch.setattr("paradigms.runtime.recorded.LOST", 100)
    journal = scripted(tmp_path / "j", one_role(("learn", {})))
    crew = Crew("inline", Recorded(journal))
    crew.add("a", Idle)
    with crew, pytest.raises(Diverged, match="no recorded event has happened for 100 sch"):
        list(crew.run())


def test_rate_limits_and_ends_are_those_of_the_journal(tmp_path: Path) -> None:
    answers: list[bool] = []

    class Rule(Role):
        def run(self, link: Link) -> None:
            for _ in range(2):
                answers.append(link.wait("pace", bool, rate_limit=True) and link.go(lambda: True))
                with link.event("collect"):
                    pass
            answers.append(link.go(lambda: True))

    journal = scripted(tmp_path / "j", one_role(("collect", {}), ("collect", {})))
    crew = Crew("inline", Recorded(journal))
    crew.add("a", Rule)
    with crew:
        list(crew.run())
    assert answers == [True, True, False]


def test_a_role_goes_on_to_an_event_where_it_did_so_in_the_journal(tmp_path: Path) -> None:
    """Whatever the rule says now; the rule decides where nothing is recorded."""
    answers: list[bool] = []

    class Rule(Role):
        def run(self, link: Link) -> None:
            for rule in (False, True, True):
                answers.append(link.may("learn", lambda: rule))  # noqa: B023
                kind, fields = ("learn", {"worker": 0}) if answers[-1] else ("collect", {})
                with link.event(kind, **fields):
                    pass

    crew = Crew("inline")
    crew.add("a", Rule)
    list(crew.run())
    assert answers == [False, True, True]
    answers.clear()
    recorded = [("learn", {"worker": 0}), ("collect", {}), ("learn", {"worker": 0})]
    crew = Crew("inline", Recorded(scripted(tmp_path / "j", one_role(*recorded))))
    crew.add("a", Rule)
    list(crew.run())
    assert answers == [True, False, True]
