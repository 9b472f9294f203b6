"""Prioritized replay against a slow loop that does the same one transition at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from paradigms.experience.prioritized import Prioritized
from tests.experience import model as models
from tests.experience.model import GOES_ON, TERMINATED, TRUNCATED, Model, agree


class Slow:
    """A dict of powers by (stream, serial number), summed in a loop."""

    def __init__(self, alpha: float, beta: float, window: int) -> None:
        self.alpha, self.beta, self.window, self.most = alpha, beta, window, 1.0
        self.powers: dict[tuple[int, int], float] = {}

    def draw(self, size: int, random: np.ndarray, heads: np.ndarray) -> list[tuple[int, float]]:
        transitions = []
        for stream, head in enumerate(heads):
            held = range(max(0, head - self.window), head)
            transitions += [(stream, s) for s in sorted(held, key=lambda s: s % self.window)]
        powers = [self.powers.setdefault(transition, self.most) for transition in transitions]
        total, drawn = sum(powers), []
        for k in range(size):
            below, at = (k + random[k]) * total / size, 0
            while below >= powers[at]:
                below -= powers[at]
                at += 1
            drawn.append(at)
        chances = [powers[at] / total for at in drawn]
        weights = [(len(transitions) * p) ** -self.beta for p in chances]
        return [
            (transitions[at][1] * len(heads) + transitions[at][0], w / max(weights))
            for at, w in zip(drawn, weights, strict=True)
        ]

    def update(self, index: list[int], priority: list[float], streams: int) -> None:
        for i, p in reversed([*zip(index, priority, strict=True)]):
            power = (p + 1e-6) ** self.alpha
            self.powers[i % streams, i // streams] = power
        self.most = max(
            self.most, *((p + 1e-6) ** self.alpha for p in self.firsts(index, priority))
        )

    @staticmethod
    def firsts(index: list[int], priority: list[float]) -> list[float]:
        """Of a transition that occurs twice, the first priority."""
        return [p for at, p in enumerate(priority) if index.index(index[at]) == at]


ENDS = st.lists(st.sampled_from([GOES_ON] * 6 + [TERMINATED, TRUNCATED]), min_size=6, max_size=6)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "learn", "save"]), st.integers(0, 1), ENDS))


@settings(max_examples=60)
@given(STEPS, st.sampled_from([4, 20, 1000]), st.integers(1, 3), st.sampled_from([0.0, 0.6, 1.0]))
def test_prioritized_replay_draws_what_a_slow_loop_draws(
    steps: list[tuple[str, int, list[int]]], capacity: int, n_step: int, alpha: float
) -> None:
    options: dict[str, Any] = {"capacity": capacity, "n_step": n_step, "alpha": alpha}
    replay, model = models.make(2, Prioritized, **options), Model(2)
    slow, generator = Slow(alpha, 0.4, replay.window), torch.Generator().manual_seed(0)
    for rank in (0, 1):
        model.play(replay, rank)
    for what, rank, ends in steps:
        if what == "add":
            model.play(replay, rank, ends)
        if what == "save":
            saved = replay.save()
            replay = models.make(2, Prioritized, **options)
            replay.load(saved)
        random = torch.rand(10, generator=generator.clone_state(), dtype=torch.float64).numpy()
        batch = replay.sample(10, generator)
        expected = slow.draw(10, random, replay.heads())
        assert batch.index.tolist() == [i for i, _ in expected]
        assert_allclose(batch.weight, [w for _, w in expected], rtol=1e-6)
        agree(replay, model, batch, replay.heads())
        if what == "learn":
            priority = 10 * torch.rand(10, generator=generator, dtype=torch.float64)
            replay.update(batch.index, priority)
            slow.update(batch.index.tolist(), priority.tolist(), replay.streams)
    assert replay.late == 0
