from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from conf.compose import compose
from conf.nodes import made
from envs.make import make_env
from envs.uniform import uniform_returns

CONF = Path(__file__).parents[2] / "conf" / "env"
BOX2D = ("lander", "lander_discrete")


def test_a_loop_pays_the_same_under_every_policy() -> None:
    make = partial(make_env, "paceline/Loop-v0", kwargs={"reward": 0.5, "limit": 6})
    assert uniform_returns(make, range(3)).tolist() == [3.0, 3.0, 3.0]


def test_actions_are_drawn_apart_from_the_env() -> None:
    """An env and a policy drawing the same numbers would solve Identity by chance alone."""
    found = uniform_returns(partial(make_env, "paceline/Identity-v0"), range(100))
    assert abs(found.mean() + 20 / 3) < 3 * found.std() / 10


TOYS = ("identity", "identity_dict", "identity_discrete", "counting", "corridor", "chain")
TOYS = (*TOYS, "recall", "cartpole")


@pytest.mark.parametrize(
    "envs",
    [TOYS, pytest.param(("mcar", "pendulum", *BOX2D), marks=pytest.mark.slow)],
    ids=["toys", "others"],
)
def test_the_yamls_random_return_is_what_is_measured(
    envs: tuple[str, ...], subtests: pytest.Subtests
) -> None:
    for env in envs:
        with subtests.test(env):
            node = compose([f"env={env}"]).values["env"]
            found = uniform_returns(made(node["make"]), range(100)).mean()
            # Box2D differs from one platform to the next; the toys do not
            close = pytest.approx(node["random_return"], abs=0.051, rel=0.1 * (env in BOX2D))
            assert found == close
