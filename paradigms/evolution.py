"""Workers play perturbed policies, and each rebuilds every update from all returns; no gradients.

worker i: for its pairs: weights +- sigma noise(seed, generation, index) -> a greedy episode each
          (index, return, length) -> [Scores] -> wait for all returns of the generation
          the same noises again, weighed by the returns -> the same update in every worker
          (a policy that normalises: some observations -> [Scores] -> the same running sums)

ES: Salimans et al. 2017, Evolution Strategies as a Scalable Alternative to Reinforcement Learning,
arXiv:1703.03864. ARS: Mania et al. 2018, Simple random search provides a competitive approach to
reinforcement learning, arXiv:1803.07055.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le

from agents.parts.draws import key
from paradigms.base import Job, Progress, Result
from paradigms.errors import NotFinite, PolicyNotFinite
from paradigms.loop.build import Components, without_replay
from paradigms.loop.drive import Driver
from paradigms.loop.episodes import Sample, play
from paradigms.loop.every import Every
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.evolved import Best, Evolved, Ranked, Rule
from paradigms.weights.published import Weights
from paradigms.weights.scores import Scores

OBSERVED = 32  # vector steps of an episode whose observations go into the running sums, at most
# It stores no transition, never calls `learn`, and plays with explore=None on its newest weights.
IGNORES = frozenset(
    "replay explore rollout_length warmup updates_per_env_step max_ahead policy_lag".split()
)


@dataclass(frozen=True)
class ES:
    """pairs: mirrored perturbations of a generation. sigma: their standard deviation. lr: Adam's
    learning rate. weight_decay: of the evolved weights, a coefficient of L2 in the gradient.

    Deviations from the paper: no virtual batch normalisation, so that `agent.encoder=conv` is
    perturbed as it is; no action noise and no adaptive limit of episodes, which are cut by the
    env's time limit alone.
    """

    pairs: Annotated[int, Ge(1)] = 16
    sigma: Annotated[float, Ge(1e-6), Le(10)] = 0.1
    lr: Annotated[float, Gt(0)] = 0.02
    weight_decay: Annotated[float, Ge(0), Le(1)] = 0.0

    name = "es"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()
    ignores = IGNORES

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """See `evolve`."""
        rule = Ranked(self.sigma, self.weight_decay)
        return (yield from evolve(job, rule, pairs=self.pairs, sigma=self.sigma, lr=self.lr))


@dataclass(frozen=True)
class ARS:
    """pairs: mirrored perturbations of a generation. top: the pairs that are learned from, those
    with the best episodes. sigma: the standard deviation of the perturbations, nu in the paper. lr:
    the step size.

    Deviations from the paper: the policy is the agent's, which is linear only if its settings say
    so and begins where it begins; observations are normalised (V2) if the agent does that.
    """

    pairs: Annotated[int, Ge(1)] = 16
    top: Annotated[int, Ge(1)] = 8
    sigma: Annotated[float, Ge(1e-6), Le(10)] = 0.1
    lr: Annotated[float, Gt(0)] = 0.02

    name = "ars"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()
    ignores = IGNORES

    def __post_init__(self) -> None:
        if self.top > self.pairs:
            raise ValueError(
                f"paradigm.top={self.top} must be at most paradigm.pairs={self.pairs}, the pairs"
                " that it chooses from"
            )

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """See `evolve`."""
        rule = Best(self.top)
        return (yield from evolve(job, rule, pairs=self.pairs, sigma=self.sigma, lr=self.lr))


def evolve(
    job: Job, rule: Rule, *, pairs: int, sigma: float, lr: float
) -> Generator[Progress, None, Result]:
    """Starts `job.workers` processes, which are replaced if they die. Yields a Progress at each of
    their reports. A generation is one update; the run ends after the first that reaches the budget
    of env steps. Its bits depend on the seed, but not on the number of workers.

    An agent whose `act` reads running sums (`Agent.sums`) gets a sample of the observations of each
    generation after its update, by `Agent.observe`: all that the paradigms above do by `learn`.

    Raises Failed if workers fail too often, Deadlock inline, ValueError for an agent that cannot be
    evolved.
    """
    run = Driver(without_replay(job), workers=job.workers)
    generation = Evolved(run.agent, seed=job.seed, sigma=sigma).generation
    weights = Weights(run.vector, "all", version=generation)
    normalises = bool(run.agent.sums & {*run.agent.parts["act"]})
    scores = Scores(
        pairs,
        job.workers,
        generation=generation,
        env_steps=run.ledger.total("added"),
        rows=OBSERVED * job.num_envs if normalises else 0,
        shape=job.spec.observation_space.shape or (),
    )
    crew = Crew(job.crew, job.order, journal=job.journal)
    for rank in range(job.workers):
        args = (run.components, rank, weights, scores, rule, sigma, lr)
        crew.add(f"worker-{rank}", EvolvingWorker, *args, rank=rank, restartable=True)
    return (yield from run.follow(crew, weights, moved=(scores,), counted=(weights,)))


class EvolvingWorker(Role):
    """A worker: play its pairs, wait for everybody's returns, rebuild the update; and again.

    Worker 0 also counts, and publishes the weights for the evaluator, checkpoints and workers that
    replace others: no worker reads them otherwise.
    """

    def __init__(
        self,
        components: Components,
        rank: int,
        weights: Weights,
        scores: Scores,
        rule: Rule,
        sigma: float,
        lr: float,
    ) -> None:
        self.components, self.rank = components, rank
        self.weights, self.scores, self.rule = weights, scores, rule
        self.sigma, self.lr = sigma, lr

    def run(self, link: Link) -> None:
        parts, rank, scores = self.components, self.rank, self.scores
        parts.ledger.count("lost", rank, int(link.life > 0))  # the episodes of the one it replaces
        self.agent = parts.agent()
        self.weights.pull(self.agent.vector)  # a resumed run, or who is replaced, has moved already
        self.evolved = Evolved(self.agent, seed=parts.job.seed, sigma=self.sigma)
        self.env = parts.job.make_env(num_envs=parts.job.num_envs, seed=parts.job.seed, rank=rank)
        if link.life and rank == 0:
            self.settle()
        generation, most = self.evolved.generation, parts.job.budget.env_steps
        should_log = Every(seconds=1.0)
        while link.go(until=lambda: scores.env_steps(generation) >= most):  # noqa: B023
            if not scores.has(rank, generation):  # else a worker played it that this one replaces
                with parts.ledger.timed("collecting", rank):
                    if not self.play(link, generation):
                        break
                scores.finish(rank, generation)
            if not link.wait("returns", lambda: scores.complete(generation)):  # noqa: B023
                break
            with parts.ledger.timed("learning", rank):
                link.busy(600)
                self.move(generation)
            if rank == 0:
                self.count(generation)
                if should_log():
                    link.report(self.metrics(generation))
            generation += 1
        self.env.close()

    def play(self, link: Link, generation: int) -> bool:
        """Both halves of the worker's pairs, one episode in each env slot, with the same seeds for
        the two and others for every pair and generation; a half's return is its episodes' mean.
        False if the crew is asked to stop meanwhile."""
        job, steps, episodes = self.components.job, 0, list[tuple[float, int]]()
        failed = partial(self.components.ledger.failed, self.rank)
        for index in self.scores.share(self.rank):
            seeds = [
                key(job.seed, "evolve", generation, index, slot) >> 33
                for slot in range(job.num_envs)
            ]
            for half, sign in enumerate((1, -1)):
                self.evolved.perturb(generation, index, sign)
                seen = Sample(OBSERVED) if self.scores.rows else None
                if not link.go():
                    return False
                played = play(self.agent, self.env, seeds, link.go, seen, failed=failed)
                if played is None:
                    return False
                if not np.isfinite(played.returns).all():
                    raise NotFinite(
                        f"the env of worker {self.rank} returned a NaN or an infinity as a reward;"
                        " check env.id and env.kwargs"
                    )
                length = int(played.lengths.sum())
                gained = float(played.returns.mean())
                rows = None if seen is None else np.concatenate(seen.kept)
                self.scores.write(generation, index, half, gained, length, rows)
                episodes += zip(played.returns.tolist(), played.lengths.tolist(), strict=True)
                steps += length
        self.components.ledger.collected(self.rank, steps // job.spec.action_repeat, episodes)
        return True

    def move(self, generation: int) -> None:
        """The update that every worker makes from the same returns, to the same bits."""
        job, scores = self.components.job, self.scores
        scores.go_on(generation)
        progress = min(1.0, scores.env_steps(generation + 1) / job.budget.env_steps)
        shares = self.rule.shares(scores.returns(generation))
        lr = self.lr * job.lr_schedule(progress)
        self.evolved.move(generation, self.rule, shares, lr=lr)
        if scores.rows:
            obs = torch.from_numpy(scores.observations(generation))
            self.agent.observe(obs.to(job.device))
        if not self.evolved.finite():
            raise PolicyNotFinite(
                f"generation {generation} moved the policy to a NaN or an infinity; lower"
                " paradigm.lr"
            )

    def count(self, generation: int) -> None:
        """Publishes the weights, and counts the generation: one update, and the env steps whose
        returns are in it."""
        ledger, scores = self.components.ledger, self.scores
        self.weights.publish(self.agent.vector, generation + 1)
        lengths = scores.lengths(generation) // self.components.job.spec.action_repeat
        for rank in range(scores.workers):
            steps = int(lengths[list(scores.share(rank))].sum())
            ledger.stored(rank, steps, ledger.total("updates"))
        ledger.learned(0, 1)

    def settle(self) -> None:
        """Counts a generation that the worker 0 which this one replaces had published, and not yet
        counted."""
        ledger, generation = self.components.ledger, self.evolved.generation
        if generation > ledger.total("updates"):
            steps = self.scores.env_steps(generation) - ledger.total("added")
            repeat = self.components.job.spec.action_repeat
            ledger.stored(0, steps // repeat, ledger.total("updates"))
            ledger.learned(0, 1)

    def metrics(self, generation: int) -> dict[str, float]:
        """Scalars of a generation by TensorBoard name."""
        returns = self.scores.returns(generation)
        return {
            "generation/return_mean": float(returns.mean()),
            "generation/return_std": float(returns.std()),
            "generation/return_max": float(returns.max()),
            "policy/norm": float(
                np.sqrt(sum(float(c.square().sum()) for c in self.evolved.centre))
            ),
        }
