"""What takes fragments in and hands batches out: the interfaces of every replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from agents.base import Batch
from paradigms.experience.layout import Fragment, Layout


class Source(Protocol):
    """Where batches come from: a replay, or what the learner has sent (see samples.py)."""

    @property
    def streams(self) -> int: ...

    def heads(self) -> np.ndarray: ...

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch: ...

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None: ...


class Replay(Source, Protocol):
    """What is remembered, and how it is handed out.

        pace.arrived(rank, replay.add(fragment))                # in the one process of this rank
        batch = replay.sample(256, generator)
        replay.update(batch.index, learned.priority)            # where the agent says how well

    `once`: it hands out each transition once, to the process that added it, and so sets the pace
    (see rollout.py); else it keeps transitions. `shared`: several processes may draw from
    everybody's transitions; else each draws from its own unless it is told otherwise.
    heads: how much each of the `streams` has ever held, [streams]. torn: draws that were repeated;
    duplicated: transitions refused because they had been there; late: priorities refused because
    their transitions were gone.
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

    @property
    def nbytes(self) -> int: ...

    def add(self, fragment: Fragment) -> int: ...

    def save(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...
