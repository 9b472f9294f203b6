"""Evaluation by the workers themselves, as in the source documents' EVALUATE task."""

from __future__ import annotations

import numpy as np

from agents.base import Agent
from paradigms.base import Job
from paradigms.session.evaluator import play

SHARE = 0.2  # of a worker's env steps; the source evaluates with this probability


class Examiner:
    """Plays single greedy episodes with a worker's weights, in a reference env of its own."""

    def __init__(self, job: Job, agent: Agent, rank: int) -> None:
        self.agent, self.steps, self.number = agent, 0, 0
        self.seed = job.seed + 7919 * (rank + 1)
        self.env = job.make_env(num_envs=1, seed=self.seed, rank=None)

    def due(self, collected: int) -> bool:
        """Whether evaluation has had less than its share beside so many collected steps."""
        return self.steps * (1 - SHARE) < collected * SHARE

    def examine(self) -> dict[str, float]:
        """One episode; its return and length."""
        played = play(self.agent, self.env, [self.seed + self.number])
        assert played is not None
        self.number += 1
        self.steps += int(played.lengths.sum())
        return {
            "evaluation/worker_return": float(np.mean(played.returns)),
            "evaluation/worker_length": float(np.mean(played.lengths)),
        }

    def close(self) -> None:
        self.env.close()
