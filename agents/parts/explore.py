"""How actors explore: schedules, held random actions, and noise that is correlated in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from agents.base import State, at_least, within
from agents.parts.bounds import NonNegative, Unit, WholeNumber


@dataclass(frozen=True)
class Warmup:
    """Explore fully for the first `steps` env steps (over all workers), then with probability
    `min_random`."""

    steps: WholeNumber
    min_random: Unit = 0.0

    def __post_init__(self) -> None:
        at_least(0, "explore", steps=self.steps)
        within(0, 1, "explore", min_random=self.min_random)

    def __call__(self, steps: int, index: int, count: int) -> float:
        """steps: own env steps x workers; index: this env among all `count` of them."""
        return 1.0 if steps < self.steps else self.min_random


@dataclass(frozen=True)
class Epsilon:
    """1 for the first `warmup` env steps (over all workers), then in a straight line from `start`
    to the env's own end, within `steps`.

    The i-th of n envs ends at final^(1 + epsilon_spread i / (n - 1)): all at `final` where
    epsilon_spread is 0,
    with 0.4 and 7 on Ape-X's ladder (Horgan et al. 2018, arXiv:1803.00933, section 4.1).
    """

    warmup: WholeNumber
    steps: WholeNumber
    start: Unit = 1.0
    final: Unit = 0.05
    epsilon_spread: NonNegative = 0.0

    def __post_init__(self) -> None:
        at_least(
            0, "explore", warmup=self.warmup, steps=self.steps, epsilon_spread=self.epsilon_spread
        )
        within(0, 1, "explore", start=self.start, final=self.final)

    def __call__(self, steps: int, index: int, count: int) -> float:
        """steps: own env steps x workers; index: this env among all `count` of them."""
        if steps < self.warmup:
            return 1.0
        end: float = self.final ** (1 + self.epsilon_spread * index / max(1, count - 1))
        along = min(1.0, (steps - self.warmup) / self.steps) if self.steps else 1.0
        return self.start + along * (end - self.start)


class HeldActions:
    """Uniformly random actions, each held for some steps.

    In MountainCarContinuous white noise reaches the goal in under 1 % of episodes, actions held
    for 16 to 32 steps in about 90 %.
    """

    def __init__(self, size: int, steps: int) -> None:
        at_least(1, action_hold=steps)
        self.size, self.steps = size, steps

    def initial_state(self, n: int) -> State:
        return {
            "held_action": np.zeros((n, self.size), np.float32),
            "held_left": np.zeros(n, np.int64),
        }

    def __call__(
        self,
        action: np.ndarray,
        state: State,
        explore: np.ndarray | float,
        generator: torch.Generator,
    ) -> tuple[np.ndarray, State]:
        """Replaces actions [B, A] of the slots that hold one, or that begin to with p = explore
        [B]."""
        chance = np.broadcast_to(np.asarray(explore, np.float32), (len(action),))
        if not chance.any():
            return action, {**state, "held_left": np.zeros_like(state["held_left"])}
        drawn = torch.rand((len(action), 1 + self.size), generator=generator).numpy()
        left = np.where(chance > 0, state["held_left"], 0)
        begin = (left == 0) & (drawn[:, 0] < chance)
        held = np.where(begin[:, None], 2 * drawn[:, 1:] - 1, state["held_action"])
        left = np.where(begin, self.steps, left)
        holding = left > 0
        new = {"held_action": held, "held_left": np.where(holding, left - 1, 0)}
        return np.where(holding[:, None], held, action), new


class Noise(Protocol):
    """Standard normal noise [B, A] for a policy; what it remembers is in the actor's state."""

    def initial_state(self, n: int) -> State: ...

    def __call__(
        self, state: State, n: int, generator: torch.Generator
    ) -> tuple[np.ndarray, State]: ...


class White:
    """Independent draws."""

    def __init__(self, size: int) -> None:
        self.size = size

    def initial_state(self, n: int) -> State:
        return {}

    def __call__(
        self, state: State, n: int, generator: torch.Generator
    ) -> tuple[np.ndarray, State]:
        return torch.randn((n, self.size), generator=generator).numpy(), {}


class Pink:
    """Noise of spectrum about 1/f: a sum of first-order filters an octave apart, of unit variance.

    Eberhard et al. 2023, Pink Noise Is All You Need (ICLR), draw it by FFT for a whole episode; the
    filters need no episode length and carry their state along.
    """

    octaves = 8

    def __init__(self, size: int) -> None:
        self.size = size
        self.keep = np.exp(-(0.5 ** np.arange(self.octaves)))[:, None].astype(np.float32)
        self.add = np.sqrt(1 - self.keep**2)

    def initial_state(self, n: int) -> State:
        shape = (n, self.octaves, self.size)
        return {"pink": np.zeros(shape, np.float32), "pink_started": np.zeros(n, bool)}

    def __call__(
        self, state: State, n: int, generator: torch.Generator
    ) -> tuple[np.ndarray, State]:
        drawn = torch.randn((n, self.octaves, self.size), generator=generator).numpy()
        moved = self.keep * state["pink"] + self.add * drawn
        pink = np.where(state["pink_started"][:, None, None], moved, drawn)
        noise = pink.sum(1) * np.float32(self.octaves**-0.5)
        return noise, {"pink": pink, "pink_started": np.ones(n, bool)}


def make_noise(name: str, size: int) -> Noise:
    """`white` or `pink` noise of `size` dimensions."""
    kinds: dict[str, type[White | Pink]] = {"white": White, "pink": Pink}
    if name not in kinds:
        raise ValueError(f"agent.noise={name} is unknown; choose one of {', '.join(kinds)}")
    return kinds[name](size)
