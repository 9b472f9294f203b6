"""Greedy episodes, which measure a policy: played by the evaluator and by workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv

from agents.base import Agent
from paradigms.base import Job

EVALUATION_SHARE = 0.2  # of a worker's env steps: the probability of EVALUATE in Stone and Sachdev
TRIES = 100  # at an episode that an env's errors interrupt

OnErrors = Callable[[int, str], None]  # takes how often envs raised, and the first traceback


class Returns(NamedTuple):
    """N episodes. returns: float64 [N], the undiscounted sums of rewards. lengths: int64 [N], in
    env steps (an action repeated k times is k env steps). metrics: what the env says of episodes as
    they end, `info["metrics"]`, by name: float64 [N], NaN where it said nothing."""

    returns: np.ndarray
    lengths: np.ndarray
    metrics: Mapping[str, np.ndarray] = {}

    @classmethod
    def join(cls, parts: Sequence[Returns]) -> Returns:
        """Episodes played one lot after another; there is one at least."""
        returns, lengths = (
            np.concatenate(c) for c in zip(*(part[:2] for part in parts), strict=True)
        )
        missing = [np.full(len(part.returns), np.nan) for part in parts]
        metrics = {
            name: np.concatenate(
                [part.metrics.get(name, nan) for part, nan in zip(parts, missing, strict=True)]
            )
            for name in {name: None for part in parts for name in part.metrics}
        }
        return cls(returns, lengths, metrics)


def means(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Each metric's mean over the episodes that have it; those that none has are left out."""
    known = {name: values[~np.isnan(values)] for name, values in metrics.items()}
    return {name: float(values.mean()) for name, values in known.items() if len(values)}


def play(
    agent: Agent,
    env: VectorEnv[Any, Any, Any],
    seeds: list[int],
    going: Callable[[], bool] = lambda: True,
    seen: Sample | None = None,
    failed: OnErrors = lambda errors, trace: None,
) -> Returns | None:
    """Plays one greedy episode (`explore` None) for each seed, at most one for each slot of `env`.

    env: of any autoreset mode; its first len(seeds) slots count, each until its first termination
    or truncation, and the others are seeded with the first seed and ignored. Blocks until the
    longest episode has ended. going: called about every 64 vector steps; if it is False, the
    episodes are abandoned and the result is None. seen: gets the observations of episodes that go
    on. failed: called with the errors of envs. An episode that one interrupts is begun again in the
    rebuilt env, whose seed follows from the episode's own. Neither the agent's weights nor its
    random generators change. Raises AssertionError if there are no seeds, or more than slots,
    RuntimeError for an episode that was interrupted TRIES times.
    """
    n, count = env.num_envs, len(seeds)
    assert 0 < count <= n, f"{count} episodes do not fit into {n} env slots"
    slots: Any = [*seeds, *(seeds[0] for _ in range(n - count))]
    obs, info = env.reset(seed=slots)
    note_errors(info, failed)
    state = initial = agent.initial_state(n)
    tries = np.zeros(n, np.int64)
    returns, lengths = np.zeros(n), np.zeros(n, np.int64)
    metrics: dict[str, np.ndarray] = {}
    running = np.arange(n) < count
    while running.any():
        if seen is not None:
            seen.add(np.asarray(obs)[running])
        acted = agent.act(np.asarray(obs), state, None)
        obs, reward, terminated, truncated, info = env.step(acted.action)
        state = acted.state
        returns += np.where(running, reward, 0.0)
        lengths += running
        if "env_error" in info:
            note_errors(info, failed)
            again = running & info["env_error"]["interrupted"]
            returns[again], lengths[again] = 0, 0
            state = {k: np.where(_column(again, v), initial[k], v) for k, v in state.items()}
            tries += again
            if tries.max() >= TRIES:
                raise RuntimeError(_hopeless(info["env_error"]))
        ended = running & (terminated | truncated)
        if "metrics" in info and ended.any():
            for name, values in info["metrics"].items():
                if not name.startswith("_"):  # Gymnasium's masks
                    metrics.setdefault(name, np.full(n, np.nan))[ended] = values[ended]
        running &= ~ended
        if lengths.max() % 64 == 0 and not going():
            return None
    told = {name: values[:count] for name, values in metrics.items()}
    return Returns(returns[:count], lengths[:count] * agent.spec.action_repeat, told)


def note_errors(info: Mapping[str, Any], failed: OnErrors) -> None:
    """Tells what a vector env says of errors in a step or reset (envs/rebuilt.py), if there are."""
    if (told := info.get("env_error")) is not None:
        failed(int(told["count"].sum()), next(trace for trace in told["trace"] if trace))


def _column(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A mask [n] that broadcasts over values [n, ...]."""
    return mask.reshape(-1, *[1] * (values.ndim - 1))


def _hopeless(told: Mapping[str, Any]) -> str:
    error = next(trace for trace in told["trace"] if trace).strip().splitlines()[-1]
    return (
        f"the env has interrupted each of {TRIES} tries at an episode, at last by {error}: repair"
        " the env, or change env.id or env.kwargs"
    )


class Sample:
    """Observations of `most` vector steps or fewer, evenly spaced over however many there are."""

    def __init__(self, most: int) -> None:
        self.most, self.every, self.steps = most, 1, 0
        self.kept: list[np.ndarray] = []

    def add(self, obs: np.ndarray) -> None:
        """One step's observations [n, *shape], a copy; n may fall from step to step."""
        if self.steps % self.every == 0:
            if len(self.kept) == self.most:
                self.kept, self.every = self.kept[::2], 2 * self.every
            if self.steps % self.every == 0:
                self.kept.append(obs)
        self.steps += 1


class EvaluationTask:
    """Evaluation by a worker itself: single greedy episodes with the worker's weights, in a
    reference env of its own.

    This is the EVALUATE task of Stone and Sachdev 2019, "Analysis of Concurrent Reinforcement
    Learning Algorithms". Its returns are logged; the evaluator decides whether a run is solved.

        if task.due(actor.steps): ledger.evaluated(rank, *task.run())
    """

    def __init__(
        self, job: Job, agent: Agent, rank: int, failed: OnErrors = lambda errors, trace: None
    ) -> None:
        self.agent, self.failed, self.steps, self.number = agent, failed, 0, 0
        self.seed = job.seed + 7919 * (rank + 1)
        self.env = job.make_env(num_envs=1, seed=self.seed, rank=None)

    def due(self, collected: int) -> bool:
        """Whether evaluation has had less than EVALUATION_SHARE of all env steps of the worker, of
        which `collected` were collected for training."""
        return self.steps * (1 - EVALUATION_SHARE) < collected * EVALUATION_SHARE

    def run(self) -> tuple[float, int]:
        """Plays one episode with the weights that the agent has now, and blocks until it has ended.
        Returns its return and its length in env steps."""
        played = play(self.agent, self.env, [self.seed + self.number], failed=self.failed)
        assert played is not None
        self.number += 1
        gained, length = float(played.returns[0]), int(played.lengths[0])
        self.steps += length
        return gained, length
