"""What an agent is: tensors that move, an `act`, a `learn`; it never learns that processes exist.

The loop that uses an agent, whatever the paradigm:

    agent = make_agent(spec, seed=0, device="cpu")
    Vector(agent)                                   # every tensor becomes a view of one flat vector
    state = agent.initial_state(num_envs)
    action, state, extras = agent.act(obs, state, explore)
    learned = agent.learn(batch)                    # calls self.descend and self.follow
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from gymnasium import Space
from torch import Tensor

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Key:
    """One column of a row: shape, NumPy dtype name, and whether it is kept per step or fragment."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    per: str = "step"

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Spec:
    """What one env and one agent say about themselves; built once, in the parent.

    `keys` lists what a row holds beside `obs` and `action`: the actor's own columns (see `ROW`) and
    the extras the agent emits. `action_space` is the agent's: a Box is always [-1, 1]. An action,
    and so a row, is `action_repeat` env steps; `max_episode_steps` is in env steps.
    """

    observation_space: Space[Any]
    action_space: Space[Any]
    threshold: float | None = None
    max_episode_steps: int | None = None
    action_repeat: int = 1
    rules: Any = None
    keys: Mapping[str, Key] = field(default_factory=dict)

    def with_extras(self, extras: Mapping[str, Key]) -> Spec:
        """The same spec with the columns that an agent adds to every row."""
        return replace(self, keys={**self.keys, **extras})


ROW: Mapping[str, Key] = {
    "reward": Key(),
    "terminated": Key(dtype="bool"),
    "truncated": Key(dtype="bool"),
    "is_first": Key(dtype="bool"),
    "version": Key(dtype="int64"),
}


class Acted(NamedTuple):
    """`action` [B, ...] in the agent's space, `state` for the next call, `extras` for the row."""

    action: np.ndarray
    state: State
    extras: dict[str, np.ndarray]


class Learned(NamedTuple):
    """How many updates the first group made, and what to log: tensors whose mean is told.

    `priority` [N], where there is one, is what the replay is told of the batch's rows: |TD error|.
    """

    updates: int
    metrics: dict[str, Tensor]
    priority: Tensor | None = None


class Batch(dict[str, Tensor]):
    """Layout by key, also as attributes. Which of two layouts it has is the replay's business:

    drawn rows [N, ...]: obs action reward discount next_obs weight index version, and the agent's
    extras. `reward` is already summed over n steps, `discount` = gamma^n, 0 where terminated;
    `weight` multiplies a row's loss, `index` names the rows to the replay.

    whole fragments side by side, time first [T, B, ...]: obs action reward terminated truncated
    is_first valid version, the agent's extras, next_obs (the true successor: at an episode's end
    its own last observation), discount = gamma, 0 where terminated, and weight, which is `valid` as
    a number: rows that an autoreset made up are garbage and weigh 0, and the row before one always
    ends an episode. Extras kept per fragment are [B, ...]: what they were at its first step.
    """

    def __getattr__(self, key: str) -> Tensor:
        try:
            return self[key]
        except KeyError as error:
            raise AttributeError(key) from error


class Group:
    """Tensors that one loss moves, and how: Adam's lr, betas, eps and an optional norm to clip at.

    `Vector` fills `flat`, `grad`, `m`, `v` and `step`: the group's values, gradient and Adam's
    moments as one vector each, and Adam's step count as a float32 scalar.
    """

    def __init__(
        self,
        tensors: list[Tensor],
        *,
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        clip: float | None = None,
    ) -> None:
        at_least(0, lr=lr)
        above(0, eps=eps, clip=clip)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"agent.betas={[*betas]} must be two numbers in [0, 1)")
        self.tensors, self.lr, self.eps, self.clip = tensors, lr, eps, clip
        self.betas = (betas[0], betas[1])
        self.flat = self.grad = self.m = self.v = self.step = torch.empty(0)
        self.grads: list[Tensor] = []
        self.count = np.zeros(1, dtype=np.int64)


class Optim(Protocol):
    """Where a gradient goes. When `apply` returns, the agent holds the parameters of that group
    that the next line of `learn` shall see."""

    lr_factor: float

    def apply(self, group: Group) -> None: ...

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None: ...


