"""Prioritized replay: frequencies (law 8), weights, and who draws what."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from agents.base import Key
from paradigms.experience.prioritized import Prioritized
from tests.experience import model as models
from tests.experience.model import Model, agree


def make(writers: int = 1, **options: Any) -> Prioritized:
    made: Prioritized = models.make(writers, Prioritized, **options)
    return made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(fragments: int, **options: Any) -> tuple[Prioritized, Model]:
    """One writer, two streams of `fragments` x 3 transitions, whose episodes never end."""
    replay, model = make(**options), Model(1)
    for _ in range(fragments):
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


def test_with_alpha_0_all_transitions_are_equally_likely_and_weigh_1() -> None:
    replay, _ = filled(30, alpha=0.0, beta=0.7, capacity=40)
    generator = seeded()
    for _ in range(20):  # only some transitions have been updated, one with an enormous priority
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
def test_transitions_are_drawn_in_proportion_to_their_priorities_to_the_alpha(alpha: float) -> None:
    replay, _ = filled(10, alpha=alpha)
    replay.sample(1, seeded())
    transitions = np.arange(60)
    priority = np.random.default_rng(1).exponential(size=60)
    replay.update(torch.from_numpy(transitions), torch.from_numpy(priority))
    drawn = many(replay)
    expected = {int(i): float((priority[i] + 1e-6) ** alpha) for i in transitions}
    assert chi_square(drawn, expected) < 3
    assert chi_square(drawn, dict.fromkeys(expected, 1.0)) > 30  # the test can tell


def test_each_equal_share_of_the_sum_gives_one_transition() -> None:
    replay, _ = filled(2, alpha=1.0)  # 12 transitions of one priority, 24 draws: two of each
    batch = replay.sample(24, seeded())
    assert_array_equal(np.unique(batch.index, return_counts=True)[1], np.full(12, 2))


def test_weights_are_those_of_section_3_4() -> None:
    replay, _ = filled(1, alpha=1.0, beta=0.5, epsilon=1e-12)
    replay.sample(1, seeded())
    priority = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    replay.update(torch.arange(6), torch.from_numpy(priority))
    batch = replay.sample(400, seeded())
    chance = priority / priority.sum()
    weight = (6 * chance) ** -0.5
    assert {*batch.index.tolist()} == {*range(6)}
    assert_allclose(batch.weight, (weight / weight.max())[batch.index], rtol=1e-6)


def test_beta_is_annealed_linearly_over_the_transitions_drawn() -> None:
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


def test_new_transitions_have_the_largest_priority_seen() -> None:
    replay, model = filled(1, alpha=1.0, epsilon=1e-12)
    replay.sample(1, seeded())
    replay.update(torch.arange(6), torch.tensor([0.5, 7.0, 0.5, 0.5, 0.5, 0.5]))
    replay.update(torch.tensor([1]), torch.tensor([0.5]))
    model.play(replay)
    drawn = many(replay)
    expected = {i: 0.5 if i < 6 else 7.0 for i in range(12)}
    assert chi_square(drawn, expected) < 3


def test_new_transitions_have_the_td_error_of_what_the_actors_stored() -> None:
    """Streams of 6 transitions: one is terminated after its 2nd and cut by a time limit after its
    5th, the other goes on. Two steps, gamma 0.5."""
    spec = models.SPEC.with_extras({"q": Key(), "value": Key()})
    sizes = {"capacity": 100, "writers": 1, "num_envs": 2, "rollout_length": 6}
    replay = Prioritized(spec, **sizes, n_step=2, gamma=0.5, alpha=1.0, epsilon=1e-12)
    fragment = replay.layout.empty(0)
    rng = np.random.default_rng(0)
    transitions = fragment.transitions
    transitions["valid"], fragment.n_valid = True, 12
    for name in ("reward", "q", "value"):
        transitions[name] = rng.normal(size=(6, 2))
    transitions["terminated"][1, 0] = transitions["truncated"][4, 0] = True
    replay.add(fragment)
    replay.sample(1, seeded())

    expected = np.full((6, 2), 1.0)  # what is not known yet has the largest priority so far
    reward, q, value = (transitions[name].astype(float) for name in ("reward", "q", "value"))
    for stream, serial, steps, ends in (
        (0, 0, 2, True),
        (0, 1, 1, True),
        (0, 2, 2, False),
        *((1, serial, 2, False) for serial in range(4)),
    ):
        total = sum(0.5**k * reward[serial + k, stream] for k in range(steps))
        total += 0 if ends else 0.5**steps * value[serial + steps, stream]
        expected[serial, stream] = abs(total - q[serial, stream])
    found = [[replay._powers.array[replay.ring.at(s, n)] for s in (0, 1)] for n in range(6)]
    assert_allclose(found, expected, rtol=1e-5)


def test_a_late_priority_is_dropped_and_counted() -> None:
    replay, model = filled(4, capacity=12, alpha=1.0, epsilon=1e-12)
    batch = replay.sample(6, seeded())
    for _ in range(2):  # 6 transitions a stream: all that was held is overwritten
        model.play(replay)
    replay.update(batch.index[:2], torch.tensor([3.0, 3.0]))
    assert replay.late == 0  # nothing has been drawn since, so that the window has not moved
    assert {*(replay.sample(6, seeded()).index // 2).tolist()} <= {*range(12, 18)}
    replay.update(batch.index, torch.full((6,), 1e9))
    assert replay.late == len({*batch.index.tolist()})
    assert chi_square(many(replay), {i: 1.0 for i in range(24, 36)}) < 3


def test_transitions_above_the_write_positions_are_not_drawn_whatever_was_drawn_before() -> None:
    replay, model = filled(3, alpha=1.0, epsilon=1e-12)
    early = replay.heads()
    first = many(replay, 20)
    model.play(replay)
    assert replay.sample(40, seeded()).index.max() >= 18
    replay.update(torch.arange(0, 24, 4), torch.full((6,), 4.0))
    later = replay.sample(400, seeded(), heads=early)
    agree(replay, model, later, early)
    assert {*later.index.tolist()} == {*first}
    assert later.weight.min() == pytest.approx(4**-0.4)  # their new priorities stay
    agree(replay, model, replay.sample(40, seeded()), replay.heads())
    assert chi_square(many(replay), {i: 1.0 if i % 4 else 4.0 for i in range(24)}) < 3


def test_only_the_requested_ranks_are_drawn() -> None:
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


def test_a_reader_in_another_process_draws_what_the_writer_draws() -> None:
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
    assert torch.equal(joined.sample(8, seeded()).index, reader.sample(8, seeded()).index)


def test_a_resumed_replay_draws_what_the_unbroken_one_does() -> None:
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


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_priority_that_is_not_finite_or_negative_is_refused(wrong: float) -> None:
    replay, _ = filled(2)
    batch = replay.sample(4, seeded())
    with pytest.raises(FloatingPointError, match=r"lower agent\.lr"):
        replay.update(batch.index, torch.tensor([1.0, wrong, 1.0, 1.0]))


def test_settings_out_of_range_are_refused() -> None:
    for name, value in {"alpha": -1.0, "beta": 1.5, "epsilon": 0.0, "beta_samples": 0}.items():
        with pytest.raises(ValueError, match=rf"replay\.{name}={value}"):
            make(**{name: value})


def test_transitions_overwritten_while_they_are_read_are_never_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if they are all that would ever be drawn."""
    replay, model = filled(20, capacity=12, alpha=1.0)
    heads = replay.heads()
    replay.sample(1, seeded())
    replay.update(torch.tensor([index(replay, 0, 54)]), torch.tensor([1e12]))
    gather = replay.ring.gather

    def overtaken(*drawn: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        monkeypatch.setattr(replay.ring, "gather", gather)
        for _ in range(6):
            model.play(replay)
        return gather(*drawn, **options)

    monkeypatch.setattr(replay.ring, "gather", overtaken)
    batch = replay.sample(4, seeded())
    assert replay.torn == 1
    agree(replay, model, batch, heads)
    assert {*(batch.index // replay.streams).tolist()} <= {57, 58, 59}
