"""Images of an env under random play, for an autoencoder that is trained beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from envs.uniform import draw


def collect(
    env: VectorEnv,
    count: int,
    *,
    rng: np.random.Generator,
    hold: float = 8.0,
    length: int = 100,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
) -> np.ndarray:
    """The first `count` images that the slots of `env` show, uint8 [count, *obs shape], in the
    order in which they were shown.

    Each number of an action is drawn anew with probability 1 / hold a step, so that a car keeps its
    gas for a while (Ha and Schmidhuber 2018 act at random, too). low, high: of Box actions, between
    which they are drawn; None: between their bounds. length: images of an episode, after which all
    slots begin another one, so that images come from many.

    Raises ValueError for bounds that are not those of such actions.
    """
    within = bounds(env, low, high)
    obs, _ = env.reset()
    images = np.empty((count, *obs.shape[1:]), obs.dtype)
    action, kept, steps = sample(env, within, rng), 0, 0
    while True:
        new = obs[: count - kept]
        images[kept : kept + len(new)] = new
        if (kept := kept + len(new)) == count:
            return images
        steps += 1
        if steps % length == 0:
            obs, _ = env.reset()
            continue
        again = rng.random(action.shape) * hold < 1
        action = np.where(again, sample(env, within, rng), action)
        obs, *_ = env.step(action)


def sample(
    env: VectorEnv, within: tuple[np.ndarray, np.ndarray] | None, rng: np.random.Generator
) -> np.ndarray:
    """One random action for each slot, between bounds where there are any."""
    if within is None:
        return draw(env.action_space, rng)
    low, high = within
    shape = (env.num_envs, *(env.single_action_space.shape or ()))
    return rng.uniform(low, high, shape).astype(np.float32)


def bounds(
    env: VectorEnv, low: Sequence[float] | None, high: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Between which each number of an action is drawn; None for all that there are."""
    if low is None and high is None:
        return None
    space = env.single_action_space
    if not isinstance(space, spaces.Box):
        raise ValueError(f"low and high bound the numbers of Box actions, but the env has {space}")
    least = space.low if low is None else np.array(low)
    most = space.high if high is None else np.array(high)
    if least.shape == most.shape == space.shape:
        if ((space.low <= least) & (least <= most) & (most <= space.high)).all():
            return least, most
    count = int(np.prod(space.shape))
    raise ValueError(
        f"low and high must be {count} numbers each in [-1, 1], low at most high, as"
        f" low=[{','.join(['-1'] * count)}]"
    )
