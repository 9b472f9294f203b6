"""What an agent is: tensors that move, an `act`, a `learn`; it never learns that processes exist.

The loop that uses an agent, whatever the paradigm:

    agent = make_agent(spec, seed=0, device="cpu")
    Vector(agent)                                   # every tensor becomes a view of one flat vector
    state = agent.initial_state(num_envs)
    action, state, extras = agent.act(obs, state, explore)
    agent.progress = env_steps / budget
    learned = agent.learn(batch)                    # calls self.descend and self.follow

Dimensions: N transitions, T steps, B env slots side by side.
"""

from __future__ import annotations

import abc
import math
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
    """One column of a transition: shape, NumPy dtype name, and whether it is kept per step or per
    fragment."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    per: str = "step"

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Spec:
    """What one env and one agent say about themselves; built once, in the main process.

    `keys` lists a transition's columns: obs, action, the actor's own (see `ROW`) and the agent's
    extras. The spaces are the agent's (see envs/wrappers.py): Box actions in [-1, 1], Discrete ones
    0..n-1. A transition is `action_repeat` env steps; an obs has the last `stack` frames, oldest
    first on the last axis, an episode's first one repeated. `max_episode_steps`: env steps."""

    observation_space: Space[Any]
    action_space: Space[Any]
    threshold: float | None = None  # a return, of one episode
    max_episode_steps: int | None = None
    action_repeat: int = 1
    stack: int = 1
    keys: Mapping[str, Key] = field(default_factory=dict)

    def with_extras(self, extras: Mapping[str, Key]) -> Spec:
        """The same spec with the columns that an agent adds to every transition."""
        return replace(self, keys={**self.keys, **extras})


ROW: Mapping[str, Key] = {
    "reward": Key(),
    "terminated": Key(dtype="bool"),
    "truncated": Key(dtype="bool"),
    "is_first": Key(dtype="bool"),
    "version": Key(dtype="int64"),
}


class Acted(NamedTuple):
    """What `act` returns: `action` [B, *shape] in the agent's action space, float32, or int64 if it
    is Discrete; the `state` for the next call; the `extras` [B, *shape] to store, as declared."""

    action: np.ndarray
    state: State
    extras: dict[str, np.ndarray]


class Learned(NamedTuple):
    """What `learn` returns. updates: optimiser steps made on the first group, 0 for none.
    metrics: tensors without gradient, of any shape, logged as their mean under their TensorBoard
    name. priority: [N] float32 >= 0 without gradient, the new absolute TD errors of the batch's
    transitions, for a replay that draws by them; or None.
    """

    updates: int
    metrics: dict[str, Tensor]
    priority: Tensor | None = None


class Batch(dict[str, Tensor]):
    """Transitions by column, also as attributes, on the agent's device. The replay determines which
    of two layouts a batch has. Columns are float32 unless said otherwise; obs, action and the
    agent's extras have the dtypes of `Spec.keys`.

    Drawn transitions [N, ...]: obs, action, reward, discount, next_obs, weight, index (int64),
    version (int64) and the agent's extras. `reward` is summed over n steps, `discount` is gamma^n,
    0 where the episode terminated; `weight` multiplies a loss; `index` is the replay's name for it.

    Whole fragments side by side, time first [T, B, ...]: obs, action, reward, terminated,
    truncated, is_first, valid (bool), version (int64), the agent's extras, next_obs (the successor
    within the episode: at its end the episode's own last observation), discount (gamma, 0 where
    terminated) and weight (`valid` as a number). The reset step of an autoreset is no transition:
    it has valid=False, weight 0 and arbitrary numbers, and the step before it ends an episode; with
    truncated=True the env raised, and that episode has no end. Extras kept per fragment are
    [B, ...]: their values before its first step.

    A missing column raises AttributeError as an attribute and KeyError as a key.
    """

    def __getattr__(self, key: str) -> Tensor:
        try:
            return self[key]
        except KeyError as error:
            raise AttributeError(key) from error


