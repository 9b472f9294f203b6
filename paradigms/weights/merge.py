"""Parameter averaging: how a worker's weights join the learner's, all written c + a (x - c).

c is the learner's vector, b the base that the worker started from, w the vector that the worker
came back with, K the updates that lie between b and w. The analysis of speed and stability by
number of workers N stands in docs/performance.md.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from agents.parts.vector import Vector


class Rule(Protocol):
    """Moves the learner's vector `c`; elastic averaging moves `w` as well, in place.

    c: the learner's vector, changed in place (its `counts` are the caller's business). b, w:
    float32 [n], laid out like `c.floats`. made: K, exact however large. alone: nobody has merged
    since b was published, so that c still is b.
    keeps_own: the worker goes on from `w` instead of from the newest c.
    """

    keeps_own: bool

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, made: int, alone: bool) -> None: ...


class Damped:
    """c + (1 - damping) (w - c): with 0.8, the 0.8 c + 0.2 w of Stone and Sachdev 2019, "Analysis
    of Concurrent Reinforcement Learning Algorithms".

    First moments are zeroed, because they point to a place that was mostly undone. Adam's step
    count grows by K all the same, so that the next steps are about half as long as a fresh Adam's.
    """

    keeps_own = False

    def __init__(self, damping: float = 0.8) -> None:
        if not 0 <= damping <= 1:
            raise ValueError(f"paradigm.damping={damping} must lie in [0, 1]")
        self.a = 1 - damping

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, made: int, alone: bool) -> None:
        if _copied(c, w, self.a, alone):
            return
        _average(c, w, self.a)
        _count(c, b, w)
        _follow(c, made)
        _second_moments(c, w, self.a)
        if made:
            for name in c.agent.groups:
                c.flat(f"{name}.m").zero_()


class Delta:
    """c + a (w - b): what the worker learned, on top of what others did meanwhile.

    First moments keep their meaning and are averaged in. Adam's step count grows by the K of every
    worker, while a share `a` of each worker's moments arrives: its bias correction ends early by a
    factor that is 1 within 20 % after ten updates and within 1 % after four hundred.
    """

    keeps_own = False

    def __init__(self, scale: float) -> None:
        self.a = scale

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, made: int, alone: bool) -> None:
        if _copied(c, w, self.a, alone):
            return
        for span in _moved(c):
            c.floats[span].lerp_(c.floats[span] + (w[span] - b[span]), self.a)
        for span in sums(c):
            _write(c, span, exact(c.floats[span]) + self.a * (exact(w[span]) - exact(b[span])))
        _count(c, b, w)
        _follow(c, made)
        _first_moments(c, w, self.a)
        _second_moments(c, w, self.a)


class Elastic:
    """Both sides move towards each other by a (w - c); the worker goes on from its own weights and
    moments (Zhang et al. 2015, arXiv:1412.6651).

    The learner's moments are averaged as the other rules do: a worker that begins anew from c (of a
    resumed run, or after a NaN) then finds moments that fit the step count.
    """

    keeps_own = True

    def __init__(self, scale: float) -> None:
        self.a = scale

    def __call__(self, c: Vector, b: Tensor, w: Tensor, *, made: int, alone: bool) -> None:
        for span in _moved(c):
            gap = self.a * (w[span] - c.floats[span])
            c.floats[span] += gap
            w[span] -= gap
        for span in sums(c):
            mine, theirs = exact(c.floats[span]), exact(w[span])
            gap = self.a * (theirs - mine)
            _write(c, span, mine + gap)
            w[span] = split(theirs - gap)
        _count(c, b, w)
        _follow(c, made)
        _first_moments(c, w, self.a)
        _second_moments(c, w, self.a)


def make_rule(merge: str, *, damping: float, scale: float | None, workers: int) -> Rule:
    """The rule named `delta`, `damped`, `elastic` or `mean`; a `scale` of None is N workers' own.

    delta: 1/sqrt(N) up to 2 workers and 1.25/N beyond, where 1/sqrt(N) was measured to oscillate
    (benchmarks/README.md, `averaging`). mean: delta with 1/N, federated averaging (McMahan et al.
    2017, arXiv:1602.05629). elastic: 0.9/N. Raises ValueError for another name.
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


def finite(floats: torch.Tensor) -> bool:
    """Whether a vector may be merged or saved."""
    return bool(torch.isfinite(floats).all())


def _copied(c: Vector, w: Tensor, a: float, alone: bool) -> bool:
    """The two ends, exact in every number: a = 0 moves nothing, not even by a NaN; a = 1 with
    nobody else's work to keep is a copy."""
    if a == 1 and alone:
        c.floats.copy_(w)
    return a == 0 or (a == 1 and alone)


def _average(c: Vector, w: Tensor, a: float) -> None:
    for span in _moved(c):
        c.floats[span].lerp_(w[span], a)
    for span in sums(c):
        mine = exact(c.floats[span])
        _write(c, span, mine + a * (exact(w[span]) - mine))


def _moved(c: Vector) -> list[slice]:
    """The gradient-moved groups, and the slow tensors that neither follow one nor are sums."""
    names = [*c.agent.groups, *c.agent.slow]
    return [c.span(name) for name in names if name not in {*c.agent.follows, *c.agent.sums}]


def sums(c: Vector) -> list[slice]:
    """The slow entries of two float32 rows whose sum is the number that is meant (see Agent)."""
    pairs = [(c.agent.slow[name][0], c.span(name).start) for name in c.agent.sums]
    return [slice(start, start + pair.numel()) for pair, start in pairs]


def exact(pair: Tensor) -> Tensor:
    """The numbers that a flat pair of rows stands for, float64 [n / 2]."""
    return pair.double().view(2, -1).sum(0)


def split(numbers: Tensor) -> Tensor:
    """A flat pair of float32 rows: the numbers rounded, and what rounding took off."""
    first = numbers.float()
    return torch.cat((first, (numbers - first.double()).float()))


def _write(c: Vector, span: slice, numbers: Tensor) -> None:
    c.floats[span] = split(numbers)


def _count(c: Vector, b: Tensor, w: Tensor) -> None:
    """Adam's step counts grow by the worker's."""
    for name in c.agent.groups:
        step = c.span(f"{name}.step")
        c.floats[step] += w[step] - b[step]


def _follow(c: Vector, made: int) -> None:
    """Targets move as lagged copies of the *merged* groups: one step of 1 - (1 - tau)^K."""
    for target, (group, tau) in c.agent.follows.items():
        c.flat(target).lerp_(c.flat(group), 1 - (1 - tau) ** made)


def _first_moments(c: Vector, w: Tensor, a: float) -> None:
    for name in c.agent.groups:
        c.flat(f"{name}.m").lerp_(w[c.span(f"{name}.m")], min(1.0, a))


def _second_moments(c: Vector, w: Tensor, a: float) -> None:
    for name in c.agent.groups:
        c.flat(f"{name}.v").lerp_(w[c.span(f"{name}.v")], min(1.0, a))
