"""One vector in shared memory on which several processes compute at once: Hogwild."""

from __future__ import annotations

import numpy as np
import torch
import torch.multiprocessing  # lets CUDA tensors be sent to a child

from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared


class Bound:
    """One vector that several processes compute on at the same time (Niu et al. 2011, Hogwild!,
    arXiv:1106.5730): `bind` makes an agent's tensors views of it. There is no whole version."""

    def __init__(self, vector: Vector) -> None:
        self.device = vector.floats.device
        if self.device.type == "cpu":
            self._floats = Shared(len(vector.floats), np.float32)
            self._counts = Shared(len(vector.counts), np.int64)
            self.floats, self.counts = self._floats.tensor, self._counts.tensor
        else:  # shared between processes by CUDA IPC: the owner has to outlive its users
            self.floats = torch.empty_like(vector.floats)
            self.counts = torch.zeros_like(vector.counts)
            self.counts.share_memory_()  # type: ignore[no-untyped-call]
        self.floats.copy_(vector.floats)
        self.counts.copy_(vector.counts)

    def bind(self, vector: Vector) -> None:
        vector.bind(self.floats, self.counts)

    def snapshot(self, part: str, size: int) -> Snapshot:
        """What stands there at this moment, torn as it may be."""
        counts = self.counts.clone()
        return Snapshot(part, self.floats[:size].detach().cpu().clone(), counts, int(counts[0]))

    def pull(self, vector: Vector) -> int:
        """Always raises: bound weights are never whole."""
        raise RuntimeError(
            "bound weights have no whole version to pull; use bind, or paradigm=dcollect or dupdate"
        )
