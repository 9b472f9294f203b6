"""The header names the size of a full replay without building one."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from agents.parts.vector import Vector
from paradigms.evolution import ES
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.hogwild import Hogwild
from paradigms.pbt import PBT
from paradigms.sequential import Sequential
from paradigms.session import origin as record
from tests.jobs import job


def test_the_size_of_a_full_replay_is_about_what_it_takes() -> None:
    for kind, capacity in [(Uniform, 10_000), (Prioritized, 10_000), (Rollout, 4)]:
        j = job(make_replay=functools.partial(kind, capacity=capacity), workers=2)
        agent = j.make_agent(j.spec, seed=0, device="cpu")
        Vector(agent)
        spec = j.spec.with_extras(agent.extras)
        replay = j.make_replay(
            spec, writers=2, num_envs=j.num_envs, rollout_length=j.rollout_length
        )
        transitions = replay.nbytes if kind is Rollout else replay.ring.nbytes
        assert record.replay_bytes(j, agent) == pytest.approx(transitions, rel=0.02)


def test_the_header_builds_no_replay() -> None:
    class Refusing(Uniform):
        def __init__(self, *_: Any, **__: Any) -> None:
            raise AssertionError("a replay was built")

    j = job(make_replay=functools.partial(Refusing, capacity=10**6))
    agent = j.make_agent(j.spec, seed=0, device="cpu")
    Vector(agent)
    lines = record.introduction(j, agent)
    assert "transitions of a full replay" in lines[1]


def test_the_header_names_what_members_run_by_its_word() -> None:
    j = job(workers=2)
    agent = j.make_agent(j.spec, seed=0, device="cpu")
    Vector(agent)
    for of, said in [
        (Sequential(), "4 members, runs of sequential, each 1 worker x 2 envs, fragments"),
        (Hogwild(), "4 members, runs of hogwild, each 2 workers x 2 envs, fragments"),
        (Hogwild(locked=True), "runs of locked"),
        (Hogwild(copy="rollout"), "runs of a3c"),
    ]:
        assert said in record.introduction(j, agent, PBT(of))[1]
    assert record.introduction(j, agent, PBT(ES()))[1].endswith("es, each 2 workers x 2 envs")
    assert record.introduction(j, agent, ES())[1] == "2 workers x 2 envs"
    assert record.members(Hogwild()) == "" and record.member_of(Hogwild()) is None


def test_a_run_says_of_which_commit_it_is() -> None:
    origin = record.origin()
    assert origin["commit"] is None or re.fullmatch("[0-9a-f]{40}", origin["commit"])
    assert isinstance(origin["changed_since"], bool)
