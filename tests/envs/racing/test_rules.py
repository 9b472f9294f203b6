"""Actions and rewards by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.racing import rules
from envs.racing.car import Vehicle


def test_the_sources_two_rewards_by_hand() -> None:
    progress, speed, no = np.array([1.01, 1.01, -0.505]), np.array([10.0, 2.0, 5.0]), np.zeros(3)
    crashed = np.array([False, True, False])
    common: Any = (progress, speed, np.array([0.9, 0.0, 0.0]), crashed, no > 0)
    np.testing.assert_allclose(rules.reward("granturismo", *common), [2.0, 2.0 - 25.0, -1.0])
    np.testing.assert_allclose(rules.reward("custom", *common), [3.0, 3.0 - 25.0, -1.0])
    fast = rules.reward("granturismo", no, np.full(3, 20.0), no, np.ones(3) > 0, no > 0)
    np.testing.assert_allclose(fast, -100.0)


def test_the_assisted_and_the_raw_action_by_hand() -> None:
    vehicle, speed = Vehicle.load(), np.array([0.0, 20.0, 60.0])
    steer, pedal = rules.asked("assisted", np.array([[1.0, -1.0]] * 3), speed, vehicle)
    np.testing.assert_allclose(steer, [0.35, 42 / 400 + 0.08, 42 / 3600 + 0.08])
    np.testing.assert_allclose(pedal, [2.0, -10.0, -10.0], err_msg="it creeps below 6 m/s")
    steer, pedal = rules.asked("source", np.array([[-1.0, -1.0], [2.0, 1.0]]), speed[:2], vehicle)
    np.testing.assert_allclose(steer, [-0.3, 0.3])
    np.testing.assert_allclose(pedal, [-16.0, 6.0])
