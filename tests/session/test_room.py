"""What a run takes is counted from its settings, and refused where a machine has less."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from paradigms.base import Job
from paradigms.experience.rollout import Rollout
from paradigms.pbt import PBT
from paradigms.sequential import Sequential
from paradigms.session import origin, room
from paradigms.session.room import Room, check, children, parts, stored
from paradigms.settings import Evaluation
from tests.jobs import AGENTS, PARADIGMS, job, laid, sac, world

GIB = 2**30


def tried(job: Job, have: Room, paradigm: str = "dcollect") -> str:
    """The sentence with which a run is refused; empty if it is not."""
    try:
        check(job, PARADIGMS[paradigm], have)
    except ValueError as error:
        return str(error)
    return ""


def apart(**changes: Any) -> Job:
    evaluation = Evaluation(
        where="process", every_seconds=1.0, share=0.1, episodes=20, confirm_episodes=0
    )
    return job(crew="process", evaluation=evaluation, **changes)


def test_the_processes_of_a_run_are_counted() -> None:
    assert children(apart(workers=3), PARADIGMS["dcollect"]) == 4
    assert children(apart(workers=3), PARADIGMS["sequential"]) == 1
    assert children(job(workers=3), PARADIGMS["dcollect"]) == 0, "inline, and no evaluation"
    assert children(apart(workers=3), PBT(Sequential(), members=5)) == 6


def test_too_many_processes_and_files_name_the_workers() -> None:
    many = apart(workers=50)
    assert "workers=50 makes 51 processes, and this user may start 50 more" in tried(
        many, Room(processes=50)
    )
    said = tried(many, Room(files=184))
    assert "workers=50 needs at least 185 open files, and 184 are left" in said
    assert "ulimit -n" in said
    assert not tried(many, Room(processes=51, files=185))


def test_without_shared_memory_for_locks_inline_is_advised() -> None:
    assert "/dev/shm has 0 bytes left" in tried(apart(), Room(shared=0))
    assert not tried(job(), Room(shared=0)), "inline"


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({"capacity": 10**9, "env_steps": 10**9}, "make replay.capacity smaller"),
        ({"num_envs": 10**8}, "choose fewer than num_envs=100000000"),
        ({"rollout_length": 10**8}, "make num_envs=2 or rollout_length=100000000 smaller"),
        ({"batch_size": 10**9}, "make replay.batch_size=1000000000 smaller"),
        ({"agent": functools.partial(sac, hidden_sizes=(2048, 2048))}, "make agent.hidden_sizes"),
    ],
)
def test_too_many_bytes_name_what_takes_most_of_them(changes: dict[str, Any], change: str) -> None:
    have = Room(memory=100 * 2**20 if "agent" in changes else 4 * GIB)
    said = tried(job(**changes), have)
    assert said.startswith("the run takes at least")
    assert change in said


def test_many_workers_and_evaluation_envs_are_named() -> None:
    assert "fewer than workers=5000" in tried(apart(workers=5000), Room(memory=16 * GIB))
    wide = Evaluation(
        where="inline", every_seconds=1.0, share=1.0, episodes=10**9, confirm_episodes=0
    )
    assert "evaluation.episodes=1000000000" in tried(job(evaluation=wide), Room(memory=16 * GIB))


def test_a_replay_is_no_fuller_than_the_budget() -> None:
    assert stored(job(capacity=10**12)) == 128
    assert stored(job(capacity=100)) == 100
    rollouts = functools.partial(Rollout, capacity=4)
    assert stored(job(make_replay=rollouts, workers=3)) == 4 * 3 * 2 * 8
    assert stored(job(make_replay=lambda spec, **_: None)) == 0


@pytest.mark.parametrize(("stack", "frames"), [(1, 2), (4, 1)])
def test_images_that_are_stored_once_are_counted_once(stack: int, frames: int) -> None:
    """Without a stack there is room for two a transition, the second for where an episode ends."""
    drift = world("Drift", kwargs={"size": 36}, stack=stack)
    made = job(drift, AGENTS["dqn with images"].make, capacity=10_000)
    agent, image = laid(made.make_agent(made.spec, seed=0)), 36 * 36
    assert origin.replay_bytes(made, agent) == pytest.approx(10_000 * frames * image, rel=0.05)
    found = {need.part: need.bytes for need in parts(made, PARADIGMS["sequential"], agent)}
    held = made.budget.env_steps * frames * image
    assert found["the transitions of the replay"] == pytest.approx(held, rel=0.05)


def test_an_ordinary_run_fits_everywhere(subtests: pytest.Subtests) -> None:
    small = Room(memory=2 * GIB, processes=64, files=256, shared=2**20)
    for name in PARADIGMS:
        with subtests.test(name):
            assert not tried(apart(workers=8), small, name)


def test_what_this_machine_has_is_found() -> None:
    found = room.here()
    assert 2**26 < found.memory < room.UNKNOWN
    assert found.processes > 8
    assert found.files > 8


def test_the_parts_are_what_they_are_called() -> None:
    made = laid(sac(job().spec, 0))
    found = {need.part: need.bytes for need in parts(job(), PARADIGMS["sequential"], made)}
    assert found["the processes"] == 0
    assert found["the weights in every process"] == 4 * made.vector.size("all")
    assert found["the transitions of the replay"] < 128 * 64
