"""What the uniform policy gets: the `random_return` of the env YAMLs, to hold scores against.

For an env of your own: `python -m envs.uniform module:EnvId` prints the number to write there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from envs.make import make_env


def uniform_returns(make_env: Callable[..., VectorEnv], seeds: Iterable[int]) -> np.ndarray:
    """Undiscounted returns [len(seeds)] of the reference env, one episode a seed.

    A seed makes both the episode and the actions, which are uniform in the agent's action space.
    """
    env = make_env(num_envs=1, rank=None)
    returns = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])  # `seed` alone would be the env's own stream
        env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, info = env.step(draw(env.action_space, rng))
            total = 0.0 if "env_error" in info else total + float(reward[0])  # a new episode
            over = bool(terminated[0] or truncated[0])
        returns.append(total)
    env.close()
    return np.array(returns)


def draw(space: spaces.Space, rng: np.random.Generator) -> np.ndarray:
    """One uniform action for each env: `space` is the vector env's."""
    if isinstance(space, spaces.MultiDiscrete):
        return rng.integers(space.start, space.start + space.nvec)
    assert isinstance(space, spaces.Box), f"no uniform policy for {space}"
    return rng.uniform(space.low, space.high).astype(space.dtype)


if __name__ == "__main__":
    found = uniform_returns(partial(make_env, sys.argv[1]), range(100))
    sys.stdout.write(f"random_return: {found.mean():.1f}  # standard deviation {found.std():.1f}\n")
