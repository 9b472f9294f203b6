"""Small jobs on toy worlds, and what is left of a run: shared by the tests of laws and parts.

Factories are plain functions and classes of importable modules, so that jobs can go to processes.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State
from agents.parts.explore import Warmup
from agents.parts.optim import Local
from agents.parts.vector import Vector
from agents.sac import SAC
from envs.make import describe, make_env
from paradigms.base import Job, Progress, Result
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.hogwild import Hogwild
from paradigms.parts import kit, machine
from paradigms.parts.pace import Pace
from paradigms.parts.replay import Uniform
from paradigms.parts.rows import Rows
from paradigms.parts.schedule import Line
from paradigms.sequential import Sequential

if TYPE_CHECKING:
    import pytest

torch.set_num_threads(1)  # as every process of a run does; the bits depend on it

PARADIGMS: Mapping[str, Any] = {
    "sequential": Sequential(),
    "dcollect": DCollect(),
    "dupdate": DUpdate(),
    "hogwild": Hogwild(),
    "locked": Hogwild(locked=True),
}


def sac(spec: Spec, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any) -> SAC:
    """A SAC of 16 x 16 units; `fused=False` is the Adam that complains about stale graphs."""
    agent = SAC(spec, seed, device, **{"hidden_sizes": (16, 16), "lr": 1e-3, **options})
    agent.optim = Local(fused=fused)
    return agent


class Idler(Agent):
    """Acts at random and learns nothing: an update is one step of one number."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu") -> None:
        super().__init__(spec, seed, device)
        self.number = torch.zeros(1, requires_grad=True)
        self.groups["number"] = Group([self.number], lr=0.01)
        self.parts = {"act": ["number"], "evaluate": ["number"]}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        action = 2 * torch.rand((len(obs), 1), generator=self.rng.act) - 1
        return Acted(action.numpy(), state, {})

    def learn(self, batch: Batch) -> Learned:
        self.descend("number", (self.number - 1).square().sum())
        return Learned(1, {})


def laid(agent: Agent) -> Agent:
    """The agent on a vector of its own."""
    Vector(agent)
    return agent


def world(name: str = "Identity", **options: Any) -> Callable[..., Any]:
    """A factory of one of our toy worlds."""
    return functools.partial(make_env, id=f"paceline/{name}-v0", **options)


def job(
    worlds: Callable[..., Any] | None = None,
    agent: Callable[..., Agent] = sac,
    *,
    capacity: int = 10_000,
    **changes: Any,
) -> Job:
    """One worker with two envs in lockstep, one update an env step after 32, inline."""
    worlds = world() if worlds is None else worlds
    plain = Job(
        spec=describe(worlds),
        make_agent=agent,
        make_env=worlds,
        make_replay=functools.partial(Uniform, capacity=capacity),
        explore=Warmup(changes.get("warmup", 32)),
        scale=Line(0.5, 0.1),
        env_steps=128,
        workers=1,
        envs=2,
        turn=8,
        batch_size=16,
        warmup=32,
        slack=0,
        crew="inline",
        started=time.time(),
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class Ended:
    """A run that is over: its Result, and everything that could be saved at its end."""

    job: Job
    result: Result
    state: dict[str, Any]

    @property
    def floats(self) -> torch.Tensor:
        return self.result.final.floats

    @property
    def totals(self) -> dict[str, Any]:
        return self.result.totals

    def stored(self) -> list[np.ndarray]:
        """What the replay holds: packed rows of each stream, oldest first."""
        extras = self.job.make_agent(self.job.spec, seed=0, device="cpu").extras
        row = Rows(self.job.spec.with_extras(extras), self.job.turn, self.job.envs).row
        streams = [np.asarray(rows).view(row)[:, 0] for rows in self.state["replay"]["rows"]]
        return [rows[:-1] for rows in streams]  # the last one is only the write head's obs

    def same_as(self, other: Ended) -> None:
        """Asserts that both runs ended with the same bits."""
        for key in ("env_steps", "updates", "episodes"):
            assert self.totals[key] == other.totals[key]
        assert torch.equal(self.floats, other.floats)
        assert torch.equal(self.result.final.counts, other.result.final.counts)
        mine, others = self.state["replay"], other.state["replay"]
        assert np.array_equal(mine["heads"], others["heads"])
        assert np.array_equal(mine["numbers"], others["numbers"])
        for part in ("rows", "last"):
            for one, two in zip(mine[part], others[part], strict=True):
                assert torch.equal(one, two)


def counters(monkeypatch: pytest.MonkeyPatch) -> list[Pace]:
    """The Pace of every run that is begun from here on, as soon as it is begun."""
    paces: list[Pace] = []

    def kept(**options: Any) -> Pace:
        paces.append(Pace(**options))
        return paces[-1]

    monkeypatch.setattr(kit, "Pace", kept)
    return paces


def run(paradigm: Any, job: Job, look: Callable[[Progress], None] = lambda progress: None) -> Ended:
    """Runs a job to its end, on one thread; `look` sees every Progress."""
    machine.prepare()
    steps = paradigm.run(job)
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return Ended(job, end.value, progress.save())
        look(progress)
