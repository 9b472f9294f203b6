"""Gorila with faults on purpose: gradients a thousand times too large, and a worker that is late.

    python train.py paradigm=gorila paradigm._target_=benchmarks.faults.FaultyGorila ...

Is it the rejection of stale and outlying gradients that lets the run go on? The study `faults`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from agents.base import Group
from paradigms.gorila import Gorila, Worker
from paradigms.weights.remote import Remote

FACTOR, SHARE = 1000.0, 0.01  # of a faulty gradient; of gradients that are faulty
LATE = 50  # updates that have been made when worker 0 pulls again


class FaultyRemote(Remote):
    """Multiplies one gradient in a hundred by 1,000; worker 0 pulls after 50 updates only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.draws = torch.Generator().manual_seed(self.rank)

    def apply(self, group: Group) -> None:
        if float(torch.rand((), generator=self.draws)) < SHARE:
            group.grad.mul_(FACTOR)
        super().apply(group)

    def pull_if_due(self) -> None:
        if self.rank or not self.version or int(self.shards.counts[0, 0]) - self.version >= LATE:
            super().pull_if_due()


class FaultyWorker(Worker):
    remote = FaultyRemote


@dataclass(frozen=True)
class FaultyGorila(Gorila):
    """As Gorila, with these faults."""

    def worker(self) -> type[Worker]:
        return FaultyWorker
