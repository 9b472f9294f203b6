"""What is put into the processes of a run that is watched: envs that say when they step, and agents
that check every batch and fail when they are asked to."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from agents.base import Acted, Agent, Batch, Learned, Spec, State
from benchmarks.breaking.world import check_batch
from paradigms.runtime.memory import Shared

NOTHING, RAISE, EXIT, HANG, NAN = range(5)  # what a process is asked to do at its next chance
FIRST, LAST, OBEYED = range(3)
STEPS, ORDER = range(2)
EXIT_CODE = 13
LEARNER = -1


class Marks:
    """What processes say of themselves, in shared memory; a row a worker, and one for the learner.

    Times are those of the monotonic clock, which all processes share. Each row has one writer, but
    for its order, which the parent gives and the process takes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._times = Shared((workers + 1, 8), np.float64)
        self._counts = Shared((workers + 1, 8), np.int64)

    def first(self, rank: int) -> float:
        """When the newest process of this rank made its first env step; 0.0 for never."""
        return float(self._times.array[rank, FIRST])

    def last(self, rank: int) -> float:
        """When it made its last one."""
        return float(self._times.array[rank, LAST])

    def obeyed(self, rank: int) -> float:
        """When it did what it was asked for last."""
        return float(self._times.array[rank, OBEYED])

    def steps(self) -> int:
        """Valid env steps that all envs have made."""
        return int(self._counts.array[:, STEPS].sum())

    def stepped(self, rank: int, steps: int, *, first: bool) -> None:
        now = time.monotonic()
        self._counts.array[rank, STEPS] += steps
        if first:
            self._times.array[rank, FIRST] = now
        self._times.array[rank, LAST] = now

    def ask(self, rank: int, order: int) -> None:
        self._counts.array[rank, ORDER] = order

    def take(self, rank: int, *orders: int) -> int:
        """What this process has been asked for, if it is one of these, once."""
        order = int(self._counts.array[rank, ORDER])
        if order not in orders:
            return NOTHING
        self._counts.array[rank, ORDER] = NOTHING
        self._times.array[rank, OBEYED] = time.monotonic()
        return order


class WatchedEnvs:
    """A factory of the same envs, which say in `marks` when they step."""

    def __init__(self, make_env: Callable[..., VectorEnv], marks: Marks) -> None:
        self.make_env, self.marks = make_env, marks

    def __call__(self, *, rank: int | None, **settings: Any) -> VectorEnv:
        env = self.make_env(rank=rank, **settings)
        return env if rank is None else Watched(env, self.marks, rank)


class Watched(VectorWrapper):
    def __init__(self, env: VectorEnv, marks: Marks, rank: int) -> None:
        super().__init__(env)
        self.marks, self.rank, self.begun = marks, rank, False
        self.resets = np.zeros(env.num_envs, bool)  # whose next step only resets

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.resets = np.zeros(self.num_envs, bool)
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        self.marks.stepped(self.rank, int((~self.resets).sum()), first=not self.begun)
        self.begun, self.resets = True, (terminated | truncated) & ~self.resets
        return obs, reward, terminated, truncated, info


class WatchedAgents:
    """A factory of the same agents, which check every batch before they learn from it, fragments
    that are consumed once for repetitions, too, and which fail as `marks` asks."""

    def __init__(self, make_agent: Callable[..., Agent], marks: Marks) -> None:
        self.make_agent, self.marks = make_agent, marks

    def __call__(self, spec: Spec, **settings: Any) -> Agent:
        agent = self.make_agent(spec, **settings)
        rank = own_rank()
        if rank is not None:
            watch(agent, self.marks, rank)
        return agent


def watch(agent: Agent, marks: Marks, rank: int) -> None:
    act, learn, consumed = agent.act, agent.learn, set[bytes]()

    def acts(obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        order = marks.take(rank, RAISE, EXIT, HANG)
        if order == RAISE:
            raise RuntimeError("raised on purpose")
        if order == EXIT:
            os._exit(EXIT_CODE)
        if order == HANG:
            os.kill(os.getpid(), signal.SIGSTOP)
        return act(obs, state, explore)

    def learns(batch: Batch) -> Learned:
        who = [row.tobytes() for row in check_batch(batch)]
        if "index" not in batch:  # consumed once
            assert len({*who}) == len(who) and consumed.isdisjoint(who), "consumed twice"
            consumed.update(who)
        if marks.take(rank, NAN):
            batch["reward"].fill_(math.nan)
        return learn(batch)

    agent.act, agent.learn = acts, learns  # type: ignore[method-assign]


def own_rank() -> int | None:
    """The row of this process; None of one that neither collects nor learns."""
    name = multiprocessing.current_process().name
    if name.startswith("worker-"):
        return int(name.removeprefix("worker-"))
    return LEARNER if name == "learner" else None
