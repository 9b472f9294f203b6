"""What takes fragments in and hands batches out: the interfaces of every replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from agents.base import Batch
from paradigms.experience.layout import Fragment, Layout


class Source(Protocol):
    """Where a learner's batches come from: a replay, or batches that another process has drawn
    (see batches.py).

        batch = source.sample(256, generator, heads=heads)
        source.update(batch.index, learned.priority)            # where the agent returns priorities

    No method blocks or waits for another process.
    """

    @property
    def streams(self) -> int:
        """How many sequences of experience are written independently of each other: one an env slot
        of each worker, or one a worker where whole fragments are kept."""

    def heads(self) -> np.ndarray:
        """The write positions, int64 [streams], a copy: how much each stream has ever been given,
        in transitions (or in fragments, where those are kept), which is also the serial number that
        the next will get. Any process may call it; what lies below a position is complete."""

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """A batch on the run's device, a copy that stays as it is.

        size: transitions, where the source draws. generator: all that the draws depend on, beside
        the write positions and the priorities. heads: the write positions that may be seen, int64
        [streams]; None for all that there is now. ranks: whose transitions; None for everybody's.

        Replays that keep transitions give columns [size, ...]: obs, action, version, extras, reward
        (n-step sum) float32, discount float32 (gamma^n, 0 where terminated), next_obs, terminated,
        truncated, weight float32 (in the loss), and index int64 (serial number x streams + stream).
        Replays whose transitions are consumed once give [T, N] (see rollout.py). Any process may
        call it where the replay is `shared`; else the one that draws from these ranks. Draws that a
        writer overtakes are repeated and counted in `torn`. Raises Empty if whole fragments are
        missing; there must be a transition where transitions are drawn.
        """

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        """Takes the new |TD errors| of a batch, float [size], by the batch's `index`, int64 [size].

        Called by the process that sampled the batch, before it samples again. Does nothing where
        draws have no priorities. Those of transitions forgotten meanwhile are dropped and counted
        in `late`. Raises NotFinite for a NaN, an infinity or a negative number.
        """


class Replay(Source, Protocol):
    """What a run remembers, in shared memory: pickled to every process, which then see the same.

        ledger.stored(rank, replay.add(fragment), version)      # in the one process of this rank
        batch = replay.sample(256, generator)

    Each rank has one writer, which nothing keeps waiting; readers see a fragment as soon as `heads`
    has moved. kind: the name of its YAML file. once: its transitions are consumed once, by the
    process that added them, and so set the pace of learning (see Once in loop/pace.py); otherwise
    they are kept. shared: several processes may draw from everybody's transitions.

    Counters over all processes: torn, draws repeated because a writer came round; duplicated,
    transitions that were added again and dropped; late, priorities dropped because their
    transitions were gone.
    """

    layout: Layout

    @property
    def kind(self) -> str: ...

    @property
    def once(self) -> bool: ...

    @property
    def shared(self) -> bool: ...

    @property
    def torn(self) -> int: ...

    @property
    def duplicated(self) -> int: ...

    @property
    def late(self) -> int: ...

    def add(self, fragment: Fragment) -> int:
        """Copies the fragment's valid transitions and returns how many.

        Called by the one process that writes `fragment.rank`, with `fragment.number` increasing. A
        fragment whose number has been added before is dropped and gives 0, so that a replaced
        worker may send its last one again. Raises Full where fragments wait and there is no space
        (see Once.may_collect, which prevents it).
        """

    def uncounted(self, rank: int, transitions: int, fragments: int) -> int:
        """How many transitions of `rank` are here beyond those that its writer has counted before
        it died: over the whole run, and fragments since the run began or was resumed."""

    def save(self) -> dict[str, Any]:
        """Everything that `load` needs, as arrays, tensors and lists of them, copied. Any process
        may call it while others write; what they overwrite meanwhile is left out."""

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `save` returned, before other processes start. The capacity may differ:
        the newest transitions that fit are kept. Raises ValueError for a state of other workers or
        num_envs."""
