"""One flat float32 vector that holds everything `learn` changes; the agent's tensors are views of
it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from agents.base import Agent, at_least, within

ALIGN = 16  # elements; shards and fused Adam give the same bits only when cut at multiples of 16


class Vector:
    """Lays an agent out: what `act` reads first, then what `evaluate` adds, the other groups and
    slow tensors, then Adam's moments and step counts. So every part is a prefix.

    floats: float32 [n] on the agent's device. counts: int64 [groups], updates made of each group.
    Raises ValueError for a gamma, n_step or rate in `follows` out of range.
    """

    def __init__(self, agent: Agent) -> None:
        within(0, 1, gamma=agent.gamma)
        at_least(1, n_step=agent.n_step)
        within(0, 1, "agent.follows", **{name: rate for name, (_, rate) in agent.follows.items()})
        self.agent = agent
        acting, evaluating = agent.parts["act"], agent.parts["evaluate"]
        sources = {**{name: g.tensors for name, g in agent.groups.items()}, **agent.slow}
        names = [*acting, *(n for n in evaluating if n not in acting)]
        names += [n for n in sources if n not in names]
        self._spans: dict[str, slice] = {}
        self._places: list[tuple[Tensor, int]] = []
        size = 0
        for name in names:
            start = size
            for tensor in sources[name]:
                self._places.append((tensor, size))
                size += _padded(tensor.numel())
            self._spans[name] = slice(start, size)
        ends = {
            part: max(self._spans[n].stop for n in names) for part, names in agent.parts.items()
        }
        self._sizes = dict(ends)
        for name in agent.groups:
            span = self._spans[name]
            for moment in ("m", "v"):
                self._spans[f"{name}.{moment}"] = slice(size, size + span.stop - span.start)
                size += span.stop - span.start
            self._spans[f"{name}.step"] = slice(size, size + 1)
            size += ALIGN
        self._sizes["all"] = size
        self.floats = torch.zeros(size, device=agent.device)
        self.counts = torch.zeros(len(agent.groups), dtype=torch.int64)
        for tensor, at in self._places:
            self.floats[at : at + tensor.numel()].copy_(tensor.detach().reshape(-1))
        for group in agent.groups.values():
            group.grad = torch.zeros(sum(_padded(t.numel()) for t in group.tensors)).to(
                agent.device
            )
            group.grads = list(_views(group.grad, group.tensors))
        agent.vector = self
        self.bind(self.floats, self.counts)

    def flat(self, name: str) -> Tensor:
        """The values of a group or slow entry, or `group.m`, `group.v`, `group.step`: a view."""
        return self.floats[self._spans[name]]

    def span(self, name: str) -> slice:
        """Where a group, slow entry or moment lies in `floats`."""
        return self._spans[name]

    def size(self, part: str) -> int:
        """How many floats the part takes: it is `floats[:size]`."""
        return int(self._sizes[part])

    def bind(self, floats: Tensor, counts: Tensor) -> None:
        """Makes the agent's tensors views of other storage, whose values they take on. Raises
        ValueError if it has another length."""
        if floats.shape != (self._sizes["all"],):
            raise ValueError(
                f"the vector has {self._sizes['all']} floats, not {tuple(floats.shape)}"
            )
        self.floats, self.counts = floats, counts
        for tensor, at in self._places:
            tensor.data = floats[at : at + tensor.numel()].view(tensor.shape)
        for index, (name, group) in enumerate(self.agent.groups.items()):
            group.flat, group.m, group.v = (self.flat(f"{name}{s}") for s in ("", ".m", ".v"))
            group.step = self.flat(f"{name}.step")[0]
            group.count = counts.numpy()[index : index + 1]
        self.agent.storage_moved()

    def load(self, part: str, floats: Tensor, counts: Tensor | None = None) -> None:
        """Copies a part's values [size(part)] into the vector, and all counts if they are given."""
        self.floats[: self.size(part)].copy_(floats)
        if counts is not None:
            self.counts.copy_(counts)


def _views(flat: Tensor, like: list[Tensor]) -> Iterable[Tensor]:
    at = 0
    for tensor in like:
        yield flat[at : at + tensor.numel()].view(tensor.shape)
        at += _padded(tensor.numel())


def _padded(n: int) -> int:
    return -(-n // ALIGN) * ALIGN
