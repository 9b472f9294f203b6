"""Running mean and variance, kept as sums so that joining two of them is joining their samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Normal:
    """Running mean and variance of inputs of `size` dimensions, over all that were seen.

        normal = Normal(size)              # normal.tensors belong into the agent's `slow`
        x = normal(obs)                    # learning, [..., size] in torch
        x = normal.normalise_numpy(obs)               # acting, the same numbers in NumPy
        normal.update(obs[valid])          # in `learn` only, after its last use of `normal(...)`

    `sums` [2, 1 + 2 size] holds the count, sum x and sum x^2. Every rule that merges weights is
    linear in the vector, and a linear mixture of sums weighs means and variances by their counts
    (Chan, Golub and LeVeque 1983): averaging the means themselves would not. The second row holds
    what float32 rounds off the first, without which variances far from zero lose their digits.
    Before the first update nothing is changed. Results are clipped to [-bound, bound].
    """

    def __init__(
        self, size: int, *, bound: float = 10.0, device: torch.device | str = "cpu"
    ) -> None:
        self.size, self.bound = size, bound
        self.sums = torch.zeros((2, 1 + 2 * size), device=device)

    @property
    def tensors(self) -> list[Tensor]:
        return [self.sums]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [size] in float64; 0 and 1 while nothing has been seen."""
        sums = np.asarray(self.sums.detach().cpu()).astype(np.float64).sum(0)
        count = sums[0]
        if count < 1:
            return np.zeros(self.size), np.ones(self.size)
        mean, square = sums[1 : 1 + self.size] / count, sums[1 + self.size :] / count
        return mean, np.sqrt(np.maximum(square - mean * mean, 0) + 1e-8)

    def normalise_numpy(self, x: np.ndarray) -> np.ndarray:
        """x [..., size] in float32, normalised and clipped."""
        mean, std = (moment.astype(np.float32) for moment in self.moments())
        out: np.ndarray = (x - mean) / std
        np.maximum(out, -self.bound, out=out)
        np.minimum(out, self.bound, out=out)
        return out

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., size], normalised and clipped."""
        sums = self.sums.detach().double().sum(0)
        count = sums[:1].clamp(min=1)
        mean, square = (sums[1:] / count).chunk(2)
        std = (square - mean * mean).clamp(min=0).add(1e-8).sqrt()
        seen = sums[:1] >= 1
        mean, std = mean * seen, torch.where(seen, std, 1.0)
        return ((x - mean.to(x.dtype)) / std.to(x.dtype)).clamp_(-self.bound, self.bound)

    def update(self, x: Tensor, weight: float = 1.0) -> None:
        """Adds inputs x [N, size], each counted as `weight` samples.

        The weight should fall with the learning rate: if the statistics go on moving while the
        network no longer does, what it has learned is undone.
        """
        x = x.double()
        count = x.new_full((1,), len(x))
        news = torch.cat((count, x.sum(0), x.square().sum(0)))
        total = self.sums.double().sum(0) + weight * news
        self.sums[0].copy_(total)
        self.sums[1].copy_(total - self.sums[0])


class ReturnScale:
    """Divides rewards by the standard deviation of the discounted return, which is the running sum
    R_t = r_t + gamma R_{t-1} of a slot's rewards so far; no mean is subtracted, which would change
    the task where episodes end (Engstrom et al. 2020, arXiv:2005.12729).

    A batch does not say which slot it goes on with, so R begins at 0 with each batch.
    """

    def __init__(self, gamma: float, *, device: torch.device | str = "cpu") -> None:
        self.gamma = gamma
        self.normal = Normal(1, device=device)

    @property
    def tensors(self) -> list[Tensor]:
        return self.normal.tensors

    def __call__(self, reward: Tensor) -> Tensor:
        return reward / float(self.normal.moments()[1][0])

    def update(self, reward: Tensor, cut: Tensor, valid: Tensor) -> None:
        """reward [T, B] float32; cut [T, B] bool: the return does not go on past this step;
        valid [T, B] bool: steps that count."""
        running = torch.zeros_like(reward[0])
        returns = []
        for r, over in zip(reward, cut, strict=True):
            returns.append(running + r)
            running = torch.where(over, 0.0, self.gamma * returns[-1])
        self.normal.update(torch.stack(returns)[valid].unsqueeze(-1))


def standardised(x: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 within the batch, [N]."""
    centred = x - x.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
