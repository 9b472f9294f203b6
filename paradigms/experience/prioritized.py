"""Transitions drawn in proportion to a power of their TD error: Prioritized Experience Replay,
Schaul et al. 2016, arXiv:1511.05952."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from agents.base import Spec, above, at_least, within
from paradigms.errors import NotFinite
from paradigms.experience.sumtree import Windows
from paradigms.experience.uniform import Uniform
from paradigms.runtime.memory import Shared


class Prioritized(Uniform):
    """Transition i is drawn with P(i) = p_i^alpha / sum_k p_k^alpha, p = |TD error| + epsilon
    (section 3.3), one transition from each of `size` equal shares of the sum (appendix B.2.1).

    The loss of a transition is weighed by (N P(i))^-beta over the batch's largest such number
    (section 3.4), which is (p_i / p_min)^(-alpha beta), p_min the least of the batch. beta goes
    straight to 1 over `beta_samples` drawn transitions; null keeps it constant. A new transition
    has the largest priority seen so far or, if the agent emits the columns `q` and `value`, that
    of its n-step TD error by these (Ape-X, Horgan et al. 2018, arXiv:1803.00933, algorithm 1).

    The sum trees, one a stream, are private to the process that draws, and are brought up to the
    write positions at each draw. So writers need no lock, and draws depend on the write positions,
    the generator and the updates made. Shared memory has the priorities too, for checkpoints.

    Where several processes learn, paradigm.sample_from says who draws. With `learner` (the default
    of dupdate) the learner draws for all workers; with `own` (the default of hogwild) each worker
    draws from its own transitions; with `all` each draws from everybody's. The last is inexact: a
    process does not see the priorities that others give to transitions it already holds, so that
    lockstep and re-executed journals do not reproduce the bits.
    """

    kind = "prioritized"
    shared = False

    def __init__(
        self,
        spec: Spec,
        *,
        capacity: Annotated[int, Ge(1)],
        writers: int,
        num_envs: int,
        rollout_length: int,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str = "cpu",
        alpha: Annotated[float, Ge(0), Le(1)] = 0.6,
        beta: Annotated[float, Ge(0), Le(1)] = 0.4,
        beta_samples: Annotated[int, Ge(1)] | None = None,
        epsilon: Annotated[float, Gt(0), Le(1)] = 1e-6,
        shift: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(
            spec,
            capacity=capacity,
            writers=writers,
            num_envs=num_envs,
            rollout_length=rollout_length,
            n_step=n_step,
            gamma=gamma,
            device=device,
            shift=shift,
        )
        at_least(0, "replay", alpha=alpha)
        within(0, 1, "replay", beta=beta)
        above(0, "replay", epsilon=epsilon)
        at_least(1, "replay", beta_samples=beta_samples)
        self.alpha, self.beta, self.beta_samples = alpha, beta, beta_samples
        self.epsilon = epsilon
        self._powers = Shared(self.streams * self.length, np.float64)  # p^alpha, laid as the ring
        self._known = Shared(self.streams, np.int64)  # serials below it have been given a power
        self._most = Shared(self.streams, np.float64)
        self._most.array[:] = 1.0
        self._drawn = Shared(writers, np.int64)
        self._late = Shared(writers, np.int64)
        self._windows: Windows | None = None

    @property
    def late(self) -> int:
        return int(self._late.array.sum())

    def update(self, index: Tensor, priority: Tensor) -> None:
        """See `Source.update`; of a transition that occurs twice in the batch, the first counts."""
        unique, first = np.unique(index.cpu().numpy(), return_index=True)
        power = self._power(priority.detach().cpu().numpy()[first])
        serial, stream = np.divmod(unique, self.streams)
        windows = self._own_windows()
        held = windows.holds(stream, serial)
        if not held.all():
            np.add.at(self._late.array, stream[~held] // self.num_envs, 1)
            stream, serial, power = stream[held], serial[held], power[held]
        self._powers.array[self.ring.at(stream, serial)] = power
        np.maximum.at(self._most.array, stream, power)
        windows.set(stream, serial, power)

    def _draw(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mine = np.arange(self.streams)
        if ranks is not None:
            mine = mine[np.isin(mine // self.num_envs, ranks)]
        windows = self._follow(mine, heads)
        ends = np.cumsum(windows.trees.totals()[mine])
        random = torch.rand(size, generator=generator, dtype=torch.float64).numpy()
        below = (np.arange(size) + random) * (ends[-1] / size)
        below = np.minimum(below, np.nextafter(ends[-1], 0))  # rounding must not pass it
        at = np.searchsorted(ends, below, side="right")
        serial, power = windows.find(mine[at], below - np.concatenate(([0.0], ends))[at])
        weight = (power / power.min()) ** -self._annealed(int(mine[0]) // self.num_envs, size)
        return mine[at], serial, weight.astype(np.float32)

    def _annealed(self, rank: int, size: int) -> float:
        """beta now. Counts the `size` transitions that the process of `rank` is about to draw."""
        drawn = int(self._drawn.array[rank])
        self._drawn.array[rank] += size
        share = 0.0 if self.beta_samples is None else min(1.0, drawn / self.beta_samples)
        return self.beta + share * (1 - self.beta)

    def _follow(self, streams: np.ndarray, heads: np.ndarray) -> Windows:
        """Brings the windows of some streams up to the write positions `heads`."""
        windows, known = self._own_windows(), self._known.array
        first = self._first(heads)
        moved = streams[((first != windows.first) | (heads != windows.head))[streams]]
        if len(moved):
            stream, serial = windows.move(moved, first[moved], heads[moved])
            unseen = serial >= known[stream]
            most = self._most.array[streams].max()
            self._initialise(stream[unseen], serial[unseen], heads, most)
            windows.set(stream, serial, self._powers.array[self.ring.at(stream, serial)])
            known[moved] = np.maximum(known[moved], heads[moved])
        return windows

    def _initialise(
        self, stream: np.ndarray, serial: np.ndarray, heads: np.ndarray, most: float
    ) -> None:
        """Gives new transitions their first priority, p^alpha = `most` if they bring none."""
        power = np.full(len(serial), most)
        if {"q", "value"} <= {*self.ring.extras}:
            steps: dict[str, Any] = {"n_step": self.n_step, "gamma": self.gamma}
            error = self.ring.errors(stream, serial, heads[stream], **steps)
            known = ~np.isnan(error)
            power[known] = self._power(error[known])
            np.maximum.at(self._most.array, stream[known], power[known])
        self._powers.array[self.ring.at(stream, serial)] = power

    def _power(self, priority: np.ndarray) -> np.ndarray:
        """(priority + epsilon)^alpha, float64. Raises NotFinite for a priority that is none."""
        if not (np.isfinite(priority) & (priority >= 0)).all():
            raise NotFinite(
                "a priority is a NaN, an infinity or negative; lower agent.lr, or see what the"
                " agent calls its TD error"
            )
        power: np.ndarray = (priority.astype(np.float64) + self.epsilon) ** self.alpha
        return power

    def _own_windows(self) -> Windows:
        if self._windows is None:
            self._windows = Windows(self.streams, self.window)
        return self._windows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_windows": None}  # each process builds its own

    def save(self) -> dict[str, Any]:
        """What Uniform saves, and every transition's priority."""
        state = super().save()
        powers = []
        for stream, head in enumerate(state["heads"]):
            at = self.ring.at(stream, np.arange(max(0, head - self.window), head))
            powers.append(torch.from_numpy(self._powers.array[at]))
        return state | {
            "powers": powers,
            "known": np.minimum(self._known.array, state["heads"]),
            "most": self._most.array.copy(),
            "drawn": self._drawn.array.copy(),
        }

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for stream, head in enumerate(self.heads()):
            powers = np.asarray(state["powers"][stream])[-self.window :]
            self._powers.array[self.ring.at(stream, np.arange(head - len(powers), head))] = powers
        self._known.array[:] = np.asarray(state["known"])
        self._most.array[:] = np.asarray(state["most"])
        self._drawn.array[:] = np.asarray(state["drawn"])
        self._windows = None
