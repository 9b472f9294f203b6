"""The part of a process that learns: draws a batch, lets the agent learn, keeps what is worth
telling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from agents.base import Agent, Batch, Learned
from agents.parts.draws import reseed
from paradigms.experience.layout import Fragment
from paradigms.experience.replay import Source


class Learner:
    """Learns by number. What learn `number` of `rank` draws depends on nothing else.

    `seen` is called with every batch before it is learned from, for tests.
    """

    def __init__(
        self,
        agent: Agent,
        replay: Source,
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
        """One batch, one `learn`; returns the updates it made, which may be many."""
        reseed(self.generator, self.seed, "sample", self.rank, number)
        reseed(self.agent.rng.learn, self.seed, "learn", self.rank, number)
        batch = self.replay.sample(self.batch_size, self.generator, heads=heads, ranks=self.ranks)
        if self.seen is not None:
            self.seen(batch, number)
        learned = self.agent.learn(batch)
        self.batch, self.learned = batch, learned
        if learned.priority is not None:
            self.replay.update(batch.index, learned.priority)
        return learned.updates

    def arrived(self, fragment: Fragment, version: int) -> None:
        """Notes how many updates old the policy behind a fragment is."""
        self.lags.append(version - int(fragment.transitions["version"][0, 0]))

    def metrics(self) -> dict[str, float]:
        """Scalars of the last update and of the fragments since the last call; reads tensors, so
        call it about once a second."""
        out: dict[str, float] = {}
        if self.learned is not None and self.batch is not None:
            out = {k: float(v.mean()) for k, v in self.learned.metrics.items()}
            if "index" in self.batch:  # transitions that are handed out once do not grow old
                newest = int(self.replay.heads().max())
                mean = float(self.batch.index.double().mean())
                out["replay/age"] = newest - mean / self.replay.streams
            actor = self.agent.vector.flat(self.agent.parts["act"][0])
            out["policy/norm"] = float(torch.linalg.vector_norm(actor))
        if self.lags:
            out["policy_lag/mean"], out["policy_lag/max"] = (
                float(np.mean(self.lags)),
                float(max(self.lags)),
            )
            self.lags = []
        return out
