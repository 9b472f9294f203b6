"""How good is the policy, really? Greedy episodes on the reference env, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv

from agents.base import Agent, Spec
from agents.parts.draws import key
from agents.parts.vector import Vector
from paradigms.base import Snapshot
from paradigms.runtime.crew import Crew, Link, Report, Role
from paradigms.runtime.memory import Shared


class Returns(NamedTuple):
    """The undiscounted return [N] and the length in env steps [N] of N episodes."""

    returns: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """What the policy of `snapshot` reached; the snapshot says when it was taken. confirming: on
    the seeds that a solving policy is measured on."""

    snapshot: Snapshot
    returns: np.ndarray
    lengths: np.ndarray
    confirming: bool = False

    @property
    def mean(self) -> float:
        return float(self.returns.mean())


@dataclass(frozen=True)
class Plan:
    """How to evaluate: `slots` episodes at a time, on seeds of the evaluation's own stream.

    every_seconds, share: how often at most, and how much of a core it may take on average.
    """

    make_agent: Callable[..., Agent]
    make_env: Callable[..., VectorEnv[Any, Any, Any]]
    spec: Spec
    slots: int = 20
    seed: int = 0
    every_seconds: float | None = 1.0
    share: float = 0.1

    def build(self) -> tuple[Agent, VectorEnv[Any, Any, Any]]:
        agent = self.make_agent(self.spec, seed=self.seed, device="cpu")
        Vector(agent)
        return agent, self.make_env(num_envs=self.slots, seed=self.seed, rank=None)

    def seeds(self, stream: str, number: int, count: int) -> list[int]:
        """Env seeds below 2^31, others for every (seed, stream, number)."""
        return [key(stream, self.seed, number, i) >> 33 for i in range(count)]


def play(
    agent: Agent,
    env: VectorEnv[Any, Any, Any],
    seeds: list[int],
    going: Callable[[], bool] = lambda: True,
) -> Returns | None:
    """One greedy episode for each seed, in as many slots of `env`; None if `going` says no.

    A slot whose episode is over no longer counts; it ends with the longest one.
    """
    n, count = env.num_envs, len(seeds)
    assert 0 < count <= n, f"{count} episodes do not fit into {n} env slots"
    slots: Any = [*seeds, *(seeds[0] for _ in range(n - count))]
    obs, _ = env.reset(seed=slots)
    state = agent.initial_state(n)
    returns, lengths = np.zeros(n), np.zeros(n, np.int64)
    running = np.arange(n) < count
    while running.any():
        acted = agent.act(np.asarray(obs), state, None)
        obs, reward, terminated, truncated, _ = env.step(acted.action)
        state = acted.state
        returns += np.where(running, reward, 0.0)
        lengths += running
        running &= ~(terminated | truncated)
        if lengths.max() % 64 == 0 and not going():
            return None
    return Returns(returns[:count], lengths[:count] * agent.spec.action_repeat)


class Evaluator:
    """Evaluates one snapshot at a time while training goes on; nobody waits for it.

    with Evaluator(plan, size=...) as evaluator:
        if evaluator.due(in_a_row): evaluator.offer(progress.snapshot("evaluate"))
        for evaluation in evaluator.poll(): ...
        evaluator.measure(snapshot, 100)                      # after training; blocks

    The next evaluation waits for `every_seconds`, and until the CPU time of the last one is `share`
    of what has passed, except after a success: then it comes at once, until there are three in a
    row.
    """

    def __init__(self, plan: Plan, *, size: int, where: str = "process", number: int = 0) -> None:
        """size: floats of the part "evaluate"; number: evaluations begun before (when resuming)."""
        self.plan, self.size, self.number = plan, size, number
        self._desk = Desk(size, plan.slots)
        self._copy: Snapshot | None = None
        self._confirming = False
        self._waiting: list[list[int]] = []  # seeds still to be asked for, a list for each question
        self._parts: list[Returns] = []
        self._earliest = 0.0
        self._looked = 0.0
        self._crew: Crew | None = None
        self._reports: Iterator[Report] = iter(())
        self._player = EvaluationWorker(plan, self._desk)
        if where == "process":
            self._crew = Crew("process", seconds_to_stop=2.0)
            self._crew.add("evaluator", EvaluationWorker, plan, self._desk, restartable=True)
            self._reports = self._crew.run(tick=0.0)
            next(self._reports)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its process; what it was at is given up."""
        if self._crew is not None:
            self._crew.stop()
            self._reports.close()  # type: ignore[attr-defined]
            self._crew = None

    @property
    def free(self) -> bool:
        """Whether it is at nothing."""
        return self._copy is None

    def due(self, in_a_row: int = 0) -> bool:
        """Whether a new snapshot is wanted now; `in_a_row`: successes up to the last evaluation."""
        if not self.free or self.plan.every_seconds is None:
            return False
        return 0 < in_a_row < 3 or time.monotonic() >= self._earliest

    def offer(self, snapshot: Snapshot) -> None:
        """Takes the snapshot to evaluate."""
        self._earliest = time.monotonic() + (self.plan.every_seconds or 0.0)
        self._begin(snapshot, self.plan.seeds("evaluate", self.number, self.plan.slots))
        self.number += 1

    def confirm(self, snapshot: Snapshot, episodes: int) -> None:
        """Takes a snapshot to play on the seeds of `measure`; `poll` tells of it when it is
        done."""
        self._begin(snapshot, self.plan.seeds("measure", 0, episodes), confirming=True)

    def poll(self) -> list[Evaluation]:
        """The evaluations that have ended since, one at most. Raises Failed with the process."""
        if self._copy is None or not self._answered():
            return []
        self._parts.append(self._desk.answer())
        if self._waiting:
            self._ask(self._copy, self._waiting.pop(0))
            return []
        snapshot, self._copy = self._copy, None
        rest = self._desk.cpu * (1 / self.plan.share - 1)
        self._earliest = max(self._earliest, time.monotonic() + rest)
        return [Evaluation(snapshot, *_joined(self._parts), self._confirming)]

    def finish(self) -> list[Evaluation]:
        """Waits for what is under way."""
        ended: list[Evaluation] = []
        while not self.free and not ended:
            ended = self.poll()
            time.sleep(0 if ended or self._answered() else 0.01)
        return ended

    def measure(
        self, snapshot: Snapshot, episodes: int, number: int = 0, *, averaged: bool = False
    ) -> Returns:
        """So many episodes of a policy, the same seeds for the same `number`; blocks.

        averaged: judge the running mean of the weights in place of the weights themselves.
        """
        self.finish()
        parts = []
        for seeds in self._questions(self.plan.seeds("measure", number, episodes)):
            self._ask(snapshot, seeds, averaged=averaged)
            while not self._answered():
                time.sleep(0.005)
            parts.append(self._desk.answer())
        return _joined(parts)

    def _questions(self, seeds: list[int]) -> list[list[int]]:
        """As many at a time as there are slots."""
        slots = self.plan.slots
        return [seeds[start : start + slots] for start in range(0, len(seeds), slots)]

    def _begin(self, snapshot: Snapshot, seeds: list[int], *, confirming: bool = False) -> None:
        self._copy, self._confirming, self._parts = snapshot, confirming, []
        first, *self._waiting = self._questions(seeds)
        self._ask(snapshot, first)

    def _ask(self, snapshot: Snapshot, seeds: list[int], *, averaged: bool = False) -> None:
        self._desk.ask(snapshot, seeds, averaged)
        if self._crew is None:
            self._player.serve(lambda: True)

    def _answered(self) -> bool:
        now = time.monotonic()
        if self._crew is not None and now - self._looked > 0.2:
            self._looked = now
            next(self._reports, None)  # raises Failed if it died for good
        return self._desk.answered


