from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from paradigms.errors import Deadlock, Failed, ForkServerDied
from paradigms.runtime.crew import Crew, Report
from paradigms.runtime.memory import Shared
from tests.runtime import roles
from tests.runtime.leftovers import shared_memory

pytestmark = pytest.mark.slow


def reports(crew: Crew) -> list[Report]:
    with crew:
        return [report for report in crew.run() if report.kind != "tick"]


def finished(said: list[Report]) -> list[str]:
    return sorted(report.name for report in said if report.kind == "finished")


@pytest.fixture(scope="module")
def fork_server() -> None:
    """It starts with the first crew and stays, with its pipe and Python's resource tracker."""
    with Crew() as crew:
        crew.add("first", roles.Count, 1)
        assert finished(reports(crew)) == ["first"]


@pytest.fixture(autouse=True)
def nothing_is_left_over(fork_server: None) -> Iterator[None]:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    open_before, shared_before = files(), shared_memory()
    threads_before = threading.active_count()
    yield
    if files() > open_before:
        gc.collect()  # an error that was caught holds the frames it went through
    assert files() <= open_before
    assert threading.active_count() == threads_before
    assert not multiprocessing.active_children()
    assert shared_memory() <= shared_before


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_a_crew_ends_when_every_role_has_returned(kind: str) -> None:
    crew = Crew(kind)
    for rank in range(3):
        crew.add(f"count{rank}", roles.Count, 100, rank=rank)
    said = reports(crew)
    assert finished(said) == ["count0", "count1", "count2"]
    counted = {report.name: report.data for report in said if report.kind == "metrics"}
    assert counted == {f"count{rank}": {"count": 100, "rank": rank} for rank in range(3)}
    ends = [report.data for report in said if report.kind == "finished"]
    assert all(end["seconds"] == {} and 0 < end["total"] < 10 for end in ends)


def test_the_time_waited_is_reported_by_what_was_waited_for() -> None:
    crew = Crew()
    crew.add("a", roles.Wait)
    with crew:
        for report in crew.run():
            if report.kind == "metrics":
                crew.stop()
            if report.kind == "finished":
                assert 0 < report.data["seconds"]["what a wants"] <= report.data["total"]


@pytest.mark.parametrize(
    ("how", "cause", "trace"),
    [
        ("raises", "raised ValueError: a sentence about a fault", "in raises"),
        ("constructor", "raised ValueError: no such constructor", "in __init__"),
        ("exits", "exited with code 3 and without a traceback", ""),
        ("is_killed", "was killed by SIGKILL", ""),
        ("crashes", "was killed by SIGSEGV", "in crashes"),
        ("hangs", "has not reached link.go() for 0.3 s", "in hangs"),
        ("is_stuck", "has not reached link.go() for 0.3 s", "in is_stuck"),
        ("freezes", "has not reached link.go() for 0.3 s", ""),
    ],
)
def test_a_role_that_fails_is_named_with_cause_and_traceback(
    how: str, cause: str, trace: str
) -> None:
    crew = Crew(heartbeat=0.3, seconds_to_stop=0.5)
    crew.add("good", roles.Work)
    crew.add("bad", roles.Fail, how)
    with pytest.raises(Failed) as caught:
        reports(crew)
    assert caught.value.name == "bad"
    assert cause in caught.value.cause
    assert trace in caught.value.trace
    assert f"role bad {caught.value.cause}" in str(caught.value)


def test_a_fork_server_that_dies_is_named_and_no_role_is_blamed() -> None:
    crew = Crew(seconds_to_stop=0.5)
    crew.add("good", roles.Work)
    with pytest.raises(ForkServerDied, match="the fork server died") as caught, crew:
        run = crew.run(tick=0.01)
        next(run)
        (role,) = multiprocessing.active_children()
        process = psutil.Process(role.pid)
        server = process.parent()
        assert server is not None and server.pid != os.getpid()
        assert os.getpgid(server.pid) == server.pid  # a signal to the run's group spares it
        server.kill()
        list(run)
    assert caught.value.name == "fork server"
    assert "good" not in str(caught.value)
    assert not psutil.wait_procs([process], timeout=10)[1]


def test_arguments_that_do_not_arrive_are_a_failure_with_a_traceback() -> None:
    crew = Crew()
    crew.add("bad", roles.Count, Arrives())
    with pytest.raises(Failed, match=r"(?s)raised ValueError: not here.*Traceback"):
        reports(crew)


