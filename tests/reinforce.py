"""The smallest agent that learns from whole fragments, for the laws."""

from __future__ import annotations

import numpy as np
import torch

from agents.base import Acted, Agent, Batch, Group, Key, Learned, Spec, State
from agents.parts.optim import Local


class Reinforce(Agent):
    """REINFORCE with a Gaussian of a linear mean (Williams 1992): the smallest agent that learns
    from whole fragments. `passes` updates a learn; each episode's return counts from where it is,
    up to its end or the fragment's."""

    needs = frozenset({"box", "vector"})
    replays = frozenset({"rollout", "fifo"})

    def __init__(
        self, spec: Spec, seed: int, device: str = "cpu", *, passes: int = 1, gamma: float = 0.5
    ) -> None:
        super().__init__(spec, seed, device)
        (obs_size,) = spec.observation_space.shape or ()
        (action_size,) = spec.action_space.shape or ()
        self.passes, self.gamma = passes, gamma
        self.weight = torch.zeros((action_size, obs_size + 1), requires_grad=True)
        self.groups["mean"] = Group([self.weight], lr=0.03)
        self.parts = {"act": ["mean"], "evaluate": ["mean"]}
        self.extras = {"before": Key((action_size,), per="fragment")}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {"before": np.zeros((n, len(self.weight)), np.float32)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        with torch.no_grad():
            mean = self.mean(torch.from_numpy(np.asarray(obs, np.float32)))
            noise = torch.randn(mean.shape, generator=self.rng.act)
        action = (mean if explore is None else mean + 0.3 * noise).numpy()
        return Acted(action, {"before": action}, {})

    def learn(self, batch: Batch) -> Learned:
        future, returns = torch.zeros_like(batch.reward[0]), torch.empty_like(batch.reward)
        going = batch.valid & ~batch.terminated & ~batch.truncated
        for t in reversed(range(len(returns))):
            returns[t] = future = batch.reward[t] + self.gamma * going[t] * future
        valid = batch.valid
        advantage = returns - returns[valid].mean()
        for _ in range(self.passes):
            error = (batch.action - self.mean(batch.obs)).square().sum(-1)
            self.descend("mean", (batch.weight * advantage * error).sum() / valid.sum())
        return Learned(self.passes, {"return": returns[valid].mean()})

    def mean(self, obs: torch.Tensor) -> torch.Tensor:
        return obs @ self.weight[:, :-1].T + self.weight[:, -1]
