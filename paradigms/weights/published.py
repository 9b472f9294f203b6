"""How parameters travel: whole versions of a part of the agent's vector, in shared memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.multiprocessing  # lets CUDA tensors be sent to a child

from agents.base import Agent
from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared

T = TypeVar("T")


class Weights:
    """The last few published versions of a part, one writer, any number of readers, no lock.

    A version is the number of updates behind it. The writer fills the oldest slot and then moves
    the serial number; a reader copies the newest slot and copies again if the writer came round
    meanwhile. `policy_lag` lets readers see the version published `policy_lag` publications ago.

        weights.publish(agent.vector, version=updates)      # the learner
        version = weights.pull(agent.vector)                # a worker
    """

    def __init__(
        self, vector: Vector, part: str, *, version: int = 0, policy_lag: int = 0, spare: int = 3
    ) -> None:
        self.part, self.size, self.policy_lag, self.slots = (
            part,
            vector.size(part),
            policy_lag,
            policy_lag + spare,
        )
        self._floats = Shared((self.slots, self.size), np.float32)
        self._counts = Shared((self.slots, len(vector.counts)), np.int64)
        self._versions = Shared(self.slots, np.int64)
        self._serial = Shared(2, np.int64)  # begun, finished
        self.torn = 0
        self.publish(vector, version)

    @property
    def version(self) -> int:
        """The newest version published."""
        return int(self._versions.array[int(self._serial.array[1]) % self.slots])

    def publish(self, vector: Vector, version: int) -> None:
        """A plain snapshot into the oldest slot."""
        serial = int(self._serial.array[1]) + 1
        self._serial.array[0] = serial
        slot = serial % self.slots
        self._floats.tensor[slot].copy_(vector.floats[: self.size])
        self._counts.array[slot] = vector.counts
        self._versions.array[slot] = version
        self._serial.array[1] = serial

    @property
    def nbytes(self) -> int:
        """Bytes of one version."""
        return 4 * self.size

    @property
    def bytes_moved(self) -> int:
        """What all publications have copied."""
        return int(self._serial.array[1]) * 4 * self.size

    def pull(self, vector: Vector, part: str | None = None) -> int:
        """Loads the newest whole version (its prefix `part`) and returns its number."""
        size = self.size if part is None else vector.size(part)

        def load(slot: int) -> None:
            vector.floats[:size].copy_(self._floats.tensor[slot, :size])
            if part is None:
                vector.counts.copy_(self._counts.tensor[slot])

        return self._newest(load)[1]

    def snapshot(self, part: str, size: int) -> Snapshot:
        """A private snapshot of the newest whole version's prefix; `size` is vector.size(part)."""

        def clone(slot: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self._floats.tensor[slot, :size].clone(), self._counts.tensor[slot].clone()

        (floats, counts), version = self._newest(clone)
        return Snapshot(part, floats, counts, version)

    def _newest(self, take: Callable[[int], T]) -> tuple[T, int]:
        """What `take` makes of the newest slot, and its version; again if it was overwritten."""
        while True:
            serial = self._readable()
            slot = serial % self.slots
            taken = take(slot)
            version = int(self._versions.array[slot])
            if self._whole(serial):
                return taken, version

    def _readable(self) -> int:
        return max(1, int(self._serial.array[1]) - self.policy_lag)

    def _whole(self, serial: int) -> bool:
        whole = bool(self._serial.array[0] - serial < self.slots)
        self.torn += not whole
        return whole


def load(agent: Agent, snapshot: Snapshot) -> None:
    """Gives an agent the weights of a snapshot."""
    counts = snapshot.counts if snapshot.part == "all" else None
    agent.vector.load(snapshot.part, snapshot.floats, counts)
