"""One vector cut into shards, each changed by one server alone, and the mail to the servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.base import Agent
from agents.parts.vector import ALIGN, Vector
from paradigms.base import Snapshot
from paradigms.runtime.memory import Shared

APPLY, FOLLOW, SET, ADD, NOTHING = range(5)
KIND, NAME, SOURCE, NUMBER, FIRST, LENGTH, VERSIONS = range(7)
BEGUN, FINISHED, WHOSE = range(3)
DONE, APPLIED, COUNTED = range(3)


def names_of(agent: Agent) -> list[str]:
    """What a shard has a part of beside Adam's moments: groups and slow entries, by number."""
    return [*agent.groups, *agent.slow]


def cut(vector: Vector, name: str, shard: int, shards: int) -> slice:
    """Where a shard's part of a group, moment or slow entry lies in the vector, maybe nowhere.

    Cut at multiples of ALIGN, so that Adam gives the bits that it gives on the whole. Sums are
    pairs of rows (see Agent), which stay together in shard 0.
    """
    span = vector.span(name)
    if name in vector.agent.sums:
        return span if shard == 0 else slice(span.start, span.start)
    blocks = (span.stop - span.start) // ALIGN
    first, end = (span.start + ALIGN * (blocks * n // shards) for n in (shard, shard + 1))
    return slice(first, end)


class Shards:
    """The vector in shared memory. A shard's version counts what its server has done to it.

        shards.begin(s, rank); ...its server changes its part of `floats`, counts, steps...
        shards.finish(s)
        got = shards.read(s, vector, names)        # anywhere: None if it was being changed

    floats: float32 [n] as the agent's vector, CPU. counts: int64 [shards, groups], updates made of
    each group. steps: float32 [shards, groups], Adam's step counts, of which those of shard 0 stand
    in the vector, too. A read of one shard is whole; one of several may mix versions, which whoever
    reads counts in `torn`, a rare count that two at once may get wrong by one. Nothing blocks.
    """

    def __init__(self, vector: Vector, shards: int) -> None:
        agent = vector.agent
        self.shards = shards
        self._floats = Shared(len(vector.floats), np.float32)
        self._counts = Shared((shards, len(vector.counts)), np.int64)
        self._steps = Shared((shards, len(vector.counts)), np.float32)
        self._marks = Shared((shards, 8), np.int64)
        self._torn = Shared(1, np.int64)
        self.floats.copy_(vector.floats)
        self.counts[:] = vector.counts.numpy()
        self.steps[:] = torch.stack([group.step for group in agent.groups.values()]).cpu()

    @property
    def floats(self) -> Tensor:
        return self._floats.tensor

    @property
    def counts(self) -> np.ndarray:
        return self._counts.array

    @property
    def steps(self) -> Tensor:
        return self._steps.tensor

    @property
    def torn(self) -> int:
        """Pulls, over all processes, whose shards had made different numbers of updates."""
        return int(self._torn.array[0])

    def count_torn(self) -> None:
        self._torn.array[0] += 1

    def version(self, shard: int) -> int:
        return int(self._marks.array[shard, FINISHED])

    def begin(self, shard: int, rank: int) -> None:
        """Its server is about to change it, as worker `rank` has asked."""
        self._marks.array[shard, WHOSE] = rank
        self._marks.array[shard, BEGUN] += 1

    def open(self, shard: int) -> int | None:
        """Whose change was begun and is not whole; None if there is none."""
        begun, finished, rank = (int(mark) for mark in self._marks.array[shard, : WHOSE + 1])
        return None if begun == finished else rank

    def finish(self, shard: int) -> None:
        """The change is whole, and a new version."""
        self._marks.array[shard, FINISHED] += 1

    def read(
        self, shard: int, vector: Vector, names: Sequence[str]
    ) -> tuple[int, np.ndarray] | None:
        """Copies the shard's parts of these names into `vector`; returns its version and its counts
        of updates, int64 [groups]. None if it changed meanwhile: try again."""
        marks = self._marks.array[shard]
        version = int(marks[FINISHED])
        if marks[BEGUN] != version:
            return None
        for name in names:
            here = cut(vector, name, shard, self.shards)
            vector.floats[here].copy_(self.floats[here])
        counts = self.counts[shard].copy()
        return (version, counts) if marks[BEGUN] == version else None

    def snapshot(self, part: str, size: int) -> Snapshot:
        """What stands there at this moment, torn as it may be."""
        counts = torch.from_numpy(self.counts[0].copy())
        return Snapshot(part, self.floats[:size].clone(), counts, int(counts[0]))


class Message(NamedTuple):
    """kind: APPLY, FOLLOW, SET, ADD or NOTHING. name, source: numbers in `names_of`. number: the
    learning rates' factor of APPLY, tau of FOLLOW. first: of its `learn`, so that whoever takes it
    counts the `learn`. floats: float32 [n], for the whole of `name`: the gradient; or what is set,
    NaN where nothing is; or a sum [2, n] with what it was before, one after the other. versions: of
    APPLY, by shard, the updates of the group that the gradient was computed after."""

    kind: int
    name: int
    source: int
    number: float
    first: bool
    floats: Tensor
    versions: Sequence[int]


class Mail:
    """What workers send to the servers: of each worker a ring of `depth` messages, which every
    server takes in their order. Every cell has one writer; nothing blocks.

    A server that dies between two lines leaves notes of how far it has come with a message, so that
    the next one neither makes a step twice nor counts it twice:

        message = mail.peek(s, rank)
        ...it changes its shard... mail.note(s, rank, APPLIED)
        ...it counts...            mail.note(s, rank, COUNTED)
        mail.done(s, rank)
    """

    def __init__(self, vector: Vector, workers: int, shards: int, depth: int) -> None:
        spans = [vector.span(name) for name in names_of(vector.agent)]
        size = 2 * max(span.stop - span.start for span in spans)
        self.depth, self.shards = depth, shards
        self._floats = Shared((workers, depth, size), np.float32)
        self._notes = Shared((workers, depth, VERSIONS + shards), np.float64)
        self._sent = Shared((workers, 8), np.int64)  # messages, bytes, whether it has ended
        self._taken = Shared((shards, workers, 8), np.int64)

    @property
    def bytes_moved(self) -> int:
        """Bytes of all the messages sent."""
        return int(self._sent.array[:, 1].sum())

    def has_space(self, rank: int) -> bool:
        """Whether every server has taken the worker's oldest message of a full ring."""
        taken = self._taken.array[:, rank, 0].min()
        return bool(self._sent.array[rank, 0] - taken < self.depth)

    def all_done(self, rank: int) -> bool:
        """Whether every server has done all that the worker has sent."""
        return bool((self._taken.array[:, rank, 0] == self._sent.array[rank, 0]).all())

    def send(self, rank: int, message: Message) -> None:
        """Only while there is space. The worker's."""
        place, size = self._sent.array[rank, 0] % self.depth, len(message.floats)
        self._floats.tensor[rank, place, :size].copy_(message.floats)
        notes = self._notes.array[rank, place]
        notes[:VERSIONS] = *message[:5], size
        notes[VERSIONS:] = message.versions
        self._sent.array[rank, 1] += 4 * size
        self._sent.array[rank, 0] += 1

    def end(self, rank: int) -> None:
        """The worker sends nothing more."""
        self._sent.array[rank, 2] = 1

    def waiting(self, shard: int) -> list[int]:
        """The workers with messages that this server has not taken, in the order of rank."""
        left = self._sent.array[:, 0] > self._taken.array[shard, :, 0]
        return [int(rank) for rank in np.flatnonzero(left)]

    def over(self, shard: int) -> bool:
        """Whether there is nothing left for this server, and never will be."""
        return bool(self._sent.array[:, 2].all()) and not self.waiting(shard)

    def peek(self, shard: int, rank: int) -> Message:
        """The worker's oldest message for this server; its floats stay until `done`."""
        place = self._taken.array[shard, rank, 0] % self.depth
        notes = self._notes.array[rank, place]
        kind, name, source, size = (int(notes[n]) for n in (KIND, NAME, SOURCE, LENGTH))
        floats = self._floats.tensor[rank, place, :size]
        versions = [int(version) for version in notes[VERSIONS:]]
        number, first = float(notes[NUMBER]), bool(notes[FIRST])
        return Message(kind, name, source, number, first, floats, versions)

    def note(self, shard: int, rank: int, what: int) -> None:
        """The server has APPLIED or COUNTED the worker's oldest message, and is not yet done."""
        row = self._taken.array[shard, rank]
        row[what] = row[DONE] + 1

    def noted(self, shard: int, rank: int, what: int) -> bool:
        """Whether it has."""
        row = self._taken.array[shard, rank]
        return bool(row[what] > row[DONE])

    def done(self, shard: int, rank: int) -> None:
        """The server has done what the message says."""
        self._taken.array[shard, rank, DONE] += 1
