"""Replicas that average their gradients: a batch in parts is the batch, whatever each one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State
from agents.parts.normal import Normal
from agents.parts.optim import Local
from paradigms.errors import Stopped
from paradigms.runtime.crew import Crew, Link, Role
from paradigms.weights.reduced import Rows, Together
from tests.jobs import job, laid


class Squares(Agent):
    """Two linear regressions and a normaliser; what `learn` does is in the batch.

    steps: which groups it moves, in order. bounded: a bound of the first one afterwards.
    """

    def __init__(self, spec: Spec | None = None, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(spec or job().spec, seed, device)
        generator = torch.Generator().manual_seed(seed)
        for name in ("first", "second"):
            weight = torch.randn(3, generator=generator).requires_grad_()
            self.groups[name] = Group([weight], lr=0.1, clip=0.5)
        self.lagging, self.level = torch.zeros(3), torch.zeros(1)
        self.normal = Normal(3)
        self.slow = {"lagging": [self.lagging], "normal": self.normal.tensors}
        self.slow["level"] = [self.level]
        self.sums, self.follows = {"normal"}, {"lagging": ("second", 0.5)}
        self.parts = {"act": ["first"], "evaluate": ["first"]}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        raise NotImplementedError

    def learn(self, batch: Batch, *, steps: tuple[str, ...], bound: float = 9.0) -> Learned:  # type: ignore[override]
        for name in steps:
            (weight,) = self.groups[name].tensors
            self.descend(name, (batch.obs @ weight - batch.reward).square().mean())
        self.groups["first"].tensors[0].data.clamp_(-bound, bound)
        if "second" in steps:
            self.follow("lagging")
        self.normal.update(batch.obs)
        self.level += batch.obs.mean()
        return Learned(len(steps), {})


def batch(seed: int, size: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        obs=torch.randn((size, 3), generator=generator),
        reward=torch.randn(size, generator=generator),
    )


def joined(*batches: Batch) -> Batch:
    return Batch({name: torch.cat([one[name] for one in batches]) for name in batches[0]})


class Learns(Role):
    """Learns from batches in turn, as one of several replicas."""

    def __init__(self, agent: Agent, rows: Rows, rank: int, learns: list[dict[str, Any]]) -> None:
        self.agent, self.rows, self.rank, self.learns = agent, rows, rank, learns

    def run(self, link: Link) -> None:
        size = 0
        together = self.agent.optim = Together(
            self.agent,
            self.rows,
            self.rank,
            weight=lambda: size,
            wait=lambda ready: link.wait("gradients", ready, brief=True),
        )
        for learn in self.learns:
            size = len(learn["batch"].obs)
            self.agent.learn(**learn)  # type: ignore[arg-type]
            together.finish()


def learned(*replicas: list[dict[str, Any]]) -> list[Agent]:
    """Agents after so many replicas have learned together."""
    agents = [laid(Squares()) for _ in replicas]
    rows = Rows(agents[0].vector, len(agents))
    crew = Crew("inline")
    for rank, (agent, learns) in enumerate(zip(agents, replicas, strict=True)):
        crew.add(f"replica-{rank}", Learns, agent, rows, rank, learns)
    for _ in crew.run():
        pass
    return agents


def alike(agents: list[Agent]) -> None:
    first = agents[0].vector
    for agent in agents[1:]:
        assert torch.equal(agent.vector.floats, first.floats)
        assert torch.equal(agent.vector.counts, first.counts)


@pytest.mark.parametrize("sizes", [(8, 8), (5, 2), (4, 4, 3)])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole_batch(sizes: tuple[int, ...]) -> None:
    """Whatever their sizes: the clipped mean, the moments, the statistics of all inputs."""
    steps = ("first", "second")
    parts = [[batch(10 * n + r, size) for n in range(3)] for r, size in enumerate(sizes)]
    agents = learned(*([{"batch": part, "steps": steps} for part in mine] for mine in parts))
    alike(agents)
    (whole,) = learned(
        [{"batch": joined(*together), "steps": steps} for together in zip(*parts, strict=True)]
    )
    for name in ("first", "second", "first.m", "second.v", "lagging"):
        torch.testing.assert_close(agents[0].vector.flat(name), whole.vector.flat(name))
    sums = [agent.normal.sums.double().sum(0) for agent in (agents[0], whole)]  # type: ignore[attr-defined]
    torch.testing.assert_close(*sums, rtol=1e-12, atol=1e-12)


def test_one_replica_alone_is_the_agent_to_the_bit() -> None:
    alone = laid(Squares())
    (replica,) = learned([{"batch": batch(n, 6), "steps": ("first", "second")} for n in range(3)])
    for n in range(3):
        alone.learn(batch(n, 6), steps=("first", "second"))  # type: ignore[call-arg]
    alike([alone, replica])


@pytest.mark.parametrize(
    "steps",
    [
        [("first", "second", "first"), ("first",)],
        [("first",), ("first", "second", "first")],
        [(), ("second", "first")],
        [("first", "second"), ("second",)],
        [("second",), ("first", "second"), ("first", "first")],
        [(), ()],
    ],
)
def test_replicas_that_make_other_steps_end_alike(steps: list[tuple[str, ...]]) -> None:
    """None waits for ever; those who brought a group's gradient decide what its mean is, and what
    comes after the steps comes after everybody's."""
    learns = [
        [{"batch": batch(7 * r + n, 4), "steps": mine, "bound": 0.3} for n in range(2)]
        for r, mine in enumerate(steps)
    ]
    agents = learned(*learns)
    alike(agents)
    counts = dict(zip(agents[0].groups, agents[0].vector.counts.tolist(), strict=True))
    for name in counts:
        assert counts[name] >= 2 * max(mine.count(name) for mine in steps)
    if any(steps):
        assert agents[0].vector.flat("first").abs().max() <= 0.3 + 1e-6


