from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paradigms.errors import Failed
from paradigms.runtime import journal as journals
from paradigms.runtime.crew import Crew
from paradigms.runtime.journal import RECORD, Journal
from paradigms.runtime.link import Link, Role
from tests.runtime.journals import event, written


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


class Record(Role):
    def run(self, link: Link) -> None:
        for count in range(3):
            with link.event("collect", count=count):
                pass


@pytest.mark.parametrize("kind", ["inline", pytest.param("process", marks=pytest.mark.slow)])
def test_a_journal_that_cannot_grow_is_said_and_ends_no_role(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.bin"
    path.symlink_to("/dev/full")
    monkeypatch.setattr(journals, "begin", lambda *_: None)
    with Crew(kind, journal=path) as crew:
        crew.add("a", Record)
        said = [report for report in crew.run() if report.kind != "tick"]
    assert [report.kind for report in said] == ["note", "finished"]
    assert said[0].data["words"] == (
        "the journal cannot be written (No space left on device) and stays incomplete"
    )
