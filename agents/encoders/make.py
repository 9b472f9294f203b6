"""What an agent makes of an observation before its networks see it: features of images, or the
vector itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from agents.base import Agent, Group, at_least
from agents.encoders.combined import Combined
from agents.encoders.convolutions import Conv, Nature
from agents.encoders.residual import Residual
from agents.encoders.trained import Trained
from agents.encoders.vae import VAE
from agents.packed import Packed
from agents.parts import spaces

Pretrained: TypeAlias = Trained | None
ENCODERS: Mapping[str, Callable[..., Encoder]]


class Encoder(Protocol):
    """Observations [..., *obs shape] -> features [..., size] float32. `tensors`: the parameters
    that are trained by who reads the features, none where observations pass through. `own`: those
    that `loss` trains, by the name of their group; those of "encoder" are needed to see. `still`:
    those that are needed to see and that nothing trains."""

    size: int
    tensors: list[Tensor]
    own: Mapping[str, list[Tensor]]
    still: list[Tensor]

    def __call__(self, obs: Tensor) -> Tensor: ...

    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        """The same for acting, without autograd."""
        ...

    def loss(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of `own`, a scalar, on observations [..., *obs shape]."""
        ...

    def copy(self) -> Encoder:
        """The same encoder on tensors of its own, without gradients."""
        ...


def make_encoder(
    name: str | None,
    agent: Agent,
    features: int | None,
    generator: torch.Generator,
    pretrained: Pretrained = None,
    frozen: bool = False,
) -> Encoder:
    """The encoder of that name for an agent's observations; None is for vectors and draws nothing.
    Where observations are packed each of their images has one, and their vectors pass through.
    features: units of its last layer; 0: there is none, None: as many as its paper has.
    pretrained: what it begins with, instead of what it draws all the same. frozen: nothing trains
    it.

    Raises ValueError for an unknown name, for observations that it cannot read, and for weights
    that are another one's."""
    if name is not None and name not in ENCODERS:
        raise ValueError(f"agent.encoder={name} is unknown; choose null, {', '.join(ENCODERS)}")
    for key, given in (("pretrained", pretrained), ("frozen", frozen)):
        if given and name != "vae":
            raise ValueError(
                f"agent.{key} is for agent.encoder=vae, not for agent.encoder={name or 'null'}"
            )
    if name is None:
        return Vectors(spaces.obs_size(agent, "set agent.encoder=conv for images"))
    at_least(0, features=features)
    kind: Any = ENCODERS[name]
    units = kind.features if features is None else features
    encoders = [
        kind(shape, units, generator=generator, device=agent.device)
        for shape in spaces.image_shapes(agent, kind.least)
    ]
    for each in encoders:
        if pretrained is not None:
            pretrained.into(each)
        if frozen:
            each.freeze()
    space = agent.spec.observation_space
    return Combined(space, encoders) if isinstance(space, Packed) else encoders[0]


def add_own(agent: Agent, encoder: Encoder, lr: float) -> None:
    """Gives an agent whose groups and parts are complete the groups of an encoder that has a loss
    of its own, or the tensors of one that is frozen, which travel and are kept with the policy."""
    for name, tensors in encoder.own.items():
        agent.groups[name] = Group(tensors, lr=lr)
    if encoder.still:
        agent.slow["encoder"] = encoder.still
    if encoder.own or encoder.still:
        agent.parts = {part: [*names, "encoder"] for part, names in agent.parts.items()}


def train_own(agent: Agent, encoder: Encoder, obs: Tensor) -> dict[str, Tensor]:
    """One update of an encoder that has a loss of its own; the metrics of it."""
    if not encoder.own:
        return {}
    loss = encoder.loss(obs, agent.rng.learn)
    first, *others = encoder.own
    agent.descend(first, loss, *others)
    return {"loss/encoder": loss.detach()}


class Vectors:
    """Observations that are vectors [..., size]: they pass through."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tensors: list[Tensor] = []
        self.own: Mapping[str, list[Tensor]] = {}
        self.still: list[Tensor] = []

    def __call__(self, obs: Tensor) -> Tensor:
        return obs

    def forward_numpy(self, obs: np.ndarray) -> np.ndarray:
        return obs

    def loss(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """There is nothing to train."""
        raise NotImplementedError

    def copy(self) -> Vectors:
        return self


ENCODERS = {"conv": Conv, "nature": Nature, "impala": Residual, "vae": VAE}
