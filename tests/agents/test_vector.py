"""One flat vector that an agent's tensors are views of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from agents.base import Agent, Batch
from agents.parts.vector import Vector
from agents.sac import SAC
from envs.make import describe
from tests.jobs import laid, sac, world

SPEC = describe(world("Identity", kwargs={"dims": 3}))
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"average": 0.1},
    "fixed temperature": {"temperature": 0.2},
    "odd sizes": {"hidden_sizes": (7, 5, 3), "average": 0.1},
}


def make(seed: int = 0, **options: Any) -> SAC:
    agent = sac(SPEC, seed, **options)
    laid(agent)
    return agent


def batch(size: int = 16, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    shapes = {"obs": (size, 3), "action": (size, 3), "next_obs": (size, 3)}
    columns = {k: 2 * torch.rand(shape, generator=draws) - 1 for k, shape in shapes.items()}
    reward = torch.randn(size, generator=draws)
    discount = 0.99 * (torch.rand(size, generator=draws) < 0.8)
    return Batch(**columns, reward=reward, discount=discount, weight=torch.ones(size))


def learned(agent: SAC, updates: int = 3) -> SAC:
    for number in range(updates):
        agent.rng.learn.manual_seed(number)
        agent.learn(batch(seed=number))
    return agent


def everything(agent: Agent) -> dict[str, torch.Tensor]:
    """Each tensor that learn may change, by a name."""
    named = {f"{n}[{i}]": t for n, g in agent.groups.items() for i, t in enumerate(g.tensors)}
    named |= {f"{n}[{i}]": t for n, ts in agent.slow.items() for i, t in enumerate(ts)}
    for name, group in agent.groups.items():
        named |= {f"{name}.{part}": getattr(group, part) for part in ("m", "v", "step")}
    return named


def test_every_tensor_is_a_view_at_a_multiple_of_16_of_its_own() -> None:
    for options in OPTIONS.values():
        agent = make(**options)
        floats = agent.vector.floats
        taken = np.zeros(len(floats), int)
        for tensor in everything(agent).values():
            assert tensor.untyped_storage().data_ptr() == floats.untyped_storage().data_ptr()
            assert tensor.storage_offset() % 16 == 0
            assert tensor.is_contiguous() and tensor.dtype == torch.float32
            taken[tensor.storage_offset() : tensor.storage_offset() + tensor.numel()] += 1
        assert taken.max() == 1
        assert not floats[torch.from_numpy(taken == 0)].any()
        assert len(floats) % 16 == 0
        for group in agent.groups.values():
            for tensor, grad in zip(group.tensors, group.grads, strict=True):
                at = tensor.storage_offset() - group.flat.storage_offset()
                assert grad.shape == tensor.shape and grad.storage_offset() == at


def test_laying_out_changes_no_value() -> None:
    for options in OPTIONS.values():
        loose, agent = sac(SPEC, 0, **options), make(**options)
        for name, group in loose.groups.items():
            for before, after in zip(group.tensors, agent.groups[name].tensors, strict=True):
                assert torch.equal(before, after)


def test_every_part_is_a_prefix_and_acting_comes_first() -> None:
    for options in OPTIONS.values():
        agent = make(**options)
        vector = agent.vector
        assert vector.span("actor").start == 0
        assert vector.size("act") == vector.span("actor").stop
        last = "average" if "average" in options else "actor"
        assert vector.size("evaluate") == vector.span(last).stop
        assert vector.size("all") == len(vector.floats)
        assert vector.size("act") <= vector.size("evaluate") < vector.size("all")


def test_saving_and_loading_is_exact() -> None:
    """Not only are the numbers the same: both act and learn on alike."""
    for options in OPTIONS.values():
        one, other = learned(make(0, **options)), make(1, **options)
        other.vector.load("all", one.vector.floats.clone(), one.vector.counts.clone())
        obs = batch().obs.numpy()
        for explore in (None, 0.0, 1.0):
            for agent in (one, other):
                agent.rng.act.manual_seed(5)
            acted = [
                agent.act(obs, agent.initial_state(16), explore).action for agent in (one, other)
            ]
            assert_array_equal(*acted)
        learned(one)
        learned(other)
        assert torch.equal(one.vector.floats, other.vector.floats)
        assert torch.equal(one.vector.counts, other.vector.counts)
        assert one.vector.counts.tolist() == [6] * len(one.groups)


def test_loading_a_part_leaves_the_rest() -> None:
    one, other = learned(make(0, average=0.1)), make(1, average=0.1)
    before, size = other.vector.floats.clone(), other.vector.size("evaluate")
    other.vector.load("evaluate", one.vector.floats[:size])
    assert torch.equal(other.vector.floats[:size], one.vector.floats[:size])
    assert torch.equal(other.vector.floats[size:], before[size:])
    assert other.vector.counts.tolist() == [0, 0, 0]


def test_learning_moves_every_group_moment_and_follower_and_no_padding() -> None:
    agent = make(average=0.1)
    before = {name: tensor.detach().clone() for name, tensor in everything(agent).items()}
    learned(agent)
    for name, tensor in everything(agent).items():
        assert not torch.equal(tensor.detach(), before[name]), name
    used = torch.zeros_like(agent.vector.floats)
    for tensor in everything(agent).values():
        used[tensor.storage_offset() : tensor.storage_offset() + tensor.numel()] = 1
    assert not agent.vector.floats[used == 0].any()


def test_binding_moves_the_agent_to_other_storage_and_its_values() -> None:
    agent, other = learned(make(0)), learned(make(1))
    obs = batch().obs.numpy()
    agent.act(obs, agent.initial_state(16), None)  # arrays are cached here
    floats, counts = other.vector.floats.clone(), other.vector.counts.clone()
    agent.vector.bind(floats, counts)
    greedy = [a.act(obs, a.initial_state(16), None).action for a in (agent, other)]
    assert_array_equal(*greedy)
    learned(agent)
    learned(other)
    assert torch.equal(floats, other.vector.floats)
    assert torch.equal(counts, other.vector.counts)


def test_two_agents_bound_to_one_vector_are_one() -> None:
    one, other = make(0), make(1)
    other.vector.bind(one.vector.floats, one.vector.counts)
    learned(one)
    for mine, same in zip(
        one.groups["critic"].tensors, other.groups["critic"].tensors, strict=True
    ):
        assert torch.equal(mine, same)
    assert int(other.groups["critic"].count[0]) == 3
    assert other.groups["critic"].step == 3


def test_a_vector_of_another_size_is_refused() -> None:
    agent = make()
    with pytest.raises(ValueError, match=r"the vector has \d+ floats, not"):
        agent.vector.bind(torch.zeros(16), agent.vector.counts)


def test_names_have_spans_and_values() -> None:
    agent = make()
    vector: Vector = agent.vector
    agent.log_alpha.data.fill_(0.25)
    assert vector.flat("temperature")[0] == 0.25
    for name in ("actor", "critic.m", "critic.v", "target"):
        assert vector.flat(name).shape == vector.floats[vector.span(name)].shape
    assert (
        vector.flat("critic").shape == vector.flat("target").shape == vector.flat("critic.m").shape
    )
    assert vector.flat("actor.step").shape == (1,)
