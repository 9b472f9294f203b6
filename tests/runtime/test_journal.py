from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paradigms.errors import Deadlock, Diverged, Failed
from paradigms.runtime import journal as journals
from paradigms.runtime.crew import Crew
from paradigms.runtime.event import Event
from paradigms.runtime.journal import RECORD, Journal, JournalWriter
from paradigms.runtime.link import Link, Role
from paradigms.runtime.order import Order
from paradigms.runtime.recorded import Recorded
from tests.runtime import roles

DRAINS, MAKERS = 60, 3


def written(path: Path, names: list[str], *events: tuple[str, Event], end: bool = True) -> Journal:
    """A journal made by hand."""
    journals.begin(path, names)
    writers = {name: JournalWriter(path, index, index) for index, name in enumerate(names)}
    count = dict.fromkeys(names, 0)
    for name, event in events:
        event.seq = count[name]
        count[name] += 1
        writers[name].write(event)
    for name, writer in writers.items():
        if end:
            writer.end(count[name])
        writer.close()
    return Journal.read(path)


def event(kind: str, **fields: int) -> Event:
    return Event(None, kind, **fields)


def test_a_record_has_48_bytes_and_comes_back_as_it_was(tmp_path: Path) -> None:
    assert RECORD.itemsize == 48
    big = 1 << 40
    journal = written(
        tmp_path / "journal.bin",
        ["a", "b"],
        ("a", event("pull", read=big)),
        ("b", event("merge", worker=3, base=big - 1, written=big, count=70_000)),
        ("a", event("drain")),
    )
    assert journal.roles == ("a", "b")
    assert list(map(str, journal.events("a"))) == [
        f"pull 0 (worker=-1 read={big} written=-1 base=-1 count=0)",
        "drain 1 (worker=-1 read=-1 written=-1 base=-1 count=0)",
    ]
    (merge,) = journal.events("b")
    assert (merge.worker, merge.written, merge.base, merge.count) == (3, big, big - 1, 70_000)
    assert list(journal.records["rank"]) == [0, 0, 0, 1, 1]
    assert np.all(np.diff(np.sort(journal.records["time"])) >= 0)


def test_a_journal_that_was_cut_off_ends_at_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    pairs = [("a", event("collect", count=k)) for k in range(3)]
    assert written(path, ["a"], *pairs).complete()
    assert not written(path, ["a"], *pairs, end=False).complete()
    path.write_bytes(path.read_bytes()[:-7])
    assert [e.count for e in Journal.read(path).events("a")] == [0, 1]


def test_events_after_a_missing_one_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    written(path, ["a"], *[("a", event("collect", count=k)) for k in range(4)])
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    path.write_bytes(data[: start + 2 * 48] + data[start + 3 * 48 :])
    assert [e.count for e in Journal.read(path).events("a")] == [0, 1]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    for text in ("", "no header\n", "[]\n", '{"roles": []}\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a journal"):
            Journal.read(path)
    journals.begin(path, ["a"])
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"kinds": ["pull"]}) + "\n")
    with pytest.raises(ValueError, match="another version"):
        Journal.read(path)


def test_an_unknown_event_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="no event is called 'push'; the journal knows pull, drain"
    ):
        event("push")


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
    ("kind", "order"), [("process", None), ("inline", None), ("inline", Shuffled())]
)
def test_a_run_is_repeated_from_its_journal(kind: str, order: Any, tmp_path: Path) -> None:
    first, again = tmp_path / "first.bin", tmp_path / "again.bin"
    taken = makers_and_taker(kind, order, first, pause=0.002 if kind == "process" else 0.0)
    assert len(set(taken)) == DRAINS
    for _ in range(2):
        recorded = Recorded(Journal.read(first))
        assert np.array_equal(makers_and_taker("inline", recorded, again), taken)
        assert kinds_of(Journal.read(again)) == kinds_of(Journal.read(first))


def test_the_journal_of_a_process_that_died_has_what_it_had_flushed(tmp_path: Path) -> None:
    class Die(Role):
        def run(self, link: Link) -> None:
            with link.event("collect", count=5):
                pass
            raise ValueError("after the event")

    path = tmp_path / "journal.bin"
    with Crew("inline", journal=path) as crew, pytest.raises(Failed):
        crew.add("a", Die)
        list(crew.run())
    assert [e.count for e in Journal.read(path).events("a")] == [5]


class Script(Role):
    """Does events as it is told, and notes each in a list that all roles share."""

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


def test_weights_told_apart_by_worker_have_versions_of_their_own(tmp_path: Path) -> None:
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
