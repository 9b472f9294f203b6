"""How parameters travel: whole versions of a part of the agent's vector, in shared memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.multiprocessing  # lets CUDA tensors be sent to a child

from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared

T = TypeVar("T")


class Weights:
    """The last few published versions of a part: one writer, any number of readers, no lock.

        weights.publish(agent.vector, version=updates)      # the learner
        version = weights.pull(agent.vector, "act")         # a worker

    A version is the number of updates behind it. The writer fills the oldest slot and then moves
    the serial number; a reader copies a slot, and copies again if the writer has come round to that
    slot meanwhile. Nobody ever blocks. x86 keeps stores in order, so that a reader who sees the new
    serial number sees the whole slot.

    keep: the largest `policy_lag` that a reader will ask for. spare: further slots, 2 at least.
    """

    def __init__(
        self, vector: Vector, part: str, *, version: int = 0, keep: int = 0, spare: int = 3
    ) -> None:
        self.part, self.size, self.slots = part, vector.size(part), keep + spare
        self._floats = Shared((self.slots, self.size), np.float32)
        self._counts = Shared((self.slots, len(vector.counts)), np.int64)
        self._versions = Shared(self.slots, np.int64)
        self._serial = Shared(2, np.int64)  # begun, finished
        self._torn = Shared(1, np.int64)  # a rare count that two readers may get wrong by one
        self.publish(vector, version)

    @property
    def version(self) -> int:
        """The newest version published, in updates."""
        return self._whole(lambda slot: None)[1]

    @property
    def torn(self) -> int:
        """Reads that were repeated, over all processes, because the writer came round."""
        return int(self._torn.array[0])

    @property
    def nbytes(self) -> int:
        """Bytes of one version."""
        return 4 * self.size

    @property
    def bytes_moved(self) -> int:
        """Bytes that all publications have copied."""
        return int(self._serial.array[1]) * self.nbytes

    def publish(self, vector: Vector, version: int) -> None:
        """Copies the part's floats and all counts into the oldest slot. For the writer alone."""
        serial = int(self._serial.array[1]) + 1
        self._serial.array[0] = serial
        slot = serial % self.slots
        self._floats.tensor[slot].copy_(vector.floats[: self.size])
        self._counts.array[slot] = vector.counts
        self._versions.array[slot] = version
        self._serial.array[1] = serial

    def pull(self, vector: Vector, part: str | None = None, *, policy_lag: int = 0) -> int:
        """Loads the newest version, or its prefix `part`, into `vector` and returns its number.

        Counts come along with the whole (part None). policy_lag: load the newest version that is
        at least so many updates old instead; the oldest one kept if none is that old.
        """
        size = self.size if part is None else vector.size(part)

        def load(slot: int) -> None:
            vector.floats[:size].copy_(self._floats.tensor[slot, :size])
            if part is None:
                vector.counts.copy_(self._counts.tensor[slot])

        return self._whole(load, policy_lag)[1]

    def snapshot(self, part: str, size: int) -> Snapshot:
        """Private copies of the newest version's prefix `floats[:size]` and of its counts."""

        def clone(slot: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self._floats.tensor[slot, :size].clone(), self._counts.tensor[slot].clone()

        (floats, counts), version = self._whole(clone)
        return Snapshot(part, floats, counts, version)

    def _whole(self, take: Callable[[int], T], policy_lag: int = 0) -> tuple[T, int]:
        """What `take` makes of a slot, and the slot's version; again if it was overwritten."""
        while True:
            serial = self._readable(policy_lag)
            slot = serial % self.slots
            taken = take(slot)
            version = int(self._versions.array[slot])
            if self._serial.array[0] - serial < self.slots:
                return taken, version
            self._torn.array[0] += 1

    def _readable(self, policy_lag: int) -> int:
        """The serial number of the newest version that is at least `policy_lag` updates old."""
        newest = serial = int(self._serial.array[1])
        oldest = max(1, newest - self.slots + 2)  # the slot before may be being written
        wanted = int(self._versions.array[newest % self.slots]) - policy_lag
        while serial > oldest and self._versions.array[serial % self.slots] > wanted:
            serial -= 1
        return serial
