"""The learner's samples: batches that one process draws and others learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.base import Batch
from agents.parts.draws import reseed
from paradigms.experience.uniform import Uniform
from paradigms.runtime.memory import Shared


class Samples:
    """A table in shared memory for each worker: `batches` batches of `size` transitions, and how
    much each of these transitions surprised.

        samples.send(rank, 640, 16, heads=heads)    # the learner: task of learns 640 to 655
        samples.of(rank).sample(...)                # the worker, once a learn
        samples.of(rank).update(index, priority)    # the worker, where the agent says
        samples.apply_priorities(rank)                     # the learner, when it is done

    Whoever hands out the tasks sees to it that a table has one user at a time. Only the learner
    ever draws, so that a replay with a sum tree in one process serves all workers.
    """

    def __init__(
        self, replay: Uniform, *, workers: int, batches: int, size: int, seed: int, device: str
    ) -> None:
        self.replay, self.batches, self.size, self.seed = replay, batches, size, seed
        self.device = device
        self._table = Shared((workers, batches * size * replay.layout.sampled.itemsize), np.uint8)
        self._priority = Shared((workers, batches, size), np.float32)
        self._heard = Shared(workers, np.int64)  # batches of the task that have a priority
        self._sent = Shared(1, np.int64)

    @property
    def bytes_moved(self) -> int:
        """Bytes of all batches that were sent."""
        return int(self._sent.array[0]) * self.size * int(self.replay.layout.sampled.itemsize)

    def table(self, rank: int) -> np.ndarray:
        """What the worker was sent: structured [batches, size]."""
        transitions: np.ndarray = self._table.array[rank].view(self.replay.layout.sampled)
        return transitions.reshape(self.batches, self.size)

    def send(self, rank: int, first: int, learns: int, *, heads: np.ndarray) -> None:
        """Draws, for learns numbered from `first`, what a worker that draws would (see Learner)."""
        table, generator = self.table(rank), torch.Generator()
        for k in range(learns):
            reseed(generator, self.seed, "sample", 0, first + k)
            columns = self.replay.columns(self.size, generator, heads)
            for name in table.dtype.names or ():
                table[name][k] = columns[name]
        self._sent.array[0] += learns

    def apply_priorities(self, rank: int) -> None:
        """Gives the replay the TD errors of the task's transitions, as their priorities."""
        for k in range(int(self._heard.array[rank])):
            index = torch.from_numpy(self.table(rank)["index"][k].copy())
            self.replay.update(index, torch.from_numpy(self._priority.array[rank, k].copy()))

    def of(self, rank: int) -> Sent:
        """The worker's side, at the first batch of its task."""
        return Sent(self, rank)

    def batch(self, rank: int, k: int) -> Batch:
        """A copy of a worker's batch k, on its device."""
        transitions = self.table(rank)[k]
        columns = {
            name: np.ascontiguousarray(transitions[name]) for name in transitions.dtype.names or ()
        }
        return Batch({k: torch.from_numpy(v).to(self.device) for k, v in columns.items()})

    def note(self, rank: int, k: int, priority: Tensor) -> None:
        """Keeps the priorities of a worker's batch k for the learner."""
        self._priority.array[rank, k] = priority.detach().cpu().numpy()
        self._heard.array[rank] = k + 1


class Sent:
    """What a worker learns from where it draws nothing itself: one batch after another."""

    def __init__(self, samples: Samples, rank: int) -> None:
        self.samples, self.rank = samples, rank
        self.streams = samples.replay.streams
        self.next = 0

    def rewind(self) -> None:
        """At a task's start."""
        self.next = 0

    def heads(self) -> np.ndarray:
        return self.samples.replay.heads()

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """The next batch of the task; how it was drawn was the learner's business."""
        self.next += 1
        return self.samples.batch(self.rank, self.next - 1)

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Notes the priorities of the batch sampled last."""
        self.samples.note(self.rank, self.next - 1, priority)
