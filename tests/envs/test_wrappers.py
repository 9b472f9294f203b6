from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agents.packed import Packed
from envs.wrappers import float_observations, is_image, left_out, onto, plain_actions, standard


class Echo(gym.Env):
    """Shows a sample of its space and remembers the actions."""

    def __init__(self, shown: spaces.Space, taken: spaces.Space) -> None:
        self.observation_space, self.action_space = shown, taken
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.action = action
        self.actions.append(action)
        return self.observation_space.sample(), 0.0, False, False, {}


class Mission(spaces.Space):
    """A space of a package's own, as MiniGrid's: it does not implement `is_np_flattenable`."""

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return "get the key"


DISCRETE = spaces.Discrete(3)
POINT = spaces.Box(-1.0, 1.0, (2,), np.float32)


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


SHOWN = [
    (spaces.Box(-2.0, 2.0, (5,), np.float64), 5),
    (spaces.Box(-1.0, 1.0, (3, 4), np.float32), 12),
    (spaces.Box(0, 9, (4,), np.int64), 4),
    (spaces.Box(0, 255, (128,), np.uint8), 128),
    (spaces.Discrete(6), 6),
    (spaces.MultiDiscrete([2, 3]), 5),
    (spaces.MultiBinary(4), 4),
    (spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0.0, 1.0, (3,), np.float64)), 5),
    (spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]), 5),
]


def test_observations_become_a_float32_vector(subtests: pytest.Subtests) -> None:
    for shown, size in SHOWN:
        with subtests.test(str(shown)):
            env = float_observations(Echo(shown, DISCRETE))
            assert (
                env.observation_space.shape == (size,) and env.observation_space.dtype == np.float32
            )
            for obs in (env.reset(seed=0)[0], env.step(0)[0]):
                assert obs.dtype == np.float32 and env.observation_space.contains(obs)


def test_what_cannot_be_laid_out_of_a_dict_is_left_out() -> None:
    env = float_observations(Echo(spaces.Dict(a=POINT, b=DISCRETE, mission=Mission()), DISCRETE))
    assert env.observation_space.shape == (5,)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    assert left_out(spaces.Dict(a=POINT, mission=Mission())) == ["mission"]


def test_infinite_bounds_stay_infinite_and_huge_ones_finite() -> None:
    shown = spaces.Box(np.array([-np.inf, -1e300, 0]), np.array([1, 1e300, np.inf]), (3,), float)
    box = float_observations(Echo(shown, DISCRETE)).observation_space
    np.testing.assert_array_equal(np.isinf(box.low), [True, False, False])
    np.testing.assert_array_equal(np.isinf(box.high), [False, False, True])


def test_images_are_left_alone() -> None:
    for shape in [(8, 8), (8, 8, 3), (4, 8, 8)]:
        env = Echo(spaces.Box(0, 255, shape, np.uint8), DISCRETE)
        assert standard(env) is env and is_image(env.observation_space)


PACKED = [
    (spaces.Dict(camera=image(8, 9, 3), speed=POINT), {"speed": 2}, {"camera": (8, 9, 3)}),
    (spaces.Dict(camera=image(8, 8, 1)), {}, {"camera": (8, 8, 1)}),
    (
        spaces.Tuple([DISCRETE, image(8, 8, 1), Mission(), spaces.Box(-2, 2, (2, 3), float)]),
        {"0": 3, "3": 6},
        {"1": (8, 8, 1)},
    ),
    (
        spaces.Dict(
            left=spaces.Dict(camera=image(9, 8, 2), mission=Mission(), gear=DISCRETE),
            right=spaces.Dict(small=image(7, 9, 3), grey=image(9, 9), gear=DISCRETE),
        ),
        {"left.gear": 3, "right": 3 + 81 + 189},
        {"left.camera": (9, 8, 2)},
    ),
]


def parts(shown: Any, name: str) -> Any:
    """The part of an observation that has this dotted name."""
    for key in name.split("."):
        shown = shown[int(key) if key.isdigit() else key]
    return shown


def test_a_dict_with_images_is_packed_and_what_is_no_number_left_out(
    subtests: pytest.Subtests,
) -> None:
    for shown, vectors, images in PACKED:
        with subtests.test(str(shown)):
            env = standard(echo := Echo(shown, DISCRETE))
            assert env.observation_space == Packed(vectors, images)
            shown.seed(3)
            given = [shown.sample() for _ in range(2)]
            shown.seed(3)
            for obs, raw in zip((env.reset()[0], env.step(0)[0]), given, strict=True):
                assert env.observation_space.contains(obs)
                for name, array in env.observation_space.split(obs).items():
                    space, part = parts(echo.observation_space, name), parts(raw, name)
                    flat = part if name in images else spaces.flatten(space, part)
                    np.testing.assert_array_equal(array, np.asarray(flat, array.dtype))


def test_a_dict_of_small_images_stays_a_vector() -> None:
    env = float_observations(Echo(spaces.Dict(view=image(7, 7, 3), way=DISCRETE), DISCRETE))
    assert env.observation_space.shape == (150,) and env.observation_space.dtype == np.float32


