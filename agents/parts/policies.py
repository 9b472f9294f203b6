"""Stochastic policies without squashing: a head that turns a network's output into actions, the
tanh network below it, and an LSTM that remembers for both.

Heads draw in NumPy, without autograd, and give log-probabilities of a batch in torch; both compute
the same log pi(a|s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import Tensor

from agents.base import Batch, Key, Spec
from agents.parts.categorical import Categorical, Categoricals

# T time, B env slots or transitions, I inputs, U units of the LSTM, A action dimensions or choices

LOG_2PI = math.log(2 * math.pi)
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # where a net gives the log std: keeps exp() finite

FORGET_BIAS = 3.0  # keeps 95 % a step; with 1 (73 %) none of 4 seeds learned Recall, with 3 two did


class Head(Protocol):
    """A distribution over actions, its parameters x [..., size] float32 a network's output.

    `extras`: the columns that `draw` emits besides the action. `tensors`: parameters of its own.
    """

    size: int
    extras: dict[str, Key]
    tensors: list[Tensor]

    def greedy(self, x: np.ndarray) -> np.ndarray:
        """The most likely actions, x [B, size] -> [B, ...]."""
        ...

    def mode(self, x: Tensor) -> Tensor:
        """`greedy` in torch."""
        ...

    def draw(
        self, x: np.ndarray, generator: torch.Generator
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions [B, ...] and their extras, among them `logp` [B], log pi of what was drawn."""
        ...

    def logp(self, x: Tensor, batch: Batch) -> Tensor:
        """log pi [...] of the batch's actions under x [..., size], with gradient."""
        ...

    def entropy(self, x: Tensor) -> Tensor:
        """The entropy in nats, [...], with gradient."""
        ...

    def limit(self, log_std: float) -> None:
        """Lowers deviations of its own that are above exp(log_std), in place."""
        ...


def make_head(
    spec: Spec, *, log_std: float, state_std: bool, device: torch.device | str = "cpu"
) -> Head:
    """The head that an action space asks for. Raises ValueError for one that has none."""
    space = spec.action_space
    if isinstance(space, Discrete):
        return Categorical(int(space.n))
    if isinstance(space, MultiDiscrete) and len(space.shape) == 1 and not space.start.any():
        return Categoricals([int(n) for n in space.nvec])
    if isinstance(space, Box) and len(space.shape) == 1:
        return Gaussian(space.shape[0], log_std=log_std, state_std=state_std, device=device)
    has = " ".join(str(space).split())
    raise ValueError(
        "the agent needs actions in Box(n,), Discrete or MultiDiscrete ones, but the env has"
        f" {has}; choose an env.id with such actions"
    )


