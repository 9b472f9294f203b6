"""The best episodes are kept beside the newest transitions, and a share of every batch comes from
them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le

from agents.base import Spec
from paradigms.experience.best import Best, Kept
from paradigms.experience.layout import Fragment
from paradigms.experience.uniform import Uniform


class Elite(Uniform):
    """Every writer keeps its best episodes, by undiscounted return: at most `episodes` of them and
    `transitions` env steps (see `Best`). round(share * size) transitions of a batch are drawn from
    them, all with equal probability, the others as in Uniform; share 0 is Uniform to the bit, and
    so is any other until there is an episode. One that its actor gave up has no return and is not
    kept.

    pooled: the best of all writers are drawn together, or else those of the ranks asked for.

    finetune: in the last so large a share of the run's `budget` of env steps all transitions of a
    batch are drawn from them. That time has come when the transitions that may be seen, `heads` of
    `sample`, say so: whoever decides what is learned from has counted them, so that it comes at the
    same batch in every process, in lockstep and in a replayed journal.

    A writer copies an episode from its ring when it ends. One that is longer than `transitions`, or
    than a stream's share of `capacity`, is not kept.
    """

    kind = "elite"

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
        share: Annotated[float, Ge(0), Le(1)] = 0.25,
        episodes: Annotated[int, Ge(1)] = 20,
        transitions: Annotated[int, Ge(1)] = 20_000,
        pooled: bool = True,
        finetune: Annotated[float, Ge(0), Le(1)] = 0.0,
        budget: Annotated[int, Ge(1)] | None = None,
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
        )
        if not 0 <= share <= 1 or episodes < 1 or transitions < 1:
            raise ValueError(
                f"replay.share={share} must be within 0 and 1, replay.episodes={episodes} and"
                f" replay.transitions={transitions} at least 1"
            )
        if not 0 <= finetune <= 1 or (finetune and budget is None):
            raise ValueError(
                f"replay.finetune={finetune} must be within 0 and 1, and needs replay.budget"
            )
        self.share, self.pooled = share, pooled
        self.tuned_from = (1 - finetune) * budget if finetune and budget else math.inf
        longest = min(transitions, self.window, spec.max_episode_steps or transitions)
        self.best = Best(
            self.layout,
            writers=writers,
            episodes=episodes,
            transitions=transitions,
            longest=longest,
        )

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.best.ring.nbytes

    def returns(self) -> np.ndarray:
        """Undiscounted returns of the episodes that are kept, best first."""
        kept = self._kept(self.heads(), None)
        return -np.sort(-self.best.returns.array[kept.place])

    def add(self, fragment: Fragment) -> int:
        before, transitions = self.heads(), self.ring.transitions
        added = super().add(fragment)
        now = int(self._added(self.heads())[fragment.rank])
        for stream in range(fragment.rank * self.num_envs, (fragment.rank + 1) * self.num_envs):
            serial = np.arange(before[stream], self._heads.array[stream, 0])
            at = self.ring.at(stream, serial)
            for last in serial[
                transitions["terminated"][at] | transitions["truncated"][at]
            ].tolist():
                self._consider(stream, last, now)
        return added

    def _consider(self, stream: int, last: int, now: int) -> None:
        """Offers the episode that ends with transition `last`, if the ring still holds it whole."""
        oldest = int(self._first(self.heads())[stream])
        start = max(oldest, last + 1 - self.best.longest)
        at = self.ring.at(stream, np.arange(start, last + 1))
        firsts = np.flatnonzero(self.ring.transitions["is_first"][at])
        if len(firsts):
            begun, at = start + int(firsts[-1]), at[firsts[-1] :]
            packed, final = self.ring.packed.array[at], self.ring.final.array[at[-1]]
            self.best.enter(stream // self.num_envs, now, stream, begun, packed, final)

    def _added(self, heads: np.ndarray) -> np.ndarray:
        """Layout that each writer has ever added, [writers]."""
        added: np.ndarray = heads.reshape(self.writers, self.num_envs).sum(1)
        return added

    def _kept(self, heads: np.ndarray, ranks: Sequence[int] | None) -> Kept:
        return self.best.kept(self._added(heads), None if self.pooled else ranks)

    def columns(
        self,
        size: int,
        generator: torch.Generator,
        heads: np.ndarray,
        ranks: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        count = size if heads.sum() >= self.tuned_from else round(self.share * size)
        best = self._best(count, generator, heads, ranks) if count else None
        if best is None:
            return super().columns(size, generator, heads, ranks)
        if count == size:
            return best
        others = super().columns(size - count, generator, heads, ranks)
        return {name: np.concatenate((others[name], best[name])) for name in others}

    def _best(
        self, count: int, generator: torch.Generator, heads: np.ndarray, ranks: Sequence[int] | None
    ) -> dict[str, np.ndarray] | None:
        """Columns of `count` transitions of the best episodes; None if there is no episode."""
        while len((kept := self._kept(heads, ranks)).place):
            ends = np.cumsum(kept.length)
            drawn = torch.randint(int(ends[-1]), (count,), generator=generator).numpy()
            at = np.searchsorted(ends, drawn, side="right")
            step = drawn - (ends - kept.length)[at]
            columns = self.best.ring.gather(
                kept.place[at], step, kept.length[at], n_step=self.n_step, gamma=self.gamma
            )
            if not self.best.changed(kept):
                index = (kept.begun[at] + step) * self.streams + kept.stream[at]
                return columns | {"index": index, "weight": np.ones(count, np.float32)}
            self._torn.array[0] += 1
        return None

    def save(self) -> dict[str, Any]:
        """What Uniform saves, and the best episodes."""
        state = super().save()
        while True:
            kept = self.best.kept(self._added(state["heads"]))
            packed, final = self.best.copy(kept)
            if not self.best.changed(kept):
                break
        return state | {
            "best_stream": kept.stream,
            "best_begun": kept.begun,
            "best_transitions": [torch.from_numpy(transitions) for transitions in packed],
            "best_last": [torch.from_numpy(obs) for obs in final],
        }

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        added = self._added(self.heads())
        best = (state[f"best_{key}"] for key in ("stream", "begun", "transitions", "last"))
        for stream, begun, transitions, last in zip(*best, strict=True):
            if len(transitions) <= self.best.longest:
                rank, packed, final = (
                    int(stream) // self.num_envs,
                    np.asarray(transitions),
                    np.asarray(last),
                )
                self.best.enter(rank, int(added[rank]), int(stream), int(begun), packed, final)
