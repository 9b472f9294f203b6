"""What agents ask of an env's spaces; each function raises ValueError, one sentence that names the
agent, the space and what to choose instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from agents.base import Agent
from agents.packed import Packed, Shape


def obs_size(agent: Agent, choice: str = "") -> int:
    """The length of an observation, which must be a vector; `choice` is what else can be done."""
    space = agent.spec.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1 or isinstance(space, Packed):
        choice = " or ".join(filter(None, ["choose an env.id with Box(n,) ones", choice]))
        raise _unfit(agent, "vectors as observations", space, choice)
    return space.shape[0]


def image_shapes(agent: Agent, least: int) -> list[Shape]:
    """Height, width and channels of the images of an observation: of itself, or of those that it
    packs. Each must have `least` x `least` pixels or more."""
    space, shapes = agent.spec.observation_space, list[Shape]()
    if isinstance(space, Packed):
        shapes = [*space.images.values()]
    elif isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        height, width, channels = space.shape
        shapes = [(height, width, channels)]
    if shapes and all(min(height, width) >= least for height, width, _ in shapes):
        return shapes
    needed = f"uint8 images [height, width, channels] of {least} x {least} pixels or more"
    choice = "agent.encoder=conv" if isinstance(space, Packed) else "agent.encoder=null for vectors"
    raise _unfit(agent, needed, space, f"choose such an env.id, or set {choice}")


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
