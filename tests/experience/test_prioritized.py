"""Prioritized replay: law 8, frequencies, and a slow loop that does the same one transition at a
time."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from agents.base import Key
from paradigms.base import Job
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.experience.prioritized import Prioritized
from paradigms.runtime.journal import Journal
from paradigms.runtime.recorded import Recorded
from paradigms.sequential import Sequential
from tests import jobs
from tests.experience import model as models
from tests.experience.model import GOES_ON, TERMINATED, TRUNCATED, TURN, Model, agree


def make(writers: int = 1, **options: Any) -> Prioritized:
    made: Prioritized = models.make(writers, Prioritized, **options)
    return made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(turns: int, **options: Any) -> tuple[Prioritized, Model]:
    """One writer, two streams of `turns` x 3 transitions, whose episodes never end."""
    replay, model = make(**options), Model(1)
    for _ in range(turns):
        model.play(replay)
    return replay, model


def index(replay: Prioritized, stream: int, serial: int) -> int:
    return serial * replay.streams + stream


def chi_square(drawn: np.ndarray, expected: dict[int, float]) -> float:
    """(statistic - mean) / standard deviation, if `drawn` had the frequencies `expected`."""
    assert {*drawn} <= {*expected}
    total, freedom = sum(expected.values()), len(expected) - 1
    statistic = sum(
        ((drawn == i).sum() - len(drawn) * e / total) ** 2 / (len(drawn) * e / total)
        for i, e in expected.items()
    )
    return float((statistic - freedom) / math.sqrt(2 * freedom))


def many(replay: Prioritized, batches: int = 1000, size: int = 40, **options: Any) -> np.ndarray:
    """The indices of many batches."""
    generator = seeded(8)
    drawn = [replay.sample(size, generator, **options).index for _ in range(batches)]
    return torch.cat(drawn).numpy()


@pytest.mark.parametrize("capacity", [40, 1000])
def test_with_alpha_0_weights_are_1_and_all_rows_equally_likely(capacity: int) -> None:
    replay, _ = filled(30, alpha=0.0, beta=0.7, capacity=capacity)
    generator = seeded()
    for _ in range(
        20
    ):  # some transitions have been updated, others not, and one would be drawn always
        batch = replay.sample(16, generator)
        replay.update(batch.index, 1e6 * torch.rand(16, generator=generator))
        assert torch.equal(batch.weight, torch.ones(16))
    every = {
        index(replay, stream, serial): 1.0
        for stream in (0, 1)
        for serial in range(90 - min(90, replay.window), 90)
    }
    assert chi_square(many(replay), every) < 3


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_rows_are_drawn_as_often_as_their_priorities_say(alpha: float) -> None:
    replay, _ = filled(10, alpha=alpha)
    replay.sample(1, seeded())
    transitions = np.arange(60)
    priority = np.random.default_rng(1).exponential(size=60)
    replay.update(torch.from_numpy(transitions), torch.from_numpy(priority))
    drawn = many(replay)
    expected = {int(i): float((priority[i] + 1e-6) ** alpha) for i in transitions}
    assert chi_square(drawn, expected) < 3
    assert chi_square(drawn, dict.fromkeys(expected, 1.0)) > 30  # the test can tell


def test_each_equal_share_of_the_sum_gives_one_row() -> None:
    replay, _ = filled(2, alpha=1.0)  # 12 transitions of one priority, 24 draws: two of each
    batch = replay.sample(24, seeded())
    assert_array_equal(np.unique(batch.index, return_counts=True)[1], np.full(12, 2))


def test_weights_undo_the_bias_as_far_as_beta_says() -> None:
    replay, _ = filled(1, alpha=1.0, beta=0.5, epsilon=1e-12)
    replay.sample(1, seeded())
    priority = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    replay.update(torch.arange(6), torch.from_numpy(priority))
    batch = replay.sample(400, seeded())
    chance = priority / priority.sum()
    weight = (6 * chance) ** -0.5
    assert {*batch.index.tolist()} == {*range(6)}
    assert_allclose(batch.weight, (weight / weight.max())[batch.index], rtol=1e-6)


def test_beta_goes_straight_to_1_over_the_samples_drawn() -> None:
    replay, _ = filled(1, alpha=1.0, beta=0.2, beta_samples=100, epsilon=1e-12)
    replay.sample(50, seeded())
    priority = torch.tensor([1.0] + [math.e] * 5)
    replay.update(torch.arange(6), priority)
    betas = []
    for number in range(4):
        batch = replay.sample(25, seeded(number))
        assert 0 in batch.index
        betas.append(-math.log(float(batch.weight.min())))
    assert betas == pytest.approx([0.6, 0.8, 1.0, 1.0], rel=1e-5)


def test_new_rows_have_the_largest_priority_seen() -> None:
    replay, model = filled(1, alpha=1.0, epsilon=1e-12)
    replay.sample(1, seeded())
    replay.update(torch.arange(6), torch.tensor([0.5, 7.0, 0.5, 0.5, 0.5, 0.5]))
    replay.update(torch.tensor([1]), torch.tensor([0.5]))
    model.play(replay)
    drawn = many(replay)
    expected = {i: 0.5 if i < 6 else 7.0 for i in range(12)}
    assert chi_square(drawn, expected) < 3


def test_new_rows_have_their_own_priority_if_the_agent_emits_one() -> None:
    spec = models.SPEC.with_extras({"priority": Key()})
    replay = Prioritized(spec, capacity=100, writers=1, num_envs=2, rollout_length=TURN, alpha=1.0)
    fragment = replay.layout.empty(0)
    fragment.transitions["valid"] = True
    fragment.transitions["priority"] = [[1, 2], [3, 4], [5, 6]]
    fragment.n_valid = 6
    replay.add(fragment)
    assert chi_square(many(replay), {i: i + 1.0 for i in range(6)}) < 3


class Slow:
    """The same one transition at a time: a dict of powers by (stream, serial) and sums in a
    loop."""

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
def test_it_draws_what_a_slow_loop_draws(
    steps: list[tuple[str, int, list[int]]], capacity: int, n_step: int, alpha: float
) -> None:
    options: dict[str, Any] = {"capacity": capacity, "n_step": n_step, "alpha": alpha}
    replay, model = make(2, **options), Model(2)
    slow, generator = Slow(alpha, 0.4, replay.window), seeded()
    for rank in (0, 1):
        model.play(replay, rank)
    for what, rank, ends in steps:
        if what == "add":
            model.play(replay, rank, ends)
        if what == "save":
            saved = replay.save()
            replay = make(2, **options)
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


def test_a_late_priority_is_dropped_and_counted() -> None:
    replay, model = filled(4, capacity=12, alpha=1.0, epsilon=1e-12)
    batch = replay.sample(6, seeded())
    for _ in range(2):  # 6 transitions a stream: all that was held is overwritten
        model.play(replay)
    replay.update(batch.index[:2], torch.tensor([3.0, 3.0]))
    assert replay.late == 0  # nothing has been drawn since: the old window is still what is known
    assert {*(replay.sample(6, seeded()).index // 2).tolist()} <= {*range(12, 18)}
    replay.update(batch.index, torch.full((6,), 1e9))
    assert replay.late == len({*batch.index.tolist()})
    assert chi_square(many(replay), {i: 1.0 for i in range(24, 36)}) < 3


def test_what_is_not_to_be_seen_yet_is_not_drawn_whatever_was_drawn_before() -> None:
    replay, model = filled(3, alpha=1.0, epsilon=1e-12)
    early = replay.heads()
    first = many(replay, 20)
    model.play(replay)
    assert replay.sample(40, seeded()).index.max() >= 18
    replay.update(torch.arange(0, 24, 4), torch.full((6,), 4.0))
    later = replay.sample(400, seeded(), heads=early)
    agree(replay, model, later, early)
    assert {*later.index.tolist()} == {*first}
    assert later.weight.min() == pytest.approx(4**-0.4)  # what was learned of them stays known
    agree(replay, model, replay.sample(40, seeded()), replay.heads())
    assert chi_square(many(replay), {i: 1.0 if i % 4 else 4.0 for i in range(24)}) < 3


def test_only_the_ranks_asked_for_are_drawn_and_others_wait_for_their_owner() -> None:
    replay, model = make(2, alpha=1.0, epsilon=1e-12), Model(2)
    alone = copy.copy(replay)  # as a worker that draws from rank 1 has it, in another process
    for rank in (0, 0, 1, 1):
        model.play(replay, rank)
    mine = replay.sample(40, seeded(), ranks=(0,))
    assert {*(mine.index % 4).tolist()} == {0, 1}
    replay.update(mine.index, torch.full((40,), 50.0))
    for reader in (replay, alone):
        batch = reader.sample(40, seeded(), ranks=(1,))
        assert_array_equal(batch.index, replay.sample(40, seeded(), ranks=(1,)).index)
        assert torch.equal(batch.weight, torch.ones(40))
        assert {*(batch.index % 4).tolist()} == {2, 3}
    both = many(replay, ranks=(0, 1))
    seen = {*mine.index.tolist()}
    transitions = [index(replay, stream, serial) for stream in range(4) for serial in range(6)]
    assert chi_square(both, {i: 50.0 if i in seen else 1.0 for i in transitions}) < 3


def test_a_process_that_writes_nothing_draws_what_is_written_meanwhile() -> None:
    writer, model = make(2, capacity=40), Model(2)
    reader, both = copy.copy(writer), Model(2)
    alone = make(2, capacity=40)
    for number in range(20):
        model.play(writer, number % 2)
        both.play(alone, number % 2)
        batches = [replay.sample(8, seeded(number)) for replay in (reader, alone)]
        assert torch.equal(batches[0].index, batches[1].index)
        agree(reader, model, batches[0], writer.heads())
        for replay, batch in zip((reader, alone), batches, strict=True):
            replay.update(batch.index, batch.reward.abs())
    joined = copy.copy(reader)  # another process, later: it takes over priorities, not the trees
    assert writer._windows is joined._windows is None
    assert torch.equal(joined.sample(8, seeded()).index, reader.sample(8, seeded()).index)


def test_a_checkpoint_goes_on_as_if_nothing_had_happened() -> None:
    one, model = filled(3, beta_samples=100, capacity=14)
    other, again = make(beta_samples=100, capacity=14), copy.deepcopy(model)
    one.update(one.sample(8, seeded()).index, torch.rand(8, generator=seeded()))
    model.play(one)
    again.play(other)  # what it held before is gone
    other.load(one.save())
    again = copy.deepcopy(model)
    for number in range(9):
        batches = [replay.sample(8, seeded(number)) for replay in (one, other)]
        for name, column in batches[0].items():
            assert torch.equal(column, batches[1][name])
        for replay, made in ((one, model), (other, again)):
            replay.update(batches[0].index, batches[0].reward.abs())
            made.play(replay)


@pytest.mark.parametrize("capacity", [10, 14, 1000])
def test_a_checkpoint_may_be_loaded_into_a_smaller_or_larger_replay(capacity: int) -> None:
    replay, _ = filled(6, capacity=24, alpha=1.0, epsilon=1e-12)
    replay.sample(1, seeded())
    kept = torch.arange(12, 36)
    replay.update(kept, kept.double())
    other = make(capacity=capacity, alpha=1.0, epsilon=1e-12)
    other.load(replay.save())
    obs = {int(b): float(i) for i, b in zip(kept, at(replay, kept), strict=True)}
    generator = seeded()
    shown = np.concatenate([other.sample(40, generator).obs[:, 0] for _ in range(1000)])
    assert chi_square(shown, {o: i for o, i in obs.items() if i >= 36 - min(capacity, 24)}) < 3


def at(replay: Prioritized, transitions: torch.Tensor) -> np.ndarray:
    """The observations of transitions."""
    serial, stream = np.divmod(transitions.numpy(), replay.streams)
    found: np.ndarray = replay.ring.transitions["obs"][replay.ring.at(stream, serial), 0]
    return found


def test_a_full_replay_takes_what_it_says() -> None:
    replay, uniform = make(2, capacity=1024), models.make(2, capacity=1024)
    powers = 8 * 4 * replay.length
    trees = 8 * 4 * (256 + 16)  # leaves and their sums, 16 to a node
    assert replay.nbytes == uniform.nbytes + powers + trees


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_priority_that_is_none_is_refused(wrong: float) -> None:
    replay, _ = filled(2)
    batch = replay.sample(4, seeded())
    with pytest.raises(FloatingPointError, match=r"lower agent\.lr"):
        replay.update(batch.index, torch.tensor([1.0, wrong, 1.0, 1.0]))


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"beta": 1.5}, {"epsilon": 0.0}])
def test_values_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=rf"replay\.{next(iter(wrong))}={next(iter(wrong.values()))}"
    ):
        make(**wrong)


def test_rows_overwritten_while_they_are_read_are_never_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if they are all that would ever be drawn."""
    replay, model = filled(20, capacity=12, alpha=1.0)
    heads = replay.heads()
    replay.sample(1, seeded())
    replay.update(torch.tensor([index(replay, 0, 54)]), torch.tensor([1e12]))
    gather = replay._gather

    def overtaken(*drawn: np.ndarray) -> dict[str, np.ndarray]:
        monkeypatch.setattr(replay, "_gather", gather)
        for _ in range(6):
            model.play(replay)
        return gather(*drawn)

    monkeypatch.setattr(replay, "_gather", overtaken)
    batch = replay.sample(4, seeded())
    assert replay.torn == 1
    agree(replay, model, batch, heads)
    assert {*(batch.index // replay.streams).tolist()} <= {57, 58, 59}


def job(**changes: Any) -> Job:
    return jobs.AGENTS["sac, prioritized"].job(**changes)


def test_a_run_is_another_one_than_with_a_uniform_replay() -> None:
    prioritized, uniform = (jobs.run(Sequential(), made) for made in (job(), jobs.job()))
    assert not torch.equal(uniform.floats, prioritized.floats)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcollect", "dupdate"])
def test_what_happened_live_happens_again(name: str, tmp_path: Path) -> None:
    """Law 13, and a checkpoint of what another process has learned of the transitions."""
    paradigm = DCollect() if name == "dcollect" else DUpdate()
    file = str(tmp_path / "journal.bin")
    changes = {"workers": 2, "max_ahead": 50, "env_steps": 300}
    live = jobs.run(paradigm, job(crew="process", journal=file, **changes))
    again = jobs.run(paradigm, job(order=Recorded(Journal.read(file)), **changes))
    assert live.totals["updates"] > 200
    assert torch.equal(again.floats, live.floats)
    one, two = (torch.cat(ended.state["replay"]["powers"]) for ended in (live, again))
    assert torch.equal(one, two)
    assert len(one.unique()) > 150  # half of the transitions, whoever collected how many of them
