"""Batches that the learner draws from the replay and workers learn from, in shared memory.

Needed where one process has to draw for several: prioritized replay under dupdate with more than
one worker, because the sum trees of priorities are private to the process that draws. With other
replays that keep transitions, paradigm.sample_from=learner chooses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.base import Batch
from agents.parts.draws import reseed
from paradigms.experience.uniform import Uniform
from paradigms.runtime.memory import Shared


class DrawnBatches:
    """For each worker a table of `batches` batches of `size` transitions, and their priorities.

        drawn.send(rank, 640, 16, heads=heads)    # the learner: calls 640 to 655 of `learn`
        source = drawn.received(rank)             # the worker; then source.sample and source.update
        drawn.apply_priorities(rank)              # the learner, when the task is done

    Nothing blocks: the tasks of dupdate (see loop/tasks.py) see to it that the learner and the
    worker never use a table at the same time. seed: of the draws. device: where batches are put.
    """

    def __init__(
        self, replay: Uniform, *, workers: int, batches: int, size: int, seed: int, device: str
    ) -> None:
        self.replay, self.batches, self.size, self.seed = replay, batches, size, seed
        self.device = device
        self._table = Shared((workers, batches * size * replay.layout.sampled.itemsize), np.uint8)
        self._priority = Shared((workers, batches, size), np.float32)
        self._updated = Shared(workers, np.int64)  # batches of the task that have priorities
        self._sent = Shared(1, np.int64)

    @property
    def bytes_moved(self) -> int:
        """Bytes of all batches that were sent."""
        return int(self._sent.array[0]) * self.size * int(self.replay.layout.sampled.itemsize)

    def table(self, rank: int) -> np.ndarray:
        """A view of worker `rank`'s batches, dtype `Layout.sampled`, [batches, size]."""
        transitions: np.ndarray = self._table.array[rank].view(self.replay.layout.sampled)
        return transitions.reshape(self.batches, self.size)

    def send(self, rank: int, first: int, learns: int, *, heads: np.ndarray) -> None:
        """Draws the batches of `learns` calls of `learn`, numbered from `first`, as a Learner of
        rank 0 draws them, and puts them into the worker's table. The learner's.

        heads: the write positions that may be seen, int64 [streams].
        """
        table, generator = self.table(rank), torch.Generator()
        for k in range(learns):
            reseed(generator, self.seed, "sample", 0, first + k)
            columns = self.replay.columns(self.size, generator, heads)
            for name in table.dtype.names or ():
                table[name][k] = columns[name]
        self._updated.array[rank] = 0
        self._sent.array[0] += learns

    def apply_priorities(self, rank: int) -> None:
        """Updates the replay with the worker's priorities, batch by batch. The learner's."""
        for k in range(int(self._updated.array[rank])):
            index = torch.from_numpy(self.table(rank)["index"][k].copy())
            self.replay.update(index, torch.from_numpy(self._priority.array[rank, k].copy()))

    def received(self, rank: int) -> ReceivedBatches:
        """The worker's side, at the first batch of its task."""
        return ReceivedBatches(self, rank)

    def batch(self, rank: int, k: int) -> Batch:
        """A copy of a worker's batch k, on its device."""
        transitions = self.table(rank)[k]
        columns = {
            name: np.ascontiguousarray(transitions[name]) for name in transitions.dtype.names or ()
        }
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in columns.items()})

    def keep_priorities(self, rank: int, k: int, priority: Tensor) -> None:
        """Keeps the priorities [size] of a worker's batch k for `apply_priorities`."""
        self._priority.array[rank, k] = priority.detach().cpu().numpy()
        self._updated.array[rank] = k + 1


class ReceivedBatches:
    """The batches that the learner has drawn for one worker: a Source that gives one after another.
    Call `rewind` at the start of a task."""

    def __init__(self, drawn: DrawnBatches, rank: int) -> None:
        self.drawn, self.rank = drawn, rank
        self.streams = drawn.replay.streams
        self._next = 0

    def rewind(self) -> None:
        """Goes back to the first batch of the table."""
        self._next = 0

    def heads(self) -> np.ndarray:
        return self.drawn.replay.heads()

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """The next batch of the task; the arguments were the learner's to choose."""
        self._next += 1
        return self.drawn.batch(self.rank, self._next - 1)

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Keeps the priorities of the batch sampled last for the learner."""
        self.drawn.keep_priorities(self.rank, self._next - 1, priority)