class Gaussian:
    """Independent normals around a mean that may leave [-1, 1]; x [..., A], or [..., 2A].

    What was drawn is the extra `raw`, and `logp` is its density; the action is `raw` clipped to
    [-1, 1], which the env sees and no density needs. The log std is a parameter of its own, the
    same everywhere (Schulman et al. 2015, arXiv:1502.05477), or, with `state_std`, the second half
    of x plus `log_std`.
    """

    def __init__(
        self, dims: int, *, log_std: float, state_std: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.dims, self.state_std, self.start = dims, state_std, log_std
        self.size = 2 * dims if state_std else dims
        self.extras = {"logp": Key(), "raw": Key((dims,))}
        self.log_std = torch.full(
            (dims,), float(log_std), device=device, requires_grad=not state_std
        )
        self.tensors = [] if state_std else [self.log_std]

    def greedy(self, x: np.ndarray) -> np.ndarray:
        return clipped(x[..., : self.dims])

    def mode(self, x: Tensor) -> Tensor:
        return x[..., : self.dims].clamp(-1, 1)

    def draw(
        self, x: np.ndarray, generator: torch.Generator
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        noise = torch.randn((len(x), self.dims), generator=generator).numpy()
        mean, log_std = x[:, : self.dims], array(self.log_std)
        if self.state_std:
            log_std = np.minimum(
                np.maximum(x[:, self.dims :] + self.start, LOG_STD_MIN), LOG_STD_MAX
            )
        raw = mean + np.exp(log_std) * noise
        scaled = (raw - mean) * np.exp(-log_std)  # not the noise: raw has been rounded since
        logp = (-0.5 * np.square(scaled) - log_std).sum(-1) - np.float32(0.5 * self.dims * LOG_2PI)
        return clipped(raw), {"logp": logp, "raw": raw}

    def logp(self, x: Tensor, batch: Batch) -> Tensor:
        mean, log_std = self.split(x)
        scaled = (batch["raw"] - mean) * (-log_std).exp()
        return (-0.5 * scaled.square() - log_std).sum(-1) - 0.5 * self.dims * LOG_2PI

    def entropy(self, x: Tensor) -> Tensor:
        mean, log_std = self.split(x)
        return log_std.expand_as(mean).sum(-1) + 0.5 * self.dims * (1 + LOG_2PI)

    @torch.no_grad()
    def limit(self, log_std: float) -> None:
        for tensor in self.tensors:
            tensor.clamp_(max=log_std)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log std, each [..., A] ([A] where it is a parameter)."""
        if not self.state_std:
            return x, self.log_std
        mean, log_std = x.chunk(2, -1)
        return mean, (log_std + self.start).clamp(LOG_STD_MIN, LOG_STD_MAX)


class Net:
    """tanh layers, then a linear one. Orthogonal weights of gain sqrt(2), `gain` for the last
    layer, and biases of zero (Engstrom et al. 2020, arXiv:2005.12729)."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        gain: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.tensors: list[Tensor] = []
        gains = [math.sqrt(2)] * (len(sizes) - 2) + [gain]
        for shape, scale in zip(pairwise(sizes), gains, strict=True):
            for tensor in (orthogonal(shape, scale, generator), torch.zeros(shape[1])):
                self.tensors.append(tensor.to(device).requires_grad_())

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., I] -> [..., O]"""
        for i in range(0, len(self.tensors), 2):
            x = torch.nn.functional.linear(x if i == 0 else x.tanh(), *self._layer(i))
        return x

    def _layer(self, i: int) -> tuple[Tensor, Tensor]:
        return self.tensors[i].mT, self.tensors[i + 1]

    def forward_numpy(self, x: np.ndarray) -> np.ndarray:
        """The same in NumPy, [..., I] -> [..., O] float32: half of torch's time for a few
        observations."""
        for i in range(0, len(self.tensors), 2):
            x = (x if i == 0 else np.tanh(x)) @ array(self.tensors[i]) + array(self.tensors[i + 1])
        return x


class LSTM:
    """Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000) that begin almost open.

    A state [B, 2U] is h and c side by side, zeros at an episode's start.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.units = units
        bias = torch.zeros(4 * units)
        bias[units : 2 * units] = FORGET_BIAS
        drawn = [orthogonal((size, 4 * units), 1.0, generator) for size in (inputs, units)]
        self.tensors = [t.to(device).requires_grad_() for t in (*drawn, bias)]

    def __call__(self, x: Tensor, state: Tensor, is_first: Tensor) -> Tensor:
        """States after each step, [T, B, 2U], from x [T, B, I], the state [B, 2U] before the first
        step and where episodes begin, [T, B]: there the state is zero again."""
        inward, across, bias = self.tensors
        pushed = torch.nn.functional.linear(x, inward.mT, bias)
        keep = (~is_first).to(x.dtype).unsqueeze(-1)
        states = []
        for push, kept in zip(pushed, keep, strict=True):
            h, c = (state * kept).chunk(2, -1)
            state = _gated(torch.addmm(push, h, across), c)
            states.append(state)
        return torch.stack(states)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        """One step of many states at once, [..., I] and [..., 2U] -> [..., 2U]."""
        inward, across, bias = self.tensors
        h, c = state.chunk(2, -1)
        return _gated(torch.nn.functional.linear(x, inward.mT, bias) + h @ across, c)

    def step_numpy(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """`step` in NumPy."""
        inward, across, bias = map(array, self.tensors)
        h, c = np.split(state, 2, -1)
        i, f, o, new = np.split(x @ inward + h @ across + bias, 4, -1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(new)
        return np.concatenate((_sigmoid(o) * np.tanh(c), c), -1)


def _gated(gates: Tensor, c: Tensor) -> Tensor:
    """The next state from the gates' inputs [..., 4U] (input, forget, output, new) and c."""
    units = c.shape[-1]
    i, f, o = gates[..., : 3 * units].sigmoid().chunk(3, -1)
    c = f * c + i * gates[..., 3 * units :].tanh()
    return torch.cat((o * c.tanh(), c), -1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """By tanh, which cannot overflow."""
    half: np.ndarray = 0.5 * np.tanh(0.5 * x)
    return half + 0.5


def orthogonal(shape: tuple[int, int], gain: float, generator: torch.Generator) -> Tensor:
    """A matrix [in, out] with orthogonal rows or columns (Saxe et al. 2014, arXiv:1312.6120)."""
    return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)


def clipped(action: np.ndarray) -> np.ndarray:
    """Within [-1, 1]; two ufuncs, as np.clip costs three times as much on small arrays."""
    return np.asarray(np.minimum(np.maximum(action, -1.0), 1.0))


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's values, on a CPU without a copy."""
    return np.asarray(tensor.detach().cpu())