class Rng:
    """The two generators an agent draws from; whoever runs the agent seeds them (see `draws`)."""

    def __init__(self, device: torch.device) -> None:
        self.act = torch.Generator()
        self.learn = torch.Generator(device=device)


class Agent(abc.ABC):
    """An algorithm. Subclasses fill `groups`, `slow` and `parts` in their constructor.

    groups: moved by gradients, in counting order: the steps of the first are "updates".
    slow:   moved otherwise (targets, averages, normaliser statistics).
    follows: which slow entry lags behind which group, and its rate: {"target": ("critic", tau)}.
    sums:   which slow entries are one tensor [2, n] whose rows add up to the number that is meant:
    a
            float32 sum and what rounding took off it (see parts/normal.py).
    parts:  names of groups and slow tensors that a reader needs: "act" and "evaluate".
    needs:  what it asks of the env: "box" or "discrete" actions, "vector" or "image" observations.
    offers, replays, extras: what it can do, the replays it learns from, the columns it emits.
    progress: the share of the env-step budget that is done, in [0, 1]; 0 at construction. The loop
    sets it before `learn`, so schedules may depend on it (see parts/schedule.py); a copy of the
    agent that only acts keeps 0.
    """

    needs: frozenset[str] = frozenset()
    offers: frozenset[str] = frozenset()
    replays: frozenset[str] = frozenset({"uniform"})
    n_step: int = 1
    gamma: float = 0.99

    def __init__(self, spec: Spec, seed: int, device: str | torch.device = "cpu") -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.progress = 0.0
        self.rng = Rng(self.device)
        self.groups: dict[str, Group] = {}
        self.slow: dict[str, list[Tensor]] = {}
        self.follows: dict[str, tuple[str, float]] = {}
        self.sums: set[str] = set()
        self.parts: dict[str, list[str]] = {}
        self.extras: dict[str, Key] = {}
        self.optim: Optim
        self.vector: Any = None

    @abc.abstractmethod
    def initial_state(self, n: int) -> State:
        """What the agent carries between steps of `n` env slots: arrays [n, ...], maybe none."""

    @abc.abstractmethod
    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        """Actions for obs [B, ...]. `explore` is a number, one per env [B], or None: greedy."""

    @abc.abstractmethod
    def learn(self, batch: Batch) -> Learned:
        """One step of the algorithm on one batch."""

    def descend(self, group: str, loss: Tensor) -> None:
        """Moves one group down the gradient of `loss` with respect to that group only."""
        g = self.groups[group]
        torch._foreach_copy_(g.grads, torch.autograd.grad(loss, g.tensors))
        self.optim.apply(g)

    def follow(self, target: str) -> None:
        """target <- target + tau (group - target), as `follows` says; both are laid out alike."""
        group, tau = self.follows[target]
        self.optim.follow(self.vector.flat(target), self.vector.flat(group), tau)

    def judge(self) -> None:  # noqa: B027
        """Puts averaged weights, where there are any, in the acting ones' place: for an evaluator's
        own copy alone."""

    def rebound(self) -> None:  # noqa: B027
        """Called when the tensors' storage has moved, for caches of views (nothing by default)."""


def at_least(least: float, group: str = "agent", /, **settings: float | None) -> None:
    """Raises ValueError, in a sentence that names the key, for a setting below `least`. As with the
    next two, None is no number and passes, and NaN does not."""
    for name, value in settings.items():
        if value is not None and not value >= least:
            raise ValueError(f"{group}.{name}={value} must be {least:g} or more")


def above(bound: float, group: str = "agent", /, **settings: float | None) -> None:
    """Raises ValueError for a setting that is not above `bound`."""
    for name, value in settings.items():
        if value is not None and not value > bound:
            raise ValueError(f"{group}.{name}={value} must be above {bound:g}")


def within(least: float, most: float, group: str = "agent", /, **settings: float | None) -> None:
    """Raises ValueError for a setting outside [least, most]."""
    for name, value in settings.items():
        if value is not None and not least <= value <= most:
            raise ValueError(f"{group}.{name}={value} must lie in [{least:g}, {most:g}]")
