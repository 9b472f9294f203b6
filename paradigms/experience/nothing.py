"""The replay of a run that learns from no transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents.base import Batch, Spec
from paradigms.errors import Empty, Full
from paradigms.experience.layout import Fragment, Layout


class Nothing:
    """Holds nothing and takes no memory: for paradigms that keep no transitions, which put it in
    the place of the job's replay. Takes the keywords of every replay."""

    kind = "nothing"
    once = False
    shared = True
    streams = torn = duplicated = late = 0

    def __init__(
        self, spec: Spec, *, num_envs: int = 1, rollout_length: int = 1, **others: Any
    ) -> None:
        self.layout = Layout(spec, rollout_length, num_envs)

    def heads(self) -> np.ndarray:
        return np.zeros(0, np.int64)

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """Always raises Empty."""
        raise Empty("this run keeps no transitions, so there are none to learn from")

    def update(self, index: torch.Tensor, priority: torch.Tensor) -> None:
        """Does nothing."""

    def add(self, fragment: Fragment) -> int:
        """Always raises Full."""
        raise Full("this run keeps no transitions")

    def uncounted(self, rank: int, transitions: int, fragments: int) -> int:
        return 0

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Does nothing."""
