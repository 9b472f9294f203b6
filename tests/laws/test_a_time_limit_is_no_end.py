"""Law 15: a value learned under a time limit is r / (1 - gamma), under termination the short sum.

Pardo et al. 2018, arXiv:1712.00378. In a loop of two states a table is learned from what has gone
the whole way from the env through Actor and Replay to the Batch.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State
from agents.parts.optim import Local
from paradigms.sequential import Sequential
from tests.covering import covering
from tests.jobs import job, run, world

GAMMA, REWARD, LIMIT = 0.5, 3.0, 2


class Table(Agent):
    """One value a state, set to the mean target of the batch's transitions from that state."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu", *, n_step: int) -> None:
        super().__init__(spec, seed, device)
        self.n_step, self.gamma = n_step, GAMMA
        self.values = torch.zeros(2, requires_grad=True)
        self.groups["values"] = Group([self.values], lr=0.0)
        self.parts = {"act": ["values"], "evaluate": ["values"]}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        return Acted(np.zeros((len(obs), 1), np.float32), state, {})

    def learn(self, batch: Batch) -> Learned:
        with torch.no_grad():
            target = batch.reward + batch.discount * (batch.next_obs @ self.values)
            self.values.copy_(batch.obs.T @ target / batch.obs.sum(0))
        return Learned(1, {})


VALUES = {
    "truncated": [REWARD / (1 - GAMMA), REWARD / (1 - GAMMA)],
    "terminated": [REWARD * (1 + GAMMA), REWARD],
}
MODES = ("next_step", "same_step", "disabled")


@pytest.mark.parametrize(
    ("ending", "mode", "n_step"), covering(itertools.product(VALUES, MODES, (1, 3)))
)
def test_the_value_learned_in_a_loop(ending: str, mode: str, n_step: int) -> None:
    loop = world(
        "Loop",
        kwargs={"reward": REWARD, "limit": LIMIT, "terminates": ending == "terminated"},
        autoreset=mode,
    )
    ended = run(Sequential(), job(loop, functools.partial(Table, n_step=n_step), env_steps=96))
    assert ended.totals["updates"] >= 60
    assert torch.allclose(ended.floats[:2], torch.tensor(VALUES[ending]), rtol=1e-6)


def test_gymnasiums_time_limit_is_a_truncation() -> None:
    endless = world("Loop", kwargs={"reward": REWARD, "limit": 10**9}, max_episode_steps=5)
    ended = run(Sequential(), job(endless, functools.partial(Table, n_step=1), env_steps=96))
    assert ended.totals["episode_length_mean"] == 5
    assert torch.allclose(ended.floats[:2], torch.full((2,), REWARD / (1 - GAMMA)), rtol=1e-6)
