"""Environments with one fault each, and the sentence that says so."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs import examine
from envs.make import build_one, look_up


class Sound(gym.Env):
    """Nothing is wrong with it: a walk of 5 to 30 steps."""

    observation_space: spaces.Space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(5, 31))
        return self.show(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        self.left -= 1
        return self.show(), self.reward(), self.left <= 0, False, {}

    def show(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reward(self) -> Any:
        return 1.0


class Outside(Sound):
    def show(self) -> Any:
        return np.array([0.0, 2.0], np.float32)


class Doubles(Sound):
    def show(self) -> Any:
        return super().show().astype(np.float64)


class NotFinite(Sound):
    def reward(self) -> Any:
        return float("nan") if self.left < 3 else 1.0


class Array(Sound):
    def reward(self) -> Any:
        return np.ones(1)


class Unseeded(Sound):
    def show(self) -> Any:
        return np.random.uniform(-1, 1, 2).astype(np.float32)


class Leaking(Sound):
    """It forgets to count anew."""

    def __init__(self) -> None:
        self.left = 20

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        gym.Env.reset(self, seed=seed)
        return self.show(), {}


class Limited(Sound):
    """A time limit that it calls an end."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        shown = super().reset(seed=seed)
        self.left = 20
        return shown


class Endless(Sound):
    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        shown = super().reset(seed=seed)
        self.left = 10**9
        return shown


class Same(Sound):
    """It returns one array, and changes it."""

    def __init__(self) -> None:
        self.array = np.zeros(2, np.float32)

    def show(self) -> Any:
        self.array[:] = super().show()
        return self.array


class FloatPictures(Sound):
    observation_space = spaces.Box(0.0, 1.0, (16, 16, 3), np.float32)

    def show(self) -> Any:
        return self.np_random.uniform(0, 1, (16, 16, 3)).astype(np.float32)


class ChannelsFirst(Sound):
    observation_space = spaces.Box(0, 255, (3, 24, 24), np.uint8)

    def show(self) -> Any:
        return self.np_random.integers(0, 256, (3, 24, 24)).astype(np.uint8)


class Unbounded(Sound):
    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Driver(Sound):
    """A camera and a speed, whose numbers are sound."""

    observation_space = spaces.Dict(
        camera=spaces.Box(0, 255, (12, 12, 3), np.uint8), speed=spaces.Box(-1.0, 1.0, (2,))
    )

    def show(self) -> Any:
        camera = self.np_random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
        return {"camera": camera, "speed": super().show()}


class Speeding(Driver):
    def show(self) -> Any:
        return super().show() | {"speed": np.array([0.0, 2.0], np.float32)}


class DriverOfFloats(Driver):
    observation_space = spaces.Dict(
        Driver.observation_space.spaces | {"camera": spaces.Box(0.0, 1.0, (12, 12, 3))}
    )

    def show(self) -> Any:
        shown = super().show()
        return shown | {"camera": shown["camera"].astype(np.float32) / 255}


class Silent(Sound):
    def reward(self) -> Any:
        return 0.0


class Huge(Sound):
    observation_space = spaces.Box(-1e6, 1e6, (2,), np.float32)

    def show(self) -> Any:
        return 1e5 * super().show()

    def reward(self) -> Any:
        return 1e4


SAID = [
    (Outside, "shows 2 at [1], outside of observation_space (-1 to 1)"),
    (Doubles, "shows float64, and observation_space says float32"),
    (NotFinite, "a reward is nan, which ends a run"),
    (Array, "it has to be one number"),
    (Unseeded, "reset(seed=7) begins differently each time"),
    (Leaking, "every episode but the first ended with its first step"),
    (Limited, "terminated after exactly 20 steps: if that is a time limit"),
    (Endless, "set env.max_episode_steps"),
    (Same, "return a copy"),
    (FloatPictures, "pictures (16, 16, 3) are float32"),
    (ChannelsFirst, "put the channels last"),
    (Speeding, "speed of reset shows 2 at [1], outside of observation_space (-1 to 1)"),
    (DriverOfFloats, "pictures of camera (12, 12, 3) are float32"),
    (Unbounded, "actions have no bounds"),
    (Silent, "saw no reward but 0"),
    (Huge, "observations are as large as"),
    (Huge, "rewards are as large as 1e+04"),
]


def sentences(kind: type[gym.Env]) -> list[str]:
    return list(examine.examine(kind, steps=400))


@pytest.mark.parametrize("kind", [Sound, Driver])
def test_of_a_sound_env_only_the_speed_is_said(kind: type[gym.Env]) -> None:
    said = sentences(kind)
    assert len(said) == 1 and "steps a second in one process" in said[0]


@pytest.mark.parametrize(("kind", "words"), SAID, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_said_in_a_sentence(kind: type[gym.Env], words: str) -> None:
    said = sentences(kind)
    assert any(words in sentence for sentence in said), said
    assert all("\n" not in sentence and len(sentence) < 400 for sentence in said)


def test_what_an_env_raises_is_passed_on() -> None:
    class Broken(Sound):
        def step(self, action: Any) -> Any:
            raise ZeroDivisionError("no brakes")

    with pytest.raises(ZeroDivisionError):
        sentences(Broken)


@pytest.mark.parametrize("id", ["Pendulum-v1", "CartPole-v1", "LunarLander-v3"])
def test_nothing_is_wrong_with_gymnasiums(id: str) -> None:
    spec = look_up(id)
    said = list(examine.examine(lambda: build_one(spec, {}, None), steps=300))
    assert len(said) == 1, said
