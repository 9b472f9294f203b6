"""Agents whose training diverges on purpose."""

from __future__ import annotations

import math

import numpy as np

from agents.base import Acted, Batch, Learned, State
from agents.sac import SAC

CALLS = 200  # before


class Diverging(SAC):
    """Its losses are not finite from some update on."""

    calls = 0

    def learn(self, batch: Batch) -> Learned:
        self.calls += 1
        if self.calls > CALLS:
            batch["reward"].fill_(math.nan)
        return super().learn(batch)


class Broken(SAC):
    """Its actions are not finite from some step on."""

    calls = 0

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        self.calls += 1
        acted = super().act(obs, state, explore)
        return acted if self.calls <= CALLS else acted._replace(action=acted.action * math.nan)