class Arrives:
    """Can be sent, but not received."""

    def __reduce__(self) -> Any:
        return _not_here, ()


def _not_here() -> None:
    raise ValueError("not here")


def test_announced_work_may_take_longer_than_the_heartbeat() -> None:
    crew = Crew(heartbeat=0.2)
    crew.add("sleep", roles.Sleep, 0.7)
    assert finished(reports(crew)) == ["sleep"]


@pytest.mark.parametrize("how", ["is_killed", "hangs"])
def test_a_restartable_role_is_replaced(how: str) -> None:
    crew = Crew(heartbeat=0.3)
    crew.add("other", roles.Count, 10)
    crew.add("bad", roles.Fail, how, 2, Shared(1, "int64"), restartable=True)
    said = reports(crew)
    assert [r.name for r in said if r.kind == "restarted"] == ["bad", "bad"]
    assert crew.restarts == 2
    assert finished(said) == ["bad", "other"]
    assert Report("bad", "metrics", {"before": 2}) in said


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_restarts_are_counted_and_end(kind: str) -> None:
    crew = Crew(kind, restarts=2)
    crew.add("bad", roles.Fail, "raises", restartable=True)
    with pytest.raises(Failed, match=r"a sentence about a fault \(2 restarts are used up\)"):
        reports(crew)
    assert crew.restarts == 2


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_a_role_is_not_replaced_after_an_error_that_it_would_meet_again(kind: str) -> None:
    crew = Crew(kind)
    crew.add("bad", roles.Fail, "raises_for_good", restartable=True)
    with pytest.raises(Failed, match=r"about a policy \(a restart would not help\)"):
        reports(crew)
    assert crew.restarts == 0


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_messages_arrive_in_the_order_sent(kind: str) -> None:
    crew = Crew(kind)
    crew.add("a", roles.Work)
    crew.add("b", roles.Work)
    with crew:
        run = crew.run(tick=0.01)
        next(run)
        for message in ("one", {"two": [2]}, None):
            crew.tell("a", message)
        for report in run:
            if report.kind == "metrics":
                assert report.name == "a"
                messages = report.data["messages"]
                if len(messages) == 3:
                    crew.stop()
    assert messages == ["one", {"two": [2]}, None]


def test_a_message_is_small() -> None:
    with Crew() as crew:
        crew.add("work", roles.Work)
        run = crew.run(tick=0.01)
        assert next(run).kind == "tick"
        with pytest.raises(ValueError, match="the limit is 65536"):
            crew.tell("work", bytes(1 << 20))


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_closing_the_iterator_ends_every_role(kind: str) -> None:
    crew = Crew(kind)
    for rank in range(3):
        crew.add(f"work{rank}", roles.Work)
    run = crew.run(tick=0.01)
    assert next(run).kind == "tick"
    run.close()


def test_roles_that_do_not_stop_are_killed_with_their_children(tmp_path: Path) -> None:
    crew = Crew(seconds_to_stop=0.5)
    crew.add("deaf", roles.Deaf, str(tmp_path))
    crew.add("stuck", roles.Stuck, str(tmp_path))
    with crew:
        run = crew.run()
        ready = [next(r for r in run if r.kind == "metrics") for _ in range(2)]
        assert len({report.name for report in ready}) == 2
        alive = processes(tmp_path)
        assert len(alive) == 4
    assert not psutil.wait_procs(alive, timeout=10)[1]


def processes(folder: Path) -> list[psutil.Process]:
    pids = [int(pid) for file in folder.glob("*.pids") for pid in file.read_text().split()]
    return [psutil.Process(pid) for pid in pids]


def test_processes_that_all_wait_are_a_deadlock() -> None:
    crew = Crew(heartbeat=1.0)
    crew.add("a", roles.Wait)
    crew.add("b", roles.Wait)
    with pytest.raises(Deadlock, match="a waits for what a wants, b waits for what b wants"):
        reports(crew)


def test_what_cannot_be_is_said_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="crew=thread is not a kind of crew; choose process or"):
        Crew("thread")
    crew = Crew()
    crew.add("a", roles.Count, 1)
    with pytest.raises(ValueError, match="has a role a already"):
        crew.add("a", roles.Count, 1)
    with pytest.raises(ValueError, match="no role is called b; there are a"):
        crew.tell("b", None)
    with pytest.raises(RuntimeError, match="the crew is not running yet"):
        crew.tell("a", None)
    reports(crew)
    with pytest.raises(RuntimeError, match="a crew runs once"):
        next(crew.run())
