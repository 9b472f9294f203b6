"""What cannot be written waits for space; a run's log and screen say so once, and raise nothing.
/dev/full is a disk without space."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.base import Snapshot
from paradigms.session import appended
from paradigms.session.appended import Appended
from paradigms.session.evaluator import EvaluationResult
from paradigms.session.log import Log
from paradigms.session.screen import Screen
from paradigms.session.sinks import Run, Sinks, TensorBoard

FULL = "No space left on device"


def test_what_cannot_be_written_waits_for_space_and_is_named_once(tmp_path: Path) -> None:
    path, said = tmp_path / "log.txt", list[str]()
    path.symlink_to("/dev/full")
    file = Appended(path, said.append)
    for piece in (b"one\n", b"two\n"):
        file.write(piece)
    assert len(said) == 1 and said[0].startswith(f"log.txt cannot be written ({FULL}): the run go")
    path.unlink()
    file.write(b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    path.unlink()
    path.symlink_to("/dev/full")
    file.close()
    file.write(b"four\n")
    assert len(said) == 2, "once whenever it begins"
    path.unlink()
    file.close()
    assert path.read_bytes() == b"four\n"


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[int]], None]:
    """Lets the disk take so many bytes, one number after another; 0 is an error."""
    write = os.write

    def limited(sizes: Iterator[int]) -> None:
        def some(file: int, data: bytes) -> int:
            size = next(sizes)
            if not size:
                raise OSError(errno.EIO, "Input/output error")
            return write(file, data[:size])

        monkeypatch.setattr(appended.os, "write", some)

    return limited


def test_a_piece_that_was_written_in_part_goes_on_where_it_stood(
    tmp_path: Path, little: Callable[[Iterator[int]], None]
) -> None:
    file, pieces = Appended(tmp_path / "a", lambda text: None), [b"%d\n" % n**5 for n in range(99)]
    little(itertools.cycle([3, 0, 1, 0, 0, 9]))
    for piece in pieces:
        file.write(piece)
    little(itertools.repeat(99))
    file.close()
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)


def test_of_what_waits_the_oldest_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, little: Callable[[Iterator[int]], None]
) -> None:
    monkeypatch.setattr(appended, "MOST_WAITING", 40)
    file = Appended(tmp_path / "a", lambda text: None)
    little(itertools.chain([3], itertools.repeat(0)))
    for n in range(10, 99):
        file.write(b"line %d\n" % n)
    little(itertools.repeat(99))
    file.close()
    lines = (tmp_path / "a").read_text().splitlines()
    assert lines[0] == "line 10", "no line is cut in two"
    assert lines[1:] == [f"line {n}" for n in range(99 - len(lines) + 1, 99)]
    assert 4 <= len(lines) <= 6


def test_a_log_on_a_full_disk_raises_nothing_and_loses_nothing(tmp_path: Path) -> None:
    names = ("log.txt", "metrics.jsonl")
    for name in names:
        (tmp_path / name).symlink_to("/dev/full")
    with (tmp_path / "screen").open("w") as stream:
        log = Log(tmp_path, env_steps=1000, stream=stream)
        log.say("first")
        log.evaluation(evaluation(7))
        for name in names:
            (tmp_path / name).unlink()
        log.say("second")
        log.evaluation(evaluation(8))
        log.close()
    text = (tmp_path / "log.txt").read_text()
    for said in (text, (tmp_path / "screen").read_text()):
        assert [said.count(f"{name} cannot be written ({FULL})") for name in names] == [1, 1]
        assert said.index("first") < said.index("second")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["version"] for line in lines] == [7, 8]
    assert log.failed_writes == 2


def evaluation(version: int) -> EvaluationResult:
    snapshot = Snapshot("evaluate", torch.zeros(1), torch.zeros(1), version)
    return EvaluationResult(snapshot, np.array([1.0]), np.array([5]))


def test_events_that_cannot_be_written_wait_for_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said, full = list[str](), [True]
    write = os.write

    def refuse(file: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, FULL)
        return write(file, data)

    board = TensorBoard()
    sinks = Sinks({"tensorboard": board}, said.append)
    sinks.start(Run(tmp_path, failed=said.append))
    assert board._thread is not None
    board._thread.join()
    monkeypatch.setattr(appended.os, "write", refuse)
    for step in (100, 200):
        sinks.scalars({"a": float(step), "b": 1.0}, step, 0.1)
    full[0] = False
    sinks.scalars({"a": 300.0}, 300, 0.2)
    sinks.close()
    assert (sinks.errors, len(said)) == (0, 1) and "events.out.tfevents" in said[0]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [scalar.step for scalar in events.Scalars("a")] == [100, 200, 300]
    assert len(events.Scalars("b")) == 2


def test_a_screen_on_a_full_disk_is_named_once_and_raises_nothing() -> None:
    said = list[str]()
    with open("/dev/full", "w") as stream:
        screen = Screen(stream, said.append)
        for line in ("one", "two"):
            screen.line(line)
        screen.close()
    assert said == [f"stdout cannot be written ({FULL}): see log.txt"]


def test_a_screen_shows_further_lines_when_there_is_space_again(tmp_path: Path) -> None:
    said, stream = list[str](), Limited()
    screen: Any = Screen(stream, said.append)  # type: ignore[arg-type]
    for stream.full, line in ((False, "one"), (True, "two"), (False, "three"), (True, "four")):
        screen.line(line)
    assert stream.lines == ["one\n", "three\n"] and len(said) == 2


class Limited:
    """A text stream that may be on a full disk."""

    encoding, closed, full = "utf-8", False, False

    def __init__(self) -> None:
        self.lines = list[str]()

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, FULL)
        self.lines.append(text)
        return len(text)

    def flush(self) -> None:
        """There is no buffer."""
