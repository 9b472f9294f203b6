"""An agent for tests of everything but learning."""

from __future__ import annotations

import numpy as np
import torch

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State
from agents.parts.optim import Local


class Idler(Agent):
    """Acts at random and learns nothing: an update is one step of one number."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu") -> None:
        super().__init__(spec, seed, device)
        self.number = torch.zeros(1, requires_grad=True)
        self.groups["number"] = Group([self.number], lr=0.01)
        self.parts = {"act": ["number"], "evaluate": ["number"]}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        action = 2 * torch.rand((len(obs), 1), generator=self.rng.act) - 1
        return Acted(action.numpy(), state, {})

    def learn(self, batch: Batch) -> Learned:
        self.descend("number", (self.number - 1).square().sum())
        return Learned(1, {})