class Group:
    """Tensors that one loss moves, and how: Adam's lr, betas, eps, and the Euclidean norm at which
    the group's gradient is clipped (None: never). Raises ValueError for values out of range.

    `Vector` fills `flat`, `grad`, `m`, `v`: the group's values, gradient and Adam's moments,
    float32 vectors of one length; `step`: Adam's step count, a float32 scalar; `grads`: views of
    `grad` shaped as `tensors`; `count` [1] int64: optimiser steps made. skipped, in_a_row: steps
    that this process has left out for a gradient that is not finite, in all and since a whole one.
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
        self.skipped = self.in_a_row = 0


class Optim(Protocol):
    """Where a gradient goes. One process calls it from one thread; its vector may be shared with
    other processes that apply at the same time (hogwild). `lr_factor` >= 0 multiplies the learning
    rate of every group; the loop sets it."""

    lr_factor: float

    def apply(self, group: Group) -> None:
        """One optimiser step of a group, from the gradient in `group.grad`, which may be changed
        (clipped); none from one that is not finite. Adds 1 to `group.count`. Then the tensors hold
        the values that the next line of `learn` is to see, and no graph of before may be
        differentiated with respect to them. It may wait for other processes."""
        ...

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        """target <- target + tau (source - target) in place, without gradient: two float32 vectors
        of one length, tau in [0, 1]."""
        ...


class Rng:
    """All an agent draws from: `act` on the CPU, seeded by the actor before every fragment, and
    `learn` on the agent's device, seeded before every `learn` (see parts/draws.py)."""

    def __init__(self, device: torch.device) -> None:
        self.act = torch.Generator()
        self.learn = torch.Generator(device=device)


class Agent(abc.ABC):
    """An algorithm. Subclasses fill `groups`, `slow` and `parts` in their constructor.

    groups: moved by gradients, in counting order: the steps of the first are "updates".
    slow:   moved otherwise (targets, averages, normaliser statistics).
    follows: which slow entry lags behind which group, and its rate: {"target": ("critic", tau)}.
    sums:   which slow entries are one tensor [2, n] whose rows add up to the number that is meant:
            a float32 sum, and what rounding took off it (see parts/normal.py).
    parts:  names of the groups and slow entries that are needed to "act" and to "evaluate".
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
        """What the agent carries between steps of `n` env slots, as at the start of an episode, to
        which the actor puts a slot back: arrays [n, ...] by name, maybe none."""

    @abc.abstractmethod
    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        """Actions for one step of B env slots.

        obs: [B, *obs shape], float32 vectors, uint8 images or, of a space that is `Packed`, their
        bytes. state: of `initial_state(B)` or the last call. explore: how much to explore, one
        number or one a slot [B] float32, whose meaning the class states; None asks for the greedy
        policy, which is what is evaluated, and draws nothing. Other draws come from `rng.act`.
        No argument or tensor is changed; a state moves on in a new array; autograd records nothing.
        """

    @abc.abstractmethod
    def learn(self, batch: Batch) -> Learned:
        """One step of the algorithm on one batch, of the layout that `replays` implies.

        It calls `descend` and `follow` as often as it likes, may change its slow tensors, and reads
        `progress`. Draws come from `rng.learn`. The batch is not changed and not kept. Called with
        gradients enabled. Updates are not made, and 0 is returned, if no transition is valid.
        Raises AssertionError where columns do not fit together.
        """

    def descend(self, group: str, loss: Tensor, *others: str) -> None:
        """Moves one group, and the others that are named, down the gradient of `loss`, a scalar,
        with respect to these groups only; the graph is freed. A loss that is not finite moves
        nothing. Raises RuntimeError if a tensor of them has no part in the loss."""
        moved = [self.groups[name] for name in (group, *others)]
        grads = torch.autograd.grad(loss, [t for g in moved for t in g.tensors])
        torch._foreach_copy_([view for g in moved for view in g.grads], grads)
        bad = not math.isfinite(loss.detach().item())
        for g in moved:
            if bad:
                g.grads[0].fill_(math.nan)  # which nobody steps from
            self.optim.apply(g)

    def follow(self, target: str) -> None:
        """target <- target + tau (group - target), by `follows[target]` = (group, tau). Both have
        tensors of the same shapes in the same order."""
        group, tau = self.follows[target]
        self.optim.follow(self.vector.flat(target), self.vector.flat(group), tau)

    def policy(self, obs: Tensor) -> Tensor:
        """The greedy actions of observations [B, *obs shape], packed ones by name, as `act` gives
        them, in torch and of nothing but `obs`, for export. Raises NotImplementedError if none."""
        raise NotImplementedError(f"{type(self).__name__} has no policy(obs)")

    def observe(self, obs: Tensor) -> None:  # noqa: B027
        """Adds observations [N, *obs shape], N >= 1, to the running sums by which `act` normalises,
        if the agent keeps some; for whoever plays and never calls `learn`."""

    def use_average(self) -> None:  # noqa: B027
        """Overwrites the acting weights with their running average, if the agent keeps one; for an
        evaluator's own copy."""

    def storage_moved(self) -> None:  # noqa: B027
        """Called by `Vector` when the tensors' storage has moved: drop cached views of it."""


def at_least(least: float, group: str = "agent", /, **settings: float | None) -> None:
    """Raises ValueError, naming the key, for a setting below `least`. None passes, NaN does not."""
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
