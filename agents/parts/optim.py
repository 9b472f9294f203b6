"""Where a gradient goes when it stays in this process: Adam (Kingma and Ba 2015, arXiv:1412.6980)
on flat vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim.adam import adam

from agents.base import Group, Optim


class Local:
    """Adam on the agent's own vector, or on a shared one that it is bound to (Hogwild).

    `lr_factor` multiplies every group's learning rate. `before_step` is called before each step.
    `fused=False` is the plain Adam, for tests: it notices a graph whose parameters have moved since
    the forward pass.
    """

    def __init__(
        self, *, before_step: Callable[[], None] | None = None, fused: bool = True
    ) -> None:
        self.lr_factor = 1.0
        self.before_step = before_step
        self.fused = fused

    def apply(self, group: Group) -> None:
        if self.before_step is not None:
            self.before_step()
        if usable(group):
            if group.clip is not None:
                clip(group.grad, group.clip)
            step(group, lr=group.lr * self.lr_factor, fused=self.fused)
        group.count += 1

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        target.lerp_(source, tau)


class Locked:
    """Another optim, one process at a time. `before_step` is called before the lock is taken."""

    def __init__(
        self,
        optim: Optim,
        lock: AbstractContextManager[bool],
        *,
        before_step: Callable[[], None] | None = None,
    ) -> None:
        self.optim, self.lock, self.before_step = optim, lock, before_step

    @property
    def lr_factor(self) -> float:
        return self.optim.lr_factor

    @lr_factor.setter
    def lr_factor(self, value: float) -> None:
        self.optim.lr_factor = value

    def apply(self, group: Group) -> None:
        if self.before_step is not None:
            self.before_step()
        with self.lock:
            self.optim.apply(group)

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        with self.lock:
            self.optim.follow(target, source, tau)


def usable(group: Group) -> bool:
    """Whether the gradient is finite; counts it in the group where it is not. Waits for the device.

    Its sum is looked at, which took 3 to 15 us for 10,000 to 200,000 numbers, a sixth of a step.
    """
    if math.isfinite(group.grad.sum().item()):
        group.in_a_row = 0
        return True
    group.skipped, group.in_a_row = group.skipped + 1, group.in_a_row + 1
    return False


def clip(grad: Tensor, norm: float) -> None:
    """Scales a flat gradient down to the given Euclidean norm, in place, without reading it."""
    grad.mul_((norm / (torch.linalg.vector_norm(grad) + 1e-6)).clamp_(max=1.0))


def step(group: Group, *, lr: float, fused: bool = True) -> None:
    """One Adam step of a whole group, in place."""
    beta1, beta2 = group.betas
    with torch.no_grad():
        adam(
            [group.flat] if fused else group.tensors,
            [group.grad] if fused else group.grads,
            [group.m] if fused else _like(group, group.m),
            [group.v] if fused else _like(group, group.v),
            [],
            [group.step] if fused else _steps(group),
            foreach=False,
            fused=fused,
            capturable=False,
            differentiable=False,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=lr,
            weight_decay=0.0,
            eps=group.eps,
            maximize=False,
        )
        if not fused:
            group.step += 1


def _like(group: Group, flat: Tensor) -> list[Tensor]:
    offset = group.grad.storage_offset()
    return [flat[g.storage_offset() - offset :][: g.numel()].view(g.shape) for g in group.grads]


def _steps(group: Group) -> list[Tensor]:
    return [group.step.clone() for _ in group.tensors]
