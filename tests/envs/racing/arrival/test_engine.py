"""env.engine=arrival from its settings: what is made, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.make import make_env
from envs.racing.arrival.race import ArrivalRace
from envs.racing.arrival.server import FakeServer, main
from envs.racing.world import Race

GRID: dict[str, Any] = {"track": "oval", "start": "grid", "seconds": 300.0}


@pytest.mark.parametrize(
    ("arrival", "sentence"),
    [
        ({"hosts": "here"}, r"arrival\.hosts is no setting; it has host, control_port"),
        ({"pose_port": "7078"}, r"arrival\.pose_port='7078' must be a int"),
        ({"pose_port": 70780}, r"arrival\.pose_port=70780 must be a port, from 1 to 65535"),
        ({"timeout": 0}, r"arrival\.timeout=0 must be a positive number"),
        ({"lockstep": 1}, r"arrival\.lockstep=1 must be a bool"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_opened(
    arrival: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_env("paceline/Race-v0", engine="arrival", kwargs={"arrival": arrival})


def test_make_env_evaluates_in_the_embedded_world_unless_told_to_drive_the_simulator() -> None:
    with FakeServer(track="oval") as server:
        made: dict[str, Any] = {"kwargs": {**GRID, "arrival": server.arrival}, "num_envs": 1}
        embedded = make_env("paceline/Race-v0", engine="arrival", rank=None, **made)
        assert type(embedded.unwrapped) is Race
        driven = make_env(
            "paceline/Race-v0", engine="vector", rank=None, reference_engine="arrival", **made
        )
        trained = make_env("paceline/Race-v0", engine="arrival", rank=0, **made)
        assert isinstance(trained.unwrapped, ArrivalRace), "and nothing is opened before a reset"
        obs, _ = driven.reset(seed=[3])
        np.testing.assert_allclose(obs, embedded.reset(seed=[3])[0], atol=0.02)
        driven.close()


def test_a_simulator_has_one_car(subtests: pytest.Subtests) -> None:
    for id, keywords, sentence in (
        ("paceline/Race-v0", {"num_envs": 2}, "num_envs=2 must be 1 with env.engine=arrival"),
        ("paceline/Race-v0", {"rank": 1}, r"set workers=1, or .*env\.per_worker="),
        ("Pendulum-v1", {}, "Pendulum-v1 is no race; choose env=race"),
    ):
        with subtests.test(sentence), pytest.raises(ValueError, match=sentence):
            make_env(id, engine="arrival", **keywords)
    own = [{"arrival": {"host": "a"}}, {"arrival": {"host": "b"}}]
    second = make_env("paceline/Race-v0", engine="arrival", rank=1, per_worker=own)
    assert second.unwrapped.cars.address.host == "b"


def test_without_its_packages_the_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("envs.racing.arrival.simulator.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'paceline\[arrival\]'"):
        make_env("paceline/Race-v0", engine="arrival")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("track=monza", "is no circuit: choose"),
        ("speed=fast", "speed=fast is not one of real, max"),
        ("pose_port=x", "pose_port=x must be a port"),
        ("colour=red", "colour is no setting: choose track, speed, host"),
    ],
)
def test_the_stand_in_refuses_wrong_words(word: str, sentence: str) -> None:
    with pytest.raises(SystemExit, match=sentence):
        main([word])