def _joined(parts: list[Returns]) -> Returns:
    return Returns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Desk:
    """Shared memory for one question and its answer: weights and seeds, returns and lengths.

    The asker writes `asked` last, the player `done`.
    """

    def __init__(self, size: int, slots: int) -> None:
        self.floats = Shared(size, np.float32)
        self.seeds = Shared(slots, np.int64)
        self.returns = Shared(slots, np.float64)
        self.lengths = Shared(slots, np.int64)
        self.words = Shared(4, np.int64)  # asked, done, episodes, averaged
        self.seconds = Shared(1, np.float64)

    @property
    def answered(self) -> bool:
        return bool(self.words.array[0] == self.words.array[1])

    @property
    def cpu(self) -> float:
        """CPU seconds that the last answer took."""
        return float(self.seconds.array[0])

    def ask(self, snapshot: Snapshot, seeds: list[int], averaged: bool) -> None:
        """`evaluate` is a prefix of every larger part, so any snapshot of one will do."""
        self.floats.tensor.copy_(snapshot.floats[: len(self.floats.array)])
        self.seeds.array[: len(seeds)] = seeds
        self.words.array[2:] = len(seeds), averaged
        self.words.array[0] += 1

    def answer(self) -> Returns:
        count = int(self.words.array[2])
        return Returns(self.returns.array[:count].copy(), self.lengths.array[:count].copy())


class EvaluationWorker(Role):
    """Plays what lies on the desk."""

    def __init__(self, plan: Plan, desk: Desk) -> None:
        self.plan, self.desk = plan, desk
        self.built: tuple[Agent, VectorEnv[Any, Any, Any]] | None = None

    def run(self, link: Link) -> None:
        link.busy(600.0)
        self.built = self.plan.build()
        while link.go():
            if self.desk.answered:
                time.sleep(0.02)
                continue
            link.busy(600.0)
            self.serve(link.go)

    def serve(self, going: Callable[[], bool]) -> None:
        """Answers the question on the desk, unless `going` says no meanwhile."""
        begun = time.process_time()
        agent, env = self.built = self.built or self.plan.build()
        desk = self.desk
        Snapshot("evaluate", desk.floats.tensor, agent.vector.counts, 0).into(agent)
        count, averaged = (int(word) for word in desk.words.array[2:])
        if averaged:
            agent.use_average()
        played = play(agent, env, desk.seeds.array[:count].tolist(), going)
        if played is None:
            return
        desk.returns.array[:count], desk.lengths.array[:count] = played
        desk.seconds.array[0] = time.process_time() - begun
        desk.words.array[1] = desk.words.array[0]
