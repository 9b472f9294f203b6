"""How a worker's weights join the learner's: rules on flat vectors, all written c + a (x - c).

c is the learner's vector, b the base that the worker started from, w what it came back with. The
analysis of speed and stability by number of workers N stands in benchmarks/README.md.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from agents.parts.vector import Vector


class Rule(Protocol):
    """Moves the learner's vector, elastic also the worker's. `alone`: nobody merged since b."""

    keeps_own: bool

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, alone: bool) -> None: ...


class Damped:
    """c + (1 - damping) (w - c), the source documents' 0.8 c + 0.2 w.

    First moments point to a place that was mostly undone: they are zeroed.
    """

    keeps_own = False

    def __init__(self, damping: float = 0.8) -> None:
        if not 0 <= damping <= 1:
            raise ValueError(f"paradigm.damping={damping} must lie in [0, 1]")
        self.a = 1 - damping

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, alone: bool) -> None:
        _move(c, b, w, a=self.a, target=w, alone=alone, keep_m=False)


class Delta:
    """c + a (w - b): what the worker learned, on top of what others did meanwhile. First moments
    keep their meaning and are averaged in."""

    keeps_own = False

    def __init__(self, scale: float) -> None:
        self.a = scale

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, alone: bool) -> None:
        _move(c, b, w, a=self.a, target=c.floats + (w - b), alone=alone, keep_m=True)


class Elastic:
    """Both sides move towards each other by a (w - c); the worker goes on from its own weights and
    moments (Zhang et al. 2015, arXiv:1412.6651)."""

    keeps_own = True

    def __init__(self, scale: float) -> None:
        self.a = scale

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, alone: bool) -> None:
        for span in _values(c):
            gap = self.a * (w[span] - c.floats[span])
            c.floats[span] += gap
            w[span] -= gap
        _follow(c, b, w, self.a)


def make_rule(merge: str, *, damping: float, scale: float | None, workers: int) -> Rule:
    """The rule named `delta`, `damped`, `elastic` or `mean`; a `scale` of None is N workers' own.

    delta: 1/sqrt(N) up to 2 workers and 1.25/N beyond, where 1/sqrt(N) was measured to oscillate
    (benchmarks/README.md, `averaging`). mean: delta with 1/N, federated averaging. elastic: 0.9/N.
    """
    if merge == "damped":
        return Damped(damping)
    if merge == "delta":
        default = 1 / math.sqrt(workers) if workers <= 2 else 1.25 / workers
        return Delta(default if scale is None else scale)
    if merge == "mean":
        return Delta(1 / workers)
    if merge == "elastic":
        return Elastic(0.9 / workers if scale is None else scale)
    raise ValueError(f"paradigm.merge={merge} is unknown; choose delta, damped, elastic or mean")


def _move(
    c: Vector, b: Tensor, w: Tensor, *, a: float, target: Tensor, alone: bool, keep_m: bool
) -> None:
    """c + a (target - c) for all values, moments and counts to match. a = 0 moves nothing, not even
    by a NaN; a = 1 with nobody else's work to keep is a snapshot, exact in every number."""
    if a == 0:
        return
    if a == 1 and alone:
        c.floats.copy_(w)
        return
    for span in _values(c):
        c.floats[span].lerp_(target[span], a)
    made = _follow(c, b, w, a)
    for name in c.agent.groups:
        m, v = c.span(f"{name}.m"), c.span(f"{name}.v")
        c.floats[v].lerp_(w[v], min(1.0, a))
        if keep_m:
            c.floats[m].lerp_(w[m], min(1.0, a))
        elif made:
            c.floats[m].zero_()


def _values(c: Vector) -> list[slice]:
    """The gradient-moved groups and the slow tensors that follow nothing."""
    names = [*c.agent.groups, *c.agent.slow]
    return [c.span(name) for name in names if name not in c.agent.follows]


def _follow(c: Vector, b: Tensor, w: Tensor, a: float) -> float:
    """Steps counted, and targets moved as lagged copies of the *merged* groups: one step of
    1 - (1 - tau)^K for the K updates that the worker made, which are returned."""
    made = 0.0
    for name in c.agent.groups:
        step = c.span(f"{name}.step")
        taken = float(w[step] - b[step])
        made = made or taken
        c.floats[step] += taken
    for target, (group, tau) in c.agent.follows.items():
        c.flat(target).lerp_(c.flat(group), 1 - (1 - tau) ** made)
    return made


def finite(floats: torch.Tensor) -> bool:
    """Whether a vector may be merged or saved."""
    return bool(torch.isfinite(floats).all())
