"""How an agent stands to a vector that several processes change at once: in place, or on a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from agents.base import Agent, Group, Optim
from paradigms.runtime.link import Link
from paradigms.weights.bound import Bound
from paradigms.weights.merge import exact, split


class Standing(Protocol):
    """The agent, its optim and the shared vector, put together.

    standing.fetch()            # before a fragment, and before a `learn` from anything else
    actor.collect(...)
    agent.learn(batch)          # its gradients leave through `optim`
    standing.give()             # after every `learn`

    It is built from the agent, what is shared, the optim that steps, a factory of the agent's twins
    and the role's link.
    """

    optim: Optim

    def fetch(self) -> None:
        """Brings what others have done since into the agent."""

    def give(self) -> None:
        """Shows others what `learn` has changed beside its steps, such as statistics."""


class InPlace:
    """The agent's tensors are views of the shared vector: it sees at once what others do, also in
    the middle of a fragment or between two lines of `learn`."""

    def __init__(
        self,
        agent: Agent,
        bound: Bound,
        optim: Optim,
        make_agent: Callable[[], Agent],
        link: Link | None = None,
    ) -> None:
        bound.bind(agent.vector)
        self.optim = optim

    def fetch(self) -> None:
        """Nothing is to be done."""

    def give(self) -> None:
        """Nothing is to be done."""


class Copied:
    """The agent acts and differentiates on a copy of its own, and is the Optim that takes gradients
    to the shared vector (Mnih et al. 2016, arXiv:1602.01783, algorithm S3: theta' is fetched before
    a rollout, and theta is moved by gradients with respect to theta').

    A step is made by `optim` on the shared values with the shared moments and counts, from the
    agent's gradient; then the agent's own group takes the values that came out, for the lines of
    `learn` that follow. Targets follow in the shared vector likewise. make_agent: builds the twin
    of the agent whose tensors are the shared ones.
    """

    def __init__(
        self,
        agent: Agent,
        bound: Bound,
        optim: Optim,
        make_agent: Callable[[], Agent],
        link: Link | None = None,
    ) -> None:
        self.agent, self.bound, self.inner = agent, bound, optim
        twin = make_agent()
        bound.bind(twin.vector)
        self.twins = [
            (mine, twin.groups[name]) for name, mine in agent.groups.items()
        ]  # of each group
        vector = agent.vector
        size = min(vector.span(f"{name}.m").start for name in agent.groups)  # moments come last
        self.own, self.shared = vector.floats[:size], bound.floats[:size]
        self.known = self.own.clone()  # what the agent had when it last agreed with the shared one

    @property
    def optim(self) -> Optim:
        return self

    @property
    def lr_factor(self) -> float:
        return self.inner.lr_factor

    @lr_factor.setter
    def lr_factor(self, value: float) -> None:
        self.inner.lr_factor = value

    def apply(self, group: Group) -> None:
        twin = next(shared for mine, shared in self.twins if mine is group)
        twin.grad, twin.grads = group.grad, group.grads
        self.inner.apply(twin)
        group.flat.copy_(twin.flat)
        group.count[:] = twin.count
        group.skipped, group.in_a_row = twin.skipped, twin.in_a_row
        self._agreed(group.flat)

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        self.inner.follow(self.shared[_place(target)], self.shared[_place(source)], tau)
        target.copy_(self.shared[_place(target)])
        self._agreed(target)

    def fetch(self) -> None:
        self.own.copy_(self.shared)
        self.agent.vector.counts.copy_(self.bound.counts)
        self.known.copy_(self.own)

    def give(self) -> None:
        """What `learn` has set is set in the shared vector, and sums grow by what it added."""
        changed = self.own != self.known
        if not changed.any():
            return
        for name in self.agent.sums:
            (pair,) = self.agent.slow[name]
            start = self.agent.vector.span(name).start
            span = slice(start, start + pair.numel())
            changed[span] = False
            own, known, shared = self.own[span], self.known[span], self.shared[span]
            alone = bool((shared == known).all())
            shared.copy_(own if alone else split(exact(shared) + exact(own) - exact(known)))
        self.shared[changed] = self.own[changed]
        self.known.copy_(self.own)

    def _agreed(self, part: Tensor) -> None:
        self.known[_place(part)] = part


def _place(part: Tensor) -> slice:
    """Where a view of the agent's vector lies in it."""
    return slice(part.storage_offset(), part.storage_offset() + len(part))
