"""Heads of policies (parts/policies.py) for choices: one of A, or several choices at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.base import Batch, Key


class Categorical:
    """One of A choices; x [..., A] are its logits."""

    def __init__(self, choices: int) -> None:
        self.size = choices
        self.extras = {"logp": Key()}
        self.tensors: list[Tensor] = []

    def greedy(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.argmax(-1))

    def mode(self, x: Tensor) -> Tensor:
        return x.argmax(-1)

    def draw(
        self, x: np.ndarray, generator: torch.Generator
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The first of exponential clocks with rates exp(logits) to ring (the Gumbel-max trick)."""
        clocks = torch.empty(x.shape).exponential_(generator=generator).numpy()
        action = (x - np.log(clocks)).argmax(-1)
        top = x.max(-1)
        total = top + np.log(np.exp(x - top[:, None]).sum(-1))
        return action, {"logp": x[np.arange(len(x)), action] - total}

    def logp(self, x: Tensor, batch: Batch) -> Tensor:
        chosen = x.gather(-1, batch.action.long().unsqueeze(-1)).squeeze(-1)
        return chosen - x.logsumexp(-1)

    def entropy(self, x: Tensor) -> Tensor:
        logp = x.log_softmax(-1)
        return -(logp.exp() * logp).sum(-1)

    def limit(self, log_std: float) -> None:
        pass


class Categoricals:
    """K choices at once, of A_1 ... A_K each and independent of one another given x [..., A_1 + ...
    + A_K], their logits end to end; actions are int64 [..., K] (MultiDiscrete). `logp` and the
    entropy are sums over the K (Tavakoli et al. 2018, arXiv:1711.08946, branch actions alike).
    """

    def __init__(self, choices: Sequence[int]) -> None:
        self.heads = [Categorical(count) for count in choices]
        self.size = sum(choices)
        self.ends = [*accumulate(choices)]
        self.extras = {"logp": Key()}
        self.tensors: list[Tensor] = []

    def greedy(self, x: np.ndarray) -> np.ndarray:
        return np.stack([head.greedy(part) for head, part in self._parts(x)], -1)

    def mode(self, x: Tensor) -> Tensor:
        return torch.stack([head.mode(part) for head, part in self._parts(x)], -1)

    def draw(
        self, x: np.ndarray, generator: torch.Generator
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        drawn = [head.draw(part, generator) for head, part in self._parts(x)]
        logp = np.stack([extras["logp"] for _, extras in drawn]).sum(0)
        return np.stack([action for action, _ in drawn], -1), {"logp": logp}

    def logp(self, x: Tensor, batch: Batch) -> Tensor:
        chosen = zip(self._parts(x), batch.action.unbind(-1), strict=True)
        terms = [head.logp(part, Batch(action=action)) for (head, part), action in chosen]
        return torch.stack(terms, -1).sum(-1)

    def entropy(self, x: Tensor) -> Tensor:
        return torch.stack([head.entropy(part) for head, part in self._parts(x)], -1).sum(-1)

    def limit(self, log_std: float) -> None:
        pass

    def _parts(self, x: Any) -> list[tuple[Categorical, Any]]:
        """Each choice's head and its logits, of an array or a tensor."""
        ends = zip(self.heads, self.ends, strict=True)
        return [(head, x[..., end - head.size : end]) for head, end in ends]
