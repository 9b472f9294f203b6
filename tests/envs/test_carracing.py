"""Small pictures of CarRacing against the original's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.carracing import LUMA, CarRacing
from envs.make import make_env

pytestmark = pytest.mark.slow


def drives(steps: int) -> np.ndarray:
    """Actions [steps, 3] of the original: full gas, and a little steering."""
    turn = 0.3 * np.sin(np.arange(steps) / 5)
    return np.stack([turn, np.ones(steps), np.zeros(steps)], 1).astype(np.float32)


def test_in_colours_and_with_96_pixels_it_is_the_original() -> None:
    ours, original = CarRacing(size=96, grey=False), gym.make("CarRacing-v3").unwrapped
    shown = [env.reset(seed=3)[0] for env in (ours, original)]
    np.testing.assert_array_equal(*shown)
    for action in drives(12):
        a, b = (env.step(action) for env in (ours, original))
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:4] == b[1:4]


def test_grey_is_the_luminance_of_the_colours() -> None:
    grey, colour = CarRacing(), CarRacing(grey=False)
    shown, colours = grey.reset(seed=3)[0], colour.reset(seed=3)[0]
    assert shown.shape == (64, 64, 1) and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[..., 0], np.rint(colours @ LUMA))


def test_a_repeated_action_is_drawn_once_and_shows_what_a_naive_one_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    look = CarRacing.look
    monkeypatch.setattr(CarRacing, "look", lambda self: drawn.append(1) or look(self))
    options: dict[str, Any] = {"seed": 5, "max_episode_steps": 18, "autoreset": "same_step"}
    ours = make_env("paceline/CarRacing-v0", action_repeat=4, **options)
    plain = make_env("paceline/CarRacing-v0", **options)
    np.testing.assert_array_equal(ours.reset()[0], plain.reset()[0])
    drawn.clear()
    for action in drives(5)[:, None]:  # four whole actions, and two steps of the fifth
        a = ours.step(action)
        few, total = len(drawn), 0.0
        for _ in range(4):
            b = plain.step(action)
            total += b[1][0]
            if b[3][0]:
                break
        drawn.clear()
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], total)
        assert (a[3] == b[3]).all() and few == (2 if a[3][0] else 1)
    assert a[3][0]
    np.testing.assert_array_equal(a[4]["final_obs"][0], b[4]["final_obs"][0])
