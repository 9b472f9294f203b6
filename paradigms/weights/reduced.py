"""Gradients averaged over replicas at every optimiser step: synchronous data parallelism."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from agents.base import Agent, Group
from agents.parts.vector import Vector
from paradigms.errors import Stopped
from paradigms.runtime.memory import Shared
from paradigms.weights.merge import exact, split

DONE = -1  # in the place of a group's number: this replica makes no further step in this `learn`
MOVE, WEIGHT = range(2)


class Rows:
    """What replicas tell each other at a meeting, a row a replica, in shared memory.

    Each writes its row (`put`), waits until everybody has (`whole`), and reads all of them. The
    rows of two meetings are kept in turn: nobody comes to the next but one before all have left
    this one, so that what is read is not overwritten. x86 keeps stores in order, so that who sees
    a replica's count of meetings sees its whole row. No method blocks.
    """

    def __init__(self, vector: Vector, replicas: int) -> None:
        self.replicas = replicas
        self._floats = Shared((2, replicas, len(vector.floats)), np.float32)
        self._counts = Shared((2, replicas, len(vector.counts)), np.int64)
        self._notes = Shared((2, replicas, 8), np.float64)  # a cache line a row
        self._met = Shared((replicas, 8), np.int64)
        self._moved = Shared((replicas, 8), np.int64)

    @property
    def bytes_moved(self) -> int:
        """Bytes of all the rows written."""
        return int(self._moved.array[:, 0].sum())

    def begin(self) -> None:
        """Forgets all meetings, so that the next is number 0. While nobody else does anything."""
        self._met.array[:] = 0

    def put(self, meeting: int, rank: int, move: int, weight: float, floats: Tensor) -> None:
        """Writes a replica's row of this meeting: float32 [n], at most the vector's length."""
        at = meeting % 2
        self._floats.tensor[at, rank, : len(floats)].copy_(floats)
        self._notes.array[at, rank, MOVE], self._notes.array[at, rank, WEIGHT] = move, weight
        self._moved.array[rank, 0] += 4 * len(floats)
        self._met.array[rank, 0] = meeting + 1

    def whole(self, meeting: int) -> bool:
        """Whether every replica's row of this meeting is there."""
        return bool((self._met.array[:, 0] > meeting).all())

    def moves(self, meeting: int) -> list[int]:
        """What each replica brought: the number of a group, or DONE."""
        return [int(move) for move in self._notes.array[meeting % 2, :, MOVE]]

    def weights(self, meeting: int) -> list[float]:
        return [float(weight) for weight in self._notes.array[meeting % 2, :, WEIGHT]]

    def floats(self, meeting: int, rank: int, size: int) -> Tensor:
        """A view of a replica's row, float32 [size] on the CPU."""
        return self._floats.tensor[meeting % 2, rank, :size]

    def counts(self, meeting: int, rank: int) -> Tensor:
        """A view of a replica's counts of updates, int64 [groups]."""
        return self._counts.tensor[meeting % 2, rank]


