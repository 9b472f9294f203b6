"""The part of a process that learns: draws a batch, lets the agent learn, keeps its metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from agents.base import Agent, Batch, Learned
from agents.parts.draws import reseed
from paradigms.errors import GradientNotFinite
from paradigms.experience.replay import Source

MOST_IN_A_ROW = 10  # steps of a group that are left out, before the run ends


class Learner:
    """Learns by number: what call `number` of `rank` draws depends on nothing else.

    skipped: called with the number of steps that were left out in an update, because a loss or a
    gradient was not finite. mended: whether somebody gives the agent whole weights again where its
    own are not finite; then only steps from whole weights end the run. `seen` is called with every
    batch before it is learned from, for tests.
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
        lr_schedule: Callable[[float], float] = lambda progress: 1.0,
        skipped: Callable[[int], None] = lambda n: None,
        seen: Callable[[Batch, int], None] | None = None,
    ) -> None:
        self.agent, self.replay, self.batch_size = agent, replay, batch_size
        self.seed, self.rank, self.ranks, self.seen = seed, rank, ranks, seen
        self.lr_schedule, self.skipped, self.left_out = lr_schedule, skipped, 0
        self.mended = False
        self.generator = torch.Generator()
        self.learned: Learned | None = None
        self.batch: Batch | None = None

    def reached(self, progress: float) -> None:
        """Tells the agent's schedules, and the learning rate's, which share of the env-step budget
        is done, in [0, 1]."""
        self.agent.progress = progress
        self.agent.optim.lr_factor = self.lr_schedule(progress)

    def update(self, number: int, *, heads: np.ndarray | None = None) -> int:
        """One batch, one `learn`; returns the updates it made, which may be many.

        heads: int64 [streams], what the replay may show (default: all that is there). Writes the
        batch's priorities back where the agent gives some. Raises Empty if the replay does not
        hold a sample, GradientNotFinite where steps of one group were left out so often in a row
        (MOST_IN_A_ROW).
        """
        reseed(self.generator, self.seed, "sample", self.rank, number)
        reseed(self.agent.rng.learn, self.seed, "learn", self.rank, number)
        batch = self.replay.sample(self.batch_size, self.generator, heads=heads, ranks=self.ranks)
        if self.seen is not None:
            self.seen(batch, number)
        learned = self.agent.learn(batch)
        self.batch, self.learned = batch, learned
        whole = self._count_left_out()
        if learned.priority is not None and whole:
            self.replay.update(batch.index, learned.priority)
        return learned.updates

    def _count_left_out(self) -> bool:
        """Whether all steps of the last `learn` were made."""
        groups = self.agent.groups
        before, self.left_out = self.left_out, sum(g.skipped for g in groups.values())
        if self.left_out == before:
            return True
        self.skipped(self.left_out - before)
        for name, group in groups.items():
            if group.in_a_row >= MOST_IN_A_ROW and not (self.mended and self._broken()):
                raise GradientNotFinite(
                    f"{group.in_a_row} steps in a row had a loss or a gradient that is not finite"
                    f" ({name}), so training has diverged; lower agent.lr, or the agent's other"
                    " learning rates"
                )
        return False

    def _broken(self) -> bool:
        return not bool(torch.isfinite(self.agent.vector.floats).all())

    def metrics(self) -> dict[str, float]:
        """Scalars of the last update by TensorBoard name; empty before the first. Reads tensors, so
        call it about once a second."""
        if self.learned is None or self.batch is None:
            return {}
        out = {k: float(v.mean()) for k, v in self.learned.metrics.items()}
        if "index" in self.batch:  # transitions that are consumed once do not grow old
            newest = int(self.replay.heads().max())
            mean = float(self.batch.index.double().mean())
            out["replay/age"] = newest - mean / self.replay.streams
        actor = self.agent.vector.flat(self.agent.parts["act"][0])
        out["policy/norm"] = float(torch.linalg.vector_norm(actor))
        return out
