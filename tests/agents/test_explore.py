"""Schedules, held actions, and noise of a colour."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from agents.base import State
from agents.parts.explore import Epsilon, HeldActions, Noise, Pink, Warmup, White, make_noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_warm_up_explores_fully_and_then_as_configured() -> None:
    explore = Warmup(100, min_random=0.1)
    assert [explore(steps, 0, 4) for steps in (0, 99, 100, 1000)] == [1.0, 1.0, 0.1, 0.1]


def rolled(
    held: HeldActions, explore: np.ndarray | float, steps: int, state: State | None = None
) -> np.ndarray:
    """[steps, B, A] of what becomes of policy actions that are all 9, for three slots."""
    state = held.initial_state(3) if state is None else state
    draws, actions = generator(), []
    for _ in range(steps):
        action, state = held(np.full((3, held.size), 9, np.float32), state, explore, draws)
        actions.append(action)
    return np.array(actions)


def test_random_actions_are_held_for_so_many_steps() -> None:
    for hold in [1, 4, 16]:
        actions = rolled(HeldActions(2, hold), 1.0, 5 * hold).reshape(5, hold, 3, 2)
        assert_array_equal(actions, np.repeat(actions[:, :1], hold, axis=1))
        starts = actions[:, 0].reshape(-1)
        assert len(np.unique(starts)) == starts.size  # other actions each time, slot and dimension
        assert (np.abs(starts) <= 1).all()


def test_random_actions_are_uniform() -> None:
    drawn = rolled(HeldActions(2, 1), 1.0, 2000).reshape(-1)
    counts, _ = np.histogram(drawn, bins=20, range=(-1, 1))
    expected = len(drawn) / 20
    assert np.sum((counts - expected) ** 2 / expected) < 19 + 4 * math.sqrt(2 * 19)


def test_without_exploration_the_policys_action_passes_and_nothing_is_held_on() -> None:
    held = HeldActions(2, 16)
    begun = {"held_action": np.ones((3, 2), np.float32), "held_left": np.full(3, 7)}
    assert (rolled(held, 0.0, 4, begun) == 9).all()
    action, state = held(np.full((3, 2), 9.0), begun, 0.0, generator())
    assert (action == 9).all() and not state["held_left"].any()


def test_a_random_action_begins_with_the_probability_given_for_each_env() -> None:
    hold, steps = 4, 4000
    actions = rolled(HeldActions(1, hold), np.array([0.0, 0.1, 0.5]), steps)[:, :, 0]
    for slot, p in enumerate((0.0, 0.1, 0.5)):  # of 1/p steps until it begins, `hold` are random
        share = (actions[:, slot] != 9).mean()
        assert share == pytest.approx(hold * p / (hold * p + 1 - p), abs=0.04)


def test_draws_of_one_env_do_not_depend_on_what_the_others_hold() -> None:
    alone = rolled(HeldActions(2, 8), np.array([1.0, 0.0, 0.0]), 40)
    beside = rolled(HeldActions(2, 8), np.array([1.0, 0.3, 1.0]), 40)
    assert_array_equal(alone[:, 0], beside[:, 0])


def series(noise: Noise, steps: int, slots: int) -> np.ndarray:
    """[steps, slots, A]"""
    state, draws, out = noise.initial_state(slots), generator(), []
    for _ in range(steps):
        drawn, state = noise(state, slots, draws)
        out.append(drawn)
    return np.array(out)


def test_noise_is_standard_normal_at_every_step() -> None:
    for kind in [White, Pink]:
        drawn = series(kind(2), 300, 500)
        assert drawn.shape == (300, 500, 2) and drawn.dtype == np.float32
        for at in (0, 1, 10, 299):
            assert drawn[at].mean() == pytest.approx(0, abs=4 / math.sqrt(1000))
            assert drawn[at].var() == pytest.approx(1, abs=4 * math.sqrt(2 / 1000))
        assert np.mean(drawn**4) / np.mean(drawn**2) ** 2 == pytest.approx(3, abs=0.2)
        assert abs(np.mean(drawn[:, :, 0] * drawn[:, :, 1])) < 0.05  # dimensions are independent


def slope(drawn: np.ndarray) -> float:
    """Of the logarithm of power over that of frequency, from 1/256 to 1/4 of a step."""
    spectrum = np.mean(np.abs(np.fft.rfft(drawn, axis=0)) ** 2, axis=(1, 2))
    frequency = np.fft.rfftfreq(len(drawn))
    middle = (frequency > 1 / 256) & (frequency < 1 / 4)
    return float(np.polyfit(np.log(frequency[middle]), np.log(spectrum[middle]), 1)[0])


def test_white_noise_is_flat_and_pink_noise_falls_as_one_over_the_frequency() -> None:
    assert slope(series(White(1), 1024, 64)) == pytest.approx(0, abs=0.05)
    assert slope(series(Pink(1), 1024, 64)) == pytest.approx(-1, abs=0.2)


def test_pink_noise_goes_on_from_its_state_and_starts_afresh_without() -> None:
    noise = Pink(1)
    _, state = noise(noise.initial_state(2), 2, generator(1))
    state = {name: value.copy() for name, value in state.items()}
    for name, initial in noise.initial_state(2).items():
        state[name][1] = initial[1]  # as the actor does where an episode ends
    continued = np.mean([noise(state, 2, generator(seed))[0][:, 0] for seed in range(2000)], axis=0)
    expected = float(np.sum(noise.keep * state["pink"][0]) / math.sqrt(noise.octaves))
    assert abs(expected) > 0.3
    assert continued[0] == pytest.approx(expected, abs=0.1)
    assert continued[1] == pytest.approx(0, abs=0.1)


def test_an_unknown_noise_is_refused_with_the_choices() -> None:
    assert isinstance(make_noise("white", 2), White) and isinstance(make_noise("pink", 2), Pink)
    with pytest.raises(
        ValueError, match=r"agent.noise=brown is unknown; choose one of white, pink"
    ):
        make_noise("brown", 2)


def test_epsilon_falls_along_a_line_after_the_warm_up() -> None:
    epsilon = Epsilon(warmup=100, steps=200, start=0.9, final=0.1)
    found = [epsilon(steps, 0, 1) for steps in (0, 99, 100, 200, 300, 10**6)]
    assert found == pytest.approx([1, 1, 0.9, 0.5, 0.1, 0.1])
    assert Epsilon(warmup=0, steps=0, final=0.3)(0, 0, 1) == pytest.approx(0.3)


def test_the_ladder_gives_every_env_its_own_and_does_not_shrink_with_few() -> None:
    ladder = Epsilon(warmup=0, steps=0, start=0.4, final=0.4, epsilon_spread=7.0)
    found = [ladder(0, index, 8) for index in range(8)]
    assert found == pytest.approx([0.4 ** (1 + index) for index in range(8)])
    assert [ladder(0, index, 2) for index in range(2)] == pytest.approx([0.4, 0.4**8])
    assert ladder(0, 0, 1) == pytest.approx(0.4)
