"""A policy that moves without gradients: by noise that every process can draw again."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from agents.base import Agent, Group
from agents.parts.optim import step

# P numbers that are evolved, n mirrored pairs of perturbations


class Rule(Protocol):
    """How the returns of a generation move a policy."""

    def shares(self, returns: np.ndarray) -> np.ndarray:
        """How much of each pair's noise the direction of ascent has, float64 [n], from the returns
        float64 [n, 2] of noise added and subtracted. Zeros if all returns are equal."""
        ...

    def move(self, group: Group, lr: float) -> None:
        """Moves `group.flat` along the ascent in `group.grad`, which may be changed."""
        ...


class Ranked:
    """Evolution strategies (Salimans et al. 2017, arXiv:1703.03864, algorithm 1 with mirrored
    sampling): centred ranks in the place of returns, Adam with the group's betas and eps.

    The direction is the estimator 1/(N sigma) sum_i F_i eps_i over all N = 2n episodes, where the
    mirrored ones have the noise -eps. weight_decay: times the weights, subtracted from it, as in
    the authors' code.
    """

    def __init__(self, sigma: float, weight_decay: float) -> None:
        self.sigma, self.weight_decay = sigma, weight_decay

    def shares(self, returns: np.ndarray) -> np.ndarray:
        shaped = centred_ranks(returns.ravel()).reshape(returns.shape)
        out: np.ndarray = (shaped[:, 0] - shaped[:, 1]) / (returns.size * self.sigma)
        return out

    def move(self, group: Group, lr: float) -> None:
        group.grad.neg_().add_(group.flat, alpha=self.weight_decay)
        step(group, lr=lr)


class Best:
    """Augmented random search (Mania et al. 2018, arXiv:1803.07055, algorithm 2): the `top` pairs
    by max(r+, r-), and a plain step 1/(top std) sum_k (r+ - r-) eps_k, with the standard deviation
    of the returns that are used (the population's, as in the authors' code). V1-t and, where the
    agent normalises observations, V2-t."""

    def __init__(self, top: int) -> None:
        self.top = top

    def shares(self, returns: np.ndarray) -> np.ndarray:
        best = np.argsort(-returns.max(1), kind="stable")[: self.top]
        deviation, out = returns[best].std(), np.zeros(len(returns))
        if deviation > 0:
            out[best] = (returns[best, 0] - returns[best, 1]) / (self.top * deviation)
        return out

    def move(self, group: Group, lr: float) -> None:
        group.flat.add_(group.grad, alpha=lr)


class Evolved:
    """What of an agent is evolved: the groups among the entries of its part "act", P numbers.
    Slow entries (a normaliser's statistics, a running average) and groups that only `learn` reads
    stay as they are.

        evolved.perturb(generation, index, 1); ...play...; evolved.perturb(generation, index, -1)
        evolved.move(generation, rule, rule.shares(returns), lr=lr)

    The noise of a pair is drawn from (seed, generation, index) by a counter-based generator, so
    that processes that start from the same weights and read the same returns move to the same bits.
    Numbers that the greedy policy does not read (of a Gaussian's deviation, say) are perturbed too,
    which changes no return; they drift.

    Raises ValueError for an agent without such a group.
    """

    def __init__(self, agent: Agent, *, seed: int, sigma: float) -> None:
        self.agent, self.seed, self.sigma = agent, seed, sigma
        self.groups = [agent.groups[n] for n in agent.parts["act"] if n in agent.groups]
        if not self.groups:
            raise ValueError(
                f"{type(agent).__name__} acts by no tensor that its gradients move, so there is"
                " nothing to evolve: choose another agent"
            )
        self.size = sum(t.numel() for group in self.groups for t in group.tensors)
        self.centre = [group.flat.clone() for group in self.groups]

    @property
    def generation(self) -> int:
        """How many times the policy has moved, over the whole run."""
        return int(self.groups[0].count[0])

    def perturb(self, generation: int, index: int, sign: int) -> None:
        """Gives the agent the weights plus (sign 1) or minus (-1) sigma times a pair's noise."""
        self._fill(noise(self.seed, generation, index, self.size))
        for group, centre in zip(self.groups, self.centre, strict=True):
            torch.add(centre, group.grad, alpha=sign * self.sigma, out=group.flat)

    def move(self, generation: int, rule: Rule, shares: np.ndarray, *, lr: float) -> None:
        """One update from the pairs' shares float64 [n], whose noise is drawn again and summed in
        float32 in the order of the pairs; and no perturbation any more."""
        ascent = np.zeros(self.size, np.float32)
        for index in np.flatnonzero(shares):
            drawn = noise(self.seed, generation, int(index), self.size)
            drawn *= np.float32(shares[index])
            ascent += drawn
        self._fill(ascent)
        for group, centre in zip(self.groups, self.centre, strict=True):
            group.flat.copy_(centre)
            rule.move(group, lr)
            group.count += 1
            centre.copy_(group.flat)

    def finite(self) -> bool:
        """Whether the weights are."""
        return all(bool(torch.isfinite(centre).all()) for centre in self.centre)

    def _fill(self, numbers: np.ndarray) -> None:
        """Writes float32 [P] into the groups' gradients, whose padding stays 0."""
        at, values = 0, torch.from_numpy(numbers)
        for group in self.groups:
            for view in group.grads:
                view.copy_(values[at : at + view.numel()].view(view.shape))
                at += view.numel()


def noise(seed: int, generation: int, index: int, size: int) -> np.ndarray:
    """The standard normal noise of one pair, float32 [size]: Philox (Salmon et al. 2011, Parallel
    random numbers: as easy as 1, 2, 3), with the seed as its key, and index and generation as the
    high words of its counter, so that no two pairs of a run share a block."""
    bits = np.random.Philox(counter=[0, 0, index, generation], key=[seed, 0])
    drawn: np.ndarray = np.random.Generator(bits).standard_normal(size, dtype=np.float32)
    return drawn


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from -0.5 (the least) to 0.5, float64 [n] for n >= 2 values; equal values share the
    mean of their ranks, so that they all are 0 if all values are equal."""
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    below = np.cumsum(number) - number
    ranks: np.ndarray = (below + (number - 1) / 2)[place] / (len(values) - 1) - 0.5
    return ranks
