"""Adam on flat vectors, against torch's own, and what happens around a step."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from agents.base import Acted, Agent, Batch, Group, Learned, State
from agents.parts.optim import Local, Locked, clip
from agents.parts.vector import Vector
from envs.make import describe
from tests.jobs import world

SPEC = describe(world())
SHAPES = [(5, 3), (3,), (2, 4, 4), (1,)]


class Net(Agent):
    """One group of tensors of several shapes, and a target that follows it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(SPEC, 0)
        draws = torch.Generator().manual_seed(0)
        self.tensors = [torch.randn(s, generator=draws).requires_grad_() for s in SHAPES]
        self.groups["net"] = Group(self.tensors, **{"lr": 0.01, **options})
        self.slow["target"] = [t.detach().clone() for t in self.tensors]
        self.follows["target"] = ("net", 0.1)
        self.parts = {"act": ["net"], "evaluate": ["net"]}
        self.optim = Local()
        Vector(self)

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        raise NotImplementedError

    def learn(self, batch: Batch) -> Learned:
        raise NotImplementedError

    def loss(self, step: int = 0) -> Tensor:
        """Its gradients differ by tensor, element and step."""
        losses = [(t - 0.3 * k - 0.1 * step).pow(2).sum() for k, t in enumerate(self.tensors)]
        return torch.stack(losses).dot(torch.tensor([1.0, 10.0, 0.1, 100.0]))


ADAM = {
    "default": {},
    "other betas and eps": {"betas": (0.5, 0.9), "eps": 1e-3},
    "clipped": {"clip": 0.5},
    "hardly clipped": {"clip": 1e6},
}


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_is_torchs_adam_with_torchs_clipping(fused: bool, subtests: pytest.Subtests) -> None:
    for options in ADAM.values():
        with subtests.test(str(options)):
            net = Net(**options)
            net.optim = Local(fused=fused)
            twins = [t.detach().clone().requires_grad_() for t in net.tensors]
            plain = torch.optim.Adam(
                twins,
                lr=0.01,
                betas=options.get("betas", (0.9, 0.999)),
                eps=options.get("eps", 1e-8),
            )
            twin = copy.copy(net)
            twin.tensors = twins
            for step in range(20):
                net.descend("net", net.loss(step))
                plain.zero_grad()
                twin.loss(step).backward()
                if "clip" in options:
                    torch.nn.utils.clip_grad_norm_(twins, options["clip"])
                plain.step()
            for mine, theirs in zip(net.tensors, twins, strict=True):
                assert_allclose(mine.detach(), theirs.detach(), atol=1e-6)
            assert float(net.groups["net"].step) == 20
            assert net.vector.counts.tolist() == [20]


def test_a_gradient_is_clipped_to_the_norm_and_a_small_one_is_left() -> None:
    grad = torch.tensor([3.0, 4.0])
    clip(grad, 1.0)
    assert_allclose(grad, [0.6, 0.8], rtol=1e-6)
    clip(grad, 2.0)
    assert_allclose(grad, [0.6, 0.8], rtol=1e-6)
    zero = torch.zeros(4)
    clip(zero, 1.0)
    assert not zero.any()


def test_scale_multiplies_the_learning_rate() -> None:
    moved = {}
    for scale in (1.0, 0.25, 0.0):
        net = Net()
        net.optim.lr_factor = scale
        before = net.vector.flat("net").clone()
        net.descend("net", net.loss())
        moved[scale] = net.vector.flat("net") - before
    assert moved[1.0].any() and not moved[0.0].any()
    assert_allclose(moved[0.25], 0.25 * moved[1.0], atol=1e-6)


def test_only_the_group_that_descends_is_moved() -> None:
    for fused in [True, False]:
        net = Net()
        net.optim = Local(fused=fused)
        before = net.vector.flat("target").clone()
        net.descend("net", net.loss() + (net.slow["target"][0] * net.tensors[0]).sum())
        assert torch.equal(net.vector.flat("target"), before)
        assert all(t.grad is None for t in net.tensors)


def test_a_target_follows_by_its_rate() -> None:
    net = Net()
    net.descend("net", net.loss())
    target, source = net.vector.flat("target").clone(), net.vector.flat("net").clone()
    net.follow("target")
    assert_allclose(net.vector.flat("target"), 0.9 * target + 0.1 * source, atol=1e-7)
    assert torch.equal(net.vector.flat("net"), source)


def test_the_plain_adam_notices_a_graph_that_has_become_stale() -> None:
    net = Net()
    net.optim = Local(fused=False)
    two = [torch.stack([t.square().sum() for t in net.tensors]).sum() for _ in range(2)]
    net.descend("net", two[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        net.descend("net", two[1])


class Noted:
    """A lock that notes what happens in which order."""

    def __init__(self) -> None:
        self.lock, self.notes = threading.Lock(), list[str]()

    def __enter__(self) -> bool:
        self.notes.append("taken")
        return self.lock.acquire(blocking=False)

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        self.notes.append("freed")


def test_before_step_is_called_before_every_step_and_outside_of_the_lock() -> None:
    lock, net, plain = Noted(), Net(), Net()
    net.optim = Locked(Local(), lock, before_step=lambda: lock.notes.append("before"))
    net.descend("net", net.loss())
    assert lock.notes == ["before", "taken", "freed"]
    net.follow("target")
    assert lock.notes[3:] == ["taken", "freed"]
    assert not lock.lock.locked()

    calls: list[str] = []
    plain.optim = Local(before_step=lambda: calls.append("before"))
    plain.descend("net", plain.loss())
    plain.follow("target")
    assert calls == ["before"]
    assert torch.equal(net.vector.floats, plain.vector.floats)


def test_a_locked_optims_scale_is_its_inner_ones() -> None:
    inner = Local()
    outer = Locked(inner, threading.Lock())
    outer.lr_factor = 0.5
    assert inner.lr_factor == outer.lr_factor == 0.5