def test_who_steps_alone_steps_as_alone() -> None:
    agents = learned(
        [{"batch": batch(1, 4), "steps": ("first",)}],
        [{"batch": batch(2, 4), "steps": ()}],
    )
    (alone,) = learned([{"batch": batch(1, 4), "steps": ("first",)}])
    for name in ("first", "first.m", "first.v"):
        assert torch.equal(agents[1].vector.flat(name), alone.vector.flat(name))


def test_a_gradient_of_no_transitions_counts_nothing_even_if_it_is_nan() -> None:
    empty = Batch(obs=torch.zeros(0, 3), reward=torch.zeros(0))
    agents = [laid(Squares()) for _ in range(2)]
    rows = Rows(agents[0].vector, 2)
    crew = Crew("inline")
    for rank, mine in enumerate((empty, batch(1, 4))):
        crew.add(f"{rank}", Descends, agents[rank], rows, rank, mine)
    for _ in crew.run():
        pass
    (alone,) = learned([{"batch": batch(1, 4), "steps": ("first",)}])
    for agent in agents:
        assert torch.equal(agent.vector.flat("first"), alone.vector.flat("first"))


class Descends(Learns):
    """One step of the first group, without what else `learn` does."""

    def run(self, link: Link) -> None:
        mine: Batch = self.learns  # type: ignore[assignment]
        self.agent.optim = Together(
            self.agent,
            self.rows,
            self.rank,
            weight=lambda: len(mine.obs),
            wait=lambda ready: link.wait("gradients", ready),
        )
        (weight,) = self.agent.groups["first"].tensors
        self.agent.descend("first", (mine.obs @ weight - mine.reward).square().mean())


def test_slow_tensors_are_joined() -> None:
    """Sums add up, others become the mean of what the replicas came to."""
    agents = learned(*([{"batch": batch(r, 4), "steps": ()}] for r in range(3)))
    alike(agents)
    means = torch.stack([batch(r, 4).obs.mean() for r in range(3)])
    level = agents[0].vector.flat("level")[0]
    torch.testing.assert_close(level, means.mean())
    assert float(agents[0].normal.sums[0, 0]) == 12  # type: ignore[attr-defined]


def test_who_is_stopped_while_it_waits_is_unwound() -> None:
    agent = laid(Squares())
    agent.optim = Together(
        agent, Rows(agent.vector, 2), 0, weight=lambda: 1, wait=lambda ready: bool(ready())
    )
    with pytest.raises(Stopped):
        agent.learn(batch(0, 4), steps=("first",))  # type: ignore[call-arg]


# Whole runs
