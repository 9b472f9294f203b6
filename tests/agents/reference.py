"""What the references of several agents are made of: torch.nn.functional in float64, plain lists of
tensors, and an Optim that keeps the gradients it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn import functional as F

from agents.base import Agent, Batch, Group
from agents.parts.explore import Warmup
from envs.make import describe
from paradigms.sequential import Sequential
from tests.jobs import job, laid, run, world

SPEC = describe(world("Identity", kwargs={"dims": 3}))
SIZE, ACTIONS = 32, 3
ADAMS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])


class Still:
    """An Optim that moves nothing and keeps what it is given."""

    def __init__(self, agent: Agent) -> None:
        self.lr_factor = 1.0
        self.names = {id(group): name for name, group in agent.groups.items()}
        self.grads: dict[str, list[Tensor]] = {}
        self.followed = 0

    def apply(self, group: Group) -> None:
        self.grads[self.names[id(group)]] = [grad.clone() for grad in group.grads]
        group.count += 1

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        self.followed += 1


def batch(seed: int = 0, *, wide: float = 1.0) -> Batch:
    """SIZE transitions with continuous actions; a fifth of them have no successor."""
    draws = torch.Generator().manual_seed(seed)
    columns = {name: wide * torch.randn((SIZE, 3), generator=draws) for name in ("obs", "next_obs")}
    columns["action"] = 2 * torch.rand((SIZE, ACTIONS), generator=draws) - 1
    columns["reward"] = torch.randn(SIZE, generator=draws)
    columns["discount"] = 0.97 * (torch.rand(SIZE, generator=draws) < 0.8)
    columns["weight"] = torch.rand(SIZE, generator=draws) + 0.5
    return Batch(columns)


def doubled(data: Batch) -> dict[str, Tensor]:
    return {name: column.double() for name, column in data.items()}


def wide(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies in float64 that require gradients."""
    return [t.detach().double().clone().requires_grad_() for t in tensors]


def net(tensors: list[Tensor], x: Tensor, *, norm: bool = False) -> Tensor:
    """A perceptron of weights and biases in turn, with ReLU between layers."""
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i < len(layers) - 1:
            x = F.relu(F.layer_norm(x, x.shape[-1:]) if norm else x)
    return x


def assert_gradients(
    grads: dict[str, list[Tensor]], losses: dict[str, tuple[Tensor, list[Tensor]]]
) -> None:
    """Asserts that these are the gradients of the losses, each with its tensors, to 1e-5."""
    assert {*grads} == {*losses}
    for name, (loss, tensors) in losses.items():
        expected = torch.autograd.grad(loss, tensors, retain_graph=True)
        scale = max(1.0, *(float(grad.abs().max()) for grad in expected))
        for mine, theirs in zip(grads[name], expected, strict=True):
            assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=name)


def assert_tensors(*pairs: tuple[Iterable[Tensor], Iterable[Tensor]], atol: float = 1e-5) -> None:
    for mine, theirs in pairs:
        for one, two in zip(mine, theirs, strict=True):
            assert_allclose(one.detach(), two.detach(), atol=atol)


def descend(adams: dict[str, Any], name: str, loss: Tensor) -> None:
    """One step of torch's Adam on one loss."""
    for adam in adams.values():
        adam.zero_grad()
    loss.backward()
    adams[name].step()


def assert_it_learns_identity(agent: Callable[..., Agent]) -> None:
    """The best return is 0, a uniform policy's is -6.7. A second or two."""
    small = job(
        agent=agent, explore=Warmup(200), env_steps=1500, warmup=200, num_envs=4, batch_size=64
    )
    ended = run(Sequential(), small)
    assert ended.totals["updates"] >= 1300
    learned = laid(agent(ended.job.spec, 0))
    learned.vector.load("all", ended.floats)
    targets = np.linspace(-0.9, 0.9, 64, dtype=np.float32)[:, None]
    answers = learned.act(targets, learned.initial_state(64), None).action
    assert -10 * np.mean((answers - targets) ** 2) > -0.2
