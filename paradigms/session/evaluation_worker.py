"""The evaluation process: plays the episodes that the evaluator asks for, with the weights that it
has published."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gymnasium.vector import VectorEnv

from agents.base import Agent, Spec
from agents.parts.draws import key
from agents.parts.vector import Vector
from paradigms.loop.episodes import Returns, play
from paradigms.runtime.crew import Link, Role
from paradigms.weights.published import Weights

SECONDS_IDLE = 0.02  # between two looks for a request
SECONDS_BUSY = 600.0  # for building the envs, and for their first 64 vector steps


@dataclass(frozen=True)
class Plan:
    """How to evaluate: `slots` episodes at a time, on seeds that derive from `seed` alone.

    every_seconds: wall-clock seconds from one submission to the next, at the least; None: no
    snapshot is wanted while training. share: the largest share of one core, in (0, 1], that
    evaluation may take on average.
    """

    make_agent: Callable[..., Agent]
    make_env: Callable[..., VectorEnv[Any, Any, Any]]
    spec: Spec
    slots: int = 20
    seed: int = 0
    every_seconds: float | None = 1.0
    share: float = 0.1

    def agent(self) -> Agent:
        agent = self.make_agent(self.spec, seed=self.seed, device="cpu")
        Vector(agent)
        return agent

    def build(self) -> tuple[Agent, VectorEnv[Any, Any, Any]]:
        return self.agent(), self.make_env(num_envs=self.slots, seed=self.seed, rank=None)

    def seeds(self, stream: str, number: int, count: int) -> list[int]:
        """Env seeds below 2^31, others for every (seed, stream, number)."""
        return [key(stream, self.seed, number, i) >> 33 for i in range(count)]


class Request(NamedTuple):
    """Episodes to be played with the weights published last: what names their seeds (see
    `Plan.seeds`), and which weights. A few dozen bytes, whatever the number of episodes."""

    identity: int
    stream: str
    number: int
    episodes: int
    averaged: bool


class Result(NamedTuple):
    """What came of the request of that identity: its episodes, and the CPU time that they took;
    how often envs have raised since the last result, and the first traceback."""

    request: int
    played: Returns
    cpu_seconds: float
    env_errors: int = 0
    trace: str = ""


class EvaluationWorker(Role):
    """The evaluation process: plays the episodes of a request, reports the result, and waits."""

    def __init__(self, plan: Plan, weights: Weights) -> None:
        self.plan, self.weights = plan, weights
        self.request: Request | None = None
        self.built: tuple[Agent, VectorEnv[Any, Any, Any]] | None = None
        self.failures: list[tuple[int, str]] = []

    def tell(self, message: Request) -> None:
        self.request = message

    def run(self, link: Link) -> None:
        link.busy(SECONDS_BUSY)
        self.built = self.plan.build()
        while link.go():
            request, self.request = self.request, None
            if request is None:
                time.sleep(SECONDS_IDLE)
                continue
            link.busy(SECONDS_BUSY)
            if (result := self.play(request, link.go)) is not None:
                link.report({"result": result})
        self.close()

    def play(
        self,
        request: Request,
        going: Callable[[], bool] = lambda: True,
        more: Callable[[], bool] = lambda: True,
    ) -> Result | None:
        """As many episodes at a time as there are slots; None if `going`, which is asked now and
        then, says no, or `more`, before each time."""
        begun = time.process_time()
        agent, env = self.built = self.built or self.plan.build()
        self.weights.pull(agent.vector, "evaluate")
        if request.averaged:
            agent.use_average()
        seeds = self.plan.seeds(request.stream, request.number, request.episodes)
        parts = []
        for start in range(0, len(seeds), self.plan.slots):
            some = seeds[start : start + self.plan.slots]
            played = play(agent, env, some, going, failed=self.failed) if more() else None
            if played is None:
                return None
            parts.append(played)
        failures, self.failures = self.failures, []
        errors, trace = sum(n for n, _ in failures), failures[0][1] if failures else ""
        seconds = time.process_time() - begun
        return Result(request.identity, Returns.join(parts), seconds, errors, trace)

    def failed(self, errors: int, trace: str) -> None:
        self.failures.append((errors, trace))

    def close(self) -> None:
        if self.built is not None:
            self.built[1].close()
            self.built = None
