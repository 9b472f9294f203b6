"""What agents ask of an env's spaces; each function raises ValueError, one sentence that names the
agent, the space and what to choose instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from agents.base import Agent


def obs_size(agent: Agent, choice: str = "") -> int:
    """The length of an observation, which must be a vector; `choice` is what else can be done."""
    space = agent.spec.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        choice = " or ".join(filter(None, ["choose an env.id with Box(n,) ones", choice]))
        raise _unfit(agent, "vectors as observations", space, choice)
    return space.shape[0]


def image_shape(agent: Agent, least: int) -> tuple[int, int, int]:
    """Height, width and channels of an observation, which must be an image of `least` x `least`
    pixels or more."""
    space = agent.spec.observation_space
    if isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        height, width, channels = space.shape
        if min(height, width) >= least:
            return height, width, channels
    needed = f"uint8 images [height, width, channels] of {least} x {least} pixels or more"
    raise _unfit(
        agent, needed, space, "choose such an env.id, or set agent.encoder=null for vectors"
    )


def action_size(agent: Agent) -> int:
    """The length of an action, which must be a vector."""
    space = agent.spec.action_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        choice = "choose an env.id with such actions, or for Discrete ones agent=dqn or agent=ppo"
        raise _unfit(agent, "actions in Box(n,)", space, choice)
    return space.shape[0]


def choices(agent: Agent) -> int:
    """How many actions there are to choose from; they must be 0..n-1."""
    space = agent.spec.action_space
    if not isinstance(space, Discrete) or space.start != 0:
        choice = "choose an env.id with such actions, or for Box(n,) ones agent=sac or agent=ppo"
        raise _unfit(agent, "Discrete actions", space, choice)
    return int(space.n)


def _unfit(agent: Agent, needed: str, space: Space[Any], choice: str) -> ValueError:
    has = " ".join(str(space).split())
    return ValueError(f"{type(agent).__name__} needs {needed}, but the env has {has}; {choice}")
