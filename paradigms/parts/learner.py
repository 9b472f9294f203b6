"""The part of a process that learns: draws a batch, lets the agent learn, keeps what is worth
telling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from agents.base import Agent, Batch, Learned
from agents.parts.draws import reseed
from paradigms.parts.replay import Uniform
from paradigms.parts.rows import Fragment


class Learner:
    """Makes numbered updates. What update `number` of `rank` draws depends on nothing else.

    `seen` is called with every batch before it is learned from, for tests.
    """

    def __init__(
        self,
        agent: Agent,
        replay: Uniform,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: Sequence[int] | None = None,
        seen: Callable[[Batch, int], None] | None = None,
    ) -> None:
        self.agent, self.replay, self.batch_size = agent, replay, batch_size
        self.seed, self.rank, self.ranks, self.seen = seed, rank, ranks, seen
        self.generator = torch.Generator()
        self.learned: Learned | None = None
        self.batch: Batch | None = None
        self.lags: list[int] = []

    def update(self, number: int, *, heads: np.ndarray | None = None) -> int:
        """One batch, one `learn`; returns the updates it made."""
        reseed(self.generator, self.seed, "sample", self.rank, number)
        reseed(self.agent.rng.learn, self.seed, "learn", self.rank, number)
        batch = self.replay.sample(self.batch_size, self.generator, heads=heads, ranks=self.ranks)
        if self.seen is not None:
            self.seen(batch, number)
        self.batch, self.learned = batch, self.agent.learn(batch)
        return self.learned.updates

    def arrived(self, fragment: Fragment, version: int) -> None:
        """Notes how many updates old the policy behind a fragment is."""
        self.lags.append(version - int(fragment.rows["version"][0, 0]))

    def metrics(self) -> dict[str, float]:
        """Scalars of the last update and of the fragments since the last call; reads tensors, so
        call it about once a second."""
        out: dict[str, float] = {}
        if self.learned is not None and self.batch is not None:
            out = {k: float(v.mean()) for k, v in self.learned.metrics.items()}
            streams = self.replay.streams
            newest = int(self.replay.heads().max())
            out["replay/age"] = newest - float(self.batch.index.double().mean()) / streams
            actor = self.agent.vector.flat(self.agent.parts["act"][0])
            out["policy/norm"] = float(torch.linalg.vector_norm(actor))
        if self.lags:
            out["lag/mean"], out["lag/max"] = float(np.mean(self.lags)), float(max(self.lags))
            self.lags = []
        return out
