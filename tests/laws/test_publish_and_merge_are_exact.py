"""Law 9: what is published is pulled to the bit, and merging equal vectors changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.base import Agent
from agents.parts.vector import Vector
from envs.make import describe
from paradigms.weights.bound import Bound
from paradigms.weights.merge import Rule, make_rule
from paradigms.weights.published import Weights
from tests.jobs import laid, sac, world

RULES: dict[str, dict[str, Any]] = {
    "delta": {"merge": "delta", "scale": None},
    "delta of scale 1": {"merge": "delta", "scale": 1.0},
    "delta of scale 0.3": {"merge": "delta", "scale": 0.3},
    "mean": {"merge": "mean", "scale": None},
    "damped": {"merge": "damped", "scale": None},
    "damped by 0": {"merge": "damped", "scale": None, "damping": 0.0},
    "damped by 1": {"merge": "damped", "scale": None, "damping": 1.0},
    "elastic": {"merge": "elastic", "scale": None},
}


def agent(seed: int = 0) -> Agent:
    """A SAC all of whose floats and counts are different numbers, of many sizes."""
    made = laid(sac(describe(world()), seed, average=0.1))
    generator = torch.Generator().manual_seed(seed)
    floats = made.vector.floats
    floats.copy_(torch.randn(floats.shape, generator=generator).mul_(3).exp())
    made.vector.counts.copy_(torch.arange(1, 4) * (seed + 1))
    return made


def rule(name: str, workers: int = 3) -> Rule:
    return make_rule(**{"damping": 0.8, **RULES[name]}, workers=workers)


def test_publish_then_pull_is_exact() -> None:
    writer, reader = agent(0).vector, agent(1).vector
    weights = Weights(writer, "all")
    for version in (0, 7, 8, 1 << 40):
        if version:
            writer.floats.mul_(1.1)
            writer.counts.add_(1)
            weights.publish(writer, version)
        assert weights.version == version
        assert weights.pull(reader) == version
        assert torch.equal(reader.floats, writer.floats)
        assert torch.equal(reader.counts, writer.counts)


@pytest.mark.parametrize("part", ["act", "evaluate"])
def test_a_part_arrives_exactly_and_nothing_else_moves(part: str) -> None:
    writer, reader = agent(0).vector, agent(1).vector
    before, counts = reader.floats.clone(), reader.counts.clone()
    size = reader.size(part)
    assert 0 < size < len(reader.floats)
    for weights in (Weights(writer, "all"), Weights(writer, "evaluate")):
        reader.floats.copy_(before)
        weights.pull(reader, part)
        assert torch.equal(reader.floats[:size], writer.floats[:size])
        assert torch.equal(reader.floats[size:], before[size:])
        assert torch.equal(reader.counts, counts)


def test_a_snapshot_is_exact_and_stays_as_it_was() -> None:
    writer = agent(0).vector
    weights, bound = Weights(writer, "all"), Bound(writer)
    floats, counts = writer.floats.clone(), writer.counts.clone()
    copies = [place.snapshot("all", len(floats)) for place in (weights, bound)]
    bound.floats.zero_()
    writer.floats.zero_()
    for version in range(1, 9):
        weights.publish(writer, version)
    reader = agent(1)
    for copy in copies:
        copy.into(reader)
        assert torch.equal(reader.vector.floats, floats)
        assert torch.equal(reader.vector.counts, counts)


def test_binding_takes_the_shared_values_on_exactly() -> None:
    writer, reader = agent(0), agent(1)
    bound = Bound(writer.vector)
    bound.bind(reader.vector)
    assert torch.equal(reader.vector.floats, writer.vector.floats)
    assert torch.equal(reader.vector.counts, writer.vector.counts)
    bound.floats.add_(1)
    for mine, theirs in zip(
        reader.groups["actor"].tensors, writer.groups["actor"].tensors, strict=True
    ):
        assert torch.equal(mine, theirs + 1)


@pytest.mark.parametrize("name", RULES)
def test_merging_equal_vectors_changes_nothing_and_others_do(name: str) -> None:
    learner: Vector = agent().vector
    before = learner.floats.clone()
    for alone in (True, False):
        base, own = before.clone(), before.clone()
        rule(name)(learner, base, own, made=0, alone=alone)
        assert torch.equal(learner.floats, before)
        assert torch.equal(own, before)
    rule(name)(learner, before.clone(), agent(1).vector.floats, made=3, alone=False)
    assert torch.equal(learner.floats, before) == (name == "damped by 1")