def test_what_is_left_out_of_a_dict_is_named(subtests: pytest.Subtests) -> None:
    inner = spaces.Dict(camera=image(8, 8, 3), mission=Mission())
    for shown, gone in [
        (spaces.Dict(left=inner, note=Mission(), speed=POINT), ["left.mission", "note"]),
        (spaces.Dict(left=spaces.Dict(mission=Mission(), speed=POINT), speed=POINT), ["left"]),
        (inner, ["mission"]),
        (POINT, []),
    ]:
        with subtests.test(str(shown)):
            assert left_out(shown) == gone


def test_what_already_fits_is_not_wrapped() -> None:
    env = Echo(POINT, DISCRETE)
    assert standard(env) is env


LOW = np.array([-2.0, 0.0, 0.1], np.float32)
HIGH = np.array([2.0, 5.0, 0.7], np.float32)


@given(hnp.arrays(np.float32, 3, elements=st.floats(-3, 3, width=32)))
def test_actions_are_clipped_and_mapped_onto_the_bounds(action: np.ndarray) -> None:
    taken = spaces.Box(LOW, HIGH)
    env = plain_actions(Echo(POINT, taken))
    assert env.action_space == spaces.Box(-1.0, 1.0, (3,), np.float32)
    env.reset(seed=0)
    env.step(action)
    got = env.unwrapped.action
    assert taken.contains(got)
    np.testing.assert_allclose(got, LOW + (action.clip(-1, 1) + 1) / 2 * (HIGH - LOW), atol=1e-6)


def test_the_ends_of_the_range_are_the_bounds() -> None:
    for bounds in ((-1.0, 1.0), (-0.4, 0.4), (0.0, 1.0)):
        env = plain_actions(Echo(POINT, spaces.Box(*bounds, (1,), np.float32)))
        for end, bound in zip((-1.0, 1.0), bounds, strict=True):
            env.step(np.array([end], np.float32))
            np.testing.assert_array_equal(env.unwrapped.action, np.array([bound], np.float32))


def test_double_precision_actions_stay_double_for_the_env_only() -> None:
    env = plain_actions(Echo(POINT, spaces.Box(-3.0, 3.0, (2,), np.float64)))
    env.step(np.array([0.5, -2.0], np.float32))
    assert env.action_space.dtype == np.float32
    assert env.unwrapped.action.dtype == np.float64
    np.testing.assert_array_equal(env.unwrapped.action, [1.5, -3.0])


def test_a_nan_action_is_not_hidden() -> None:
    env = plain_actions(Echo(POINT, POINT))
    env.step(np.array([np.nan, 0.0], np.float32))
    assert np.isnan(env.unwrapped.action[0])


def test_discrete_actions_are_counted_from_0_and_shifted_to_the_envs_start() -> None:
    for start in [-1, 5]:
        taken = spaces.Discrete(3, start=start)
        env = standard(Echo(POINT, taken))
        assert env.action_space == spaces.Discrete(3)
        for action in (0, 1, np.int64(2)):
            env.step(action)
        assert env.unwrapped.actions == [start, start + 1, start + 2]
        assert all(taken.contains(action) for action in env.unwrapped.actions)


def test_discrete_actions_that_start_at_0_pass_unchanged() -> None:
    env = Echo(POINT, DISCRETE)
    assert plain_actions(env) is env


TAKEN = [
    (spaces.MultiDiscrete([3, 2], start=[1, -1]), [3, 2], [[2, 1], [3, 0]]),
    (spaces.MultiDiscrete([[3], [2]]), [3, 2], [[2, 1], [[2], [1]]]),
    (spaces.MultiBinary(2), [2, 2], [[1, 0], [1, 0]]),
]


def test_several_choices_become_a_vector_counted_from_0() -> None:
    for taken, plain, (action, expected) in TAKEN:
        env = standard(Echo(POINT, taken))
        assert env.action_space == spaces.MultiDiscrete(plain)
        env.step(np.array(action))
        np.testing.assert_array_equal(env.unwrapped.action, expected)
        assert taken.contains(env.unwrapped.action)
    env = Echo(POINT, spaces.MultiDiscrete([3, 2]))
    assert plain_actions(env) is env


def test_actions_of_any_shape_become_a_vector() -> None:
    taken = spaces.Box(-2.0, 2.0, (2, 2), np.float32)
    env = plain_actions(Echo(POINT, taken))
    assert env.action_space == spaces.Box(-1.0, 1.0, (4,), np.float32)
    env.step(np.array([-1, 0.5, 3, 0], np.float32))
    np.testing.assert_array_equal(env.unwrapped.action, [[-2, 1], [2, 0]])
    many = onto(taken)(np.zeros((5, 4), np.float32))
    assert many.shape == (5, 2, 2)


USELESS = [
    (spaces.Sequence(DISCRETE), DISCRETE),
    (Mission(), DISCRETE),
    (spaces.Dict(mission=Mission()), DISCRETE),
    (POINT, spaces.Box(-np.inf, np.inf, (2,), np.float32)),
    (POINT, spaces.Box(0, 4, (2,), np.int64)),
]


def test_spaces_no_agent_could_use_are_refused(subtests: pytest.Subtests) -> None:
    for shown, taken in USELESS:
        with subtests.test(f"{shown} {taken}"):
            with pytest.raises(ValueError, match=r"Echo (shows|takes).*choose an env\.id"):
                standard(Echo(shown, taken))