class Together:
    """An Optim under which replicas of one agent stay alike in every bit, whoever learns from what.

        agent.optim = together = Together(agent, rows, rank, weight=..., wait=...)
        agent.learn(batch)
        together.finish()                  # every replica, also one that made no step

    `apply` averages the gradients of all replicas, by their weights and in the order of rank, which
    gives the same bits everywhere, and steps with the optim that the agent had (it clips the mean,
    not the parts). The batches of two replicas side by side then give the gradient of one batch,
    where the loss is a mean over transitions.

    Replicas may make different steps, because one stops early or has nothing to learn from. At each
    meeting the first that is not done says which group steps; those which brought that group's
    gradient contribute, and all that are not done make the step. Who is done meets the others until
    all are, and then takes over the whole vector of the one that led the last step: what `learn`
    does after its steps comes after everybody's.

    Slow tensors that follow no group are joined in `finish`: of sums, what each replica added is
    added up; of others the mean is taken.

    weight: called at each step, how many transitions this replica's gradient is the mean of; with 0
    it does not count. wait: blocks until what it is given is true; False if it never will be, and
    then `apply` and `finish` raise Stopped.
    """

    def __init__(
        self,
        agent: Agent,
        rows: Rows,
        rank: int,
        *,
        weight: Callable[[], float],
        wait: Callable[[Callable[[], object]], bool],
    ) -> None:
        self.agent, self.optim, self.rows, self.rank = agent, agent.optim, rows, rank
        self.weight, self.wait = weight, wait
        self._groups = list(agent.groups.values())
        slow = [name for name in agent.slow if name not in agent.follows]
        self._spans = {name: agent.vector.span(name) for name in slow}
        self.begin()

    def begin(self) -> None:
        """The next meeting is number 0; replicas are alike."""
        self.meeting = 0
        self._before = self._slow()  # when this `learn` began, the same everywhere
        self._lead = 0  # who led the last step of this `learn`
        self._uneven = False  # somebody was done before it

    @property
    def lr_factor(self) -> float:
        return self.optim.lr_factor

    @lr_factor.setter
    def lr_factor(self, value: float) -> None:
        self.optim.lr_factor = value

    def apply(self, group: Group) -> None:
        """Waits for all other replicas."""
        own = next(n for n, one in enumerate(self._groups) if one is group)
        while self._step(own) != own:
            pass

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        self.optim.follow(target, source, tau)

    def finish(self) -> None:
        """The end of a `learn`: waits for all other replicas, and makes this one like them."""
        slow = self._slow()
        while any(move != DONE for move in self._meet(DONE, slow)):
            self.meeting += 1
        self._before = self._joined(slow)
        self.meeting += 1
        if self._uneven:
            self._take_over()
        for span, part in self._parts(self._before):
            self.agent.vector.floats[span] = part
        self._uneven = False

    def _step(self, own: int) -> int:
        """One step of the group that the first replica which is not done has brought; returns its
        number."""
        moves = self._meet(own, self._groups[own].grad)
        chosen = moves[self._lead]
        group = self._groups[chosen]
        kept = None if chosen == own else group.grad.clone()  # it waits for its turn
        self._average(group.grad, [rank for rank, move in enumerate(moves) if move == chosen])
        self.meeting += 1
        self.optim.apply(group)
        if kept is not None:
            group.grad.copy_(kept)
        return chosen

    def _average(self, grad: Tensor, ranks: list[int]) -> None:
        """The mean of these replicas' gradients by their weights, into `grad`."""
        weights = self.rows.weights(self.meeting)
        ranks = [rank for rank in ranks if weights[rank]]
        total = sum(weights[rank] for rank in ranks)
        grad.zero_()
        for n, rank in enumerate(ranks):
            row = self.rows.floats(self.meeting, rank, len(grad)).to(grad.device)
            if n:
                grad.add_(row, alpha=weights[rank] / total)
            else:  # not added to 0, which would lose the sign of a zero
                torch.mul(row, weights[rank] / total, out=grad)

    def _take_over(self) -> None:
        """Everybody takes over the vector of the replica that led the last step."""
        vector, lead = self.agent.vector, self._lead
        self.rows.counts(self.meeting, self.rank).copy_(vector.counts)
        self._meet(DONE, vector.floats if self.rank == lead else vector.floats[:0])
        vector.floats.copy_(self.rows.floats(self.meeting, lead, len(vector.floats)))
        vector.counts.copy_(self.rows.counts(self.meeting, lead))
        self.meeting += 1

    def _meet(self, move: int, floats: Tensor) -> list[int]:
        """Brings a row, waits for the others', and returns what all have brought. The rows may be
        read until `meeting` goes on."""
        meeting = self.meeting
        self.rows.put(meeting, self.rank, move, self.weight(), floats)
        if not self.wait(lambda: self.rows.whole(meeting)):
            raise Stopped
        moves = self.rows.moves(meeting)
        if leads := [rank for rank, move in enumerate(moves) if move != DONE]:
            self._lead, self._uneven = leads[0], len(leads) < len(moves)
        return moves

    def _slow(self) -> Tensor:
        """The slow tensors that follow no group, one after another."""
        floats: Tensor = self.agent.vector.floats
        return torch.cat([floats[:0], *(floats[span] for span in self._spans.values())])

    def _parts(self, slow: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Where each of them lies in the vector, and its part of `slow`."""
        spans = list(self._spans.values())
        sizes = [span.stop - span.start for span in spans]
        return zip(spans, torch.split(slow, sizes), strict=True)

    def _joined(self, own: Tensor) -> Tensor:
        """The slow tensors of all replicas as one, from what all had before."""
        size, device, replicas = len(own), own.device, self.rows.replicas
        if replicas == 1 or not size:
            return own
        rows = [self.rows.floats(self.meeting, r, size).to(device) for r in range(replicas)]
        joined = self._before + sum(row - self._before for row in rows) / replicas
        at = 0
        for name, span in self._spans.items():
            if name in self.agent.sums:
                (pair,) = self.agent.slow[name]
                here = slice(at, at + pair.numel())
                before = exact(self._before[here])
                joined[here] = split(before + sum(exact(row[here]) - before for row in rows))
            at += span.stop - span.start
        return joined
