"""Elite replay against a sorted list of all episodes that a writer has ended."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Batch
from paradigms.experience.elite import Elite
from tests import jobs
from tests.counting import Counter
from tests.experience import model as models
from tests.experience.model import ENVS, GOES_ON, LENGTH, TERMINATED, TRUNCATED, Model, agree, true

Episode = tuple[float, int, int, int]  # return, stream, first serial number, length
ALL_END = [GOES_ON] * (LENGTH - 1) * ENVS + [TRUNCATED] * ENVS


def make(writers: int = 1, **options: Any) -> Elite:
    made: Elite = models.make(writers, Elite, **options)
    return made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def played(fragments: int, ends: list[int] = ALL_END, **options: Any) -> tuple[Elite, Model]:
    """One writer whose two envs end an episode of three transitions with every fragment."""
    replay, model = make(**options), Model(1)
    for _ in range(fragments):
        model.play(replay, ends=ends)
    return replay, model


def kept(replay: Elite) -> list[Episode]:
    """The episodes that a checkpoint of the replay holds, best first."""
    saved, dtype = replay.save(), replay.layout.transition
    best = (saved[f"best_{key}"] for key in ("stream", "begun", "transitions"))
    found = [
        (
            float(np.asarray(packed).view(dtype)["reward"].sum()),
            int(stream),
            int(begun),
            len(packed),
        )
        for stream, begun, packed in zip(*best, strict=True)
    ]
    return sorted(found, reverse=True)


class Ranking:
    """Which episodes must be kept, from the model's lists."""

    def __init__(self, replay: Elite, model: Model) -> None:
        self.best, self.window, self.model = replay.best, replay.window, model
        self.done, self.seen = [0] * len(model.slots), [0] * len(model.slots)
        self.kept: list[list[Episode]] = [[] for _ in range(replay.writers)]

    def look(self, rank: int) -> None:
        """Ranks the episodes that the fragment just added has ended, slot by slot."""
        for stream in range(rank * ENVS, (rank + 1) * ENVS):
            steps = self.model.slots[stream].steps
            for end in range(self.done[stream], len(steps)):
                if steps[end].ended == GOES_ON:
                    continue
                begun, self.done[stream] = self.done[stream], end + 1
                if end < self.seen[stream]:  # truncated later, when its actor was replaced
                    continue
                total = sum(models.reward(step.obs) for step in steps[begun : end + 1])
                size = end + 1 - begun
                if size <= self.best.longest and begun >= len(steps) - self.window:
                    self.rank((total, stream, begun, size), rank)
            self.seen[stream] = len(steps)

    def rank(self, episode: Episode, rank: int) -> None:
        entered = [*self.kept[rank], episode]  # in the order in which they came
        ranked = sorted(entered, key=lambda e: -e[0])
        until = np.cumsum([e[3] for e in ranked])
        fit = [e for e, n in zip(ranked, until, strict=True) if n <= self.best.transitions]
        fit = fit[: self.best.episodes]
        if episode in fit:
            self.kept[rank] = [e for e in entered if e in fit]


ENDS = st.lists(st.sampled_from([GOES_ON] * 3 + [TERMINATED, TRUNCATED]), min_size=6, max_size=6)
WHAT = st.sampled_from(["add"] * 6 + ["add twice", "replace", "save and load"])
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 1), ENDS), min_size=1, max_size=20)


SIZES = {"capacity": [8, 20, 1000], "episodes": [1, 3, 100], "transitions": [7, 12, 100]}
SPACE = st.fixed_dictionaries({name: st.sampled_from(sizes) for name, sizes in SIZES.items()})


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 4), st.booleans(), SPACE)
def test_the_best_episodes_are_kept_and_drawn_as_they_were(
    steps: list[tuple[str, int, list[int]]], n_step: int, next_step: bool, space: dict[str, int]
) -> None:
    options: dict[str, Any] = {"n_step": n_step, "share": 0.6, **space}
    replay, model = make(2, **options), Model(2)
    ranking, generator = Ranking(replay, model), seeded()
    fragments = [replay.layout.empty(rank) for rank in (0, 1)]
    for what, rank, ends in steps:
        if what == "save and load":
            saved = replay.save()
            replay = make(2, **options)
            replay.load(saved)
        if what == "replace":
            model.replace_actor(rank)
        model.fill(fragments[rank], ends, next_step=next_step)
        assert replay.add(fragments[rank]) == fragments[rank].n_valid
        if what == "add twice":
            assert replay.add(fragments[rank]) == 0
        ranking.look(rank)
        best = sorted((e for episodes in ranking.kept for e in episodes), reverse=True)
        assert kept(replay) == best

        if len(replay):
            batch, heads = replay.sample(20, generator), replay.heads()
            newest = 8 if best else 20
            drawn = Batch({name: column[:newest] for name, column in batch.items()})
            agree(replay, model, drawn, heads)
            true(replay, model, batch, heads)
            among = {
                (begun + step) * replay.streams + stream
                for _, stream, begun, size in best
                for step in range(size)
            }
            assert {*batch.index[newest:].tolist()} <= among
            assert (batch.weight == 1).all()


def test_transitions_of_the_best_episodes_are_equally_likely() -> None:
    replay, _ = played(9, share=1.0, episodes=4)
    counts = np.unique(replay.sample(48_000, seeded()).index, return_counts=True)[1]
    assert len(counts) == 4 * LENGTH
    assert ((counts - 4000) ** 2 / 4000).sum() < 11 + 3 * np.sqrt(2 * 11)  # chi-square


@pytest.mark.parametrize(("share", "best"), [(0.25, 10), (0.49, 20), (1.0, 40)])
def test_a_share_of_every_batch_is_drawn_from_the_best_episodes(share: float, best: int) -> None:
    replay, _ = played(30, share=share, episodes=1, capacity=12)
    ((_, stream, begun, size),) = kept(replay)
    assert begun + size < 90 - replay.window  # not among the newest transitions
    transitions = [(begun + step) * 2 + stream for step in range(size)]
    for number in range(20):
        assert np.isin(replay.sample(40, seeded(number)).index, transitions).sum() == best


@pytest.mark.parametrize(("share", "ends"), [(0.0, ALL_END), (0.7, [GOES_ON] * LENGTH * ENVS)])
def test_elite_is_uniform_to_the_bit_with_share_0_or_no_episode(
    share: float, ends: list[int]
) -> None:
    elite, _ = played(9, ends, share=share, finetune=share, budget=10, capacity=30, n_step=2)
    uniform, model = models.make(capacity=30, n_step=2), Model(1)
    for _ in range(9):
        model.play(uniform, ends=ends)
    generators = seeded(3), seeded(3)
    for _ in range(5):
        one, two = (r.sample(32, g) for r, g in zip((elite, uniform), generators, strict=True))
        assert {*one} == {*two}
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("action_repeat", [1, 2])
def test_the_last_share_of_the_budget_in_env_steps_is_drawn_from_the_best_alone(
    action_repeat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        models, "SPEC", dataclasses.replace(models.SPEC, action_repeat=action_repeat)
    )
    options: dict[str, Any] = {"share": 0.0, "episodes": 2, "capacity": 12}
    replay, model = played(27, finetune=0.1, budget=180 * action_repeat, **options)
    uniform, _ = played(27, **options)
    for heads in (np.array([81, 80]), np.array([81, 81])):  # 161 and 162 of 180 transitions
        one, two = (r.sample(40, seeded(), heads=heads) for r in (replay, uniform))
        assert torch.equal(one.index, two.index) == (heads[1] == 80)
    finetuned = replay.sample(400, seeded())
    assert len({*finetuned.index.tolist()}) == 2 * LENGTH
    true(replay, model, finetuned, replay.heads())


def test_draws_at_earlier_write_positions_are_repeated_exactly() -> None:
    """Draws depend on the write positions and the generator, not on what is added meanwhile."""
    replay, model = make(2, share=0.5, episodes=8), Model(2)
    rng, before = np.random.default_rng(0), []
    for number in range(12):
        model.play(replay, number % 2, rng.choice([GOES_ON, GOES_ON, TRUNCATED], 6).tolist())
        heads = replay.heads()
        before.append((heads, replay.sample(40, seeded(number), heads=heads)))
        for earlier, (heads, batch) in enumerate(before[-3:], max(0, number - 2)):
            again = replay.sample(40, seeded(earlier), heads=heads)
            assert all(torch.equal(again[name], batch[name]) for name in batch)
    assert len(kept(replay)) == 16
    assert not torch.equal(replay.sample(40, seeded(9)).index, before[9][1].index)


def test_an_episode_overwritten_while_it_is_read_is_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay, model = played(3, share=1.0, episodes=1)
    reader = copy.copy(replay)  # as another process has it
    heads, ring = reader.heads(), reader.best.ring
    gather = ring.gather

    def overtaken(*drawn: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        monkeypatch.setattr(ring, "gather", gather)
        for _ in range(60):
            model.play(replay, ends=[GOES_ON] * 4 + [TRUNCATED] * 2)
        return gather(*drawn, **options)

    monkeypatch.setattr(ring, "gather", overtaken)
    batch = reader.sample(20, seeded(), heads=heads)
    assert replay.torn == reader.torn == 1
    true(replay, model, batch, replay.heads())


def test_a_place_that_is_being_written_is_not_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    replay, model = played(3, share=1.0, episodes=1)
    reader, ring, heads = copy.copy(replay), replay.best.ring, replay.heads()
    at, batches = ring.at, []

    def half_written(*place: Any) -> Any:
        monkeypatch.setattr(ring, "at", at)
        ring.packed.array[at(*place)] = 255
        batches.append(reader.sample(40, seeded(), heads=heads))
        monkeypatch.setattr(ring, "at", half_written)
        return at(*place)

    monkeypatch.setattr(ring, "at", half_written)
    for _ in range(60):
        model.play(replay, ends=ALL_END)
    assert len(batches) > 3
    for batch in batches:
        true(replay, model, batch, heads)


def test_a_resumed_replay_draws_and_keeps_what_the_unbroken_one_does() -> None:
    options: dict[str, Any] = {"share": 0.5, "episodes": 3, "capacity": 20}
    one, model = played(7, **options)
    model.play(one, ends=[GOES_ON] * 6)
    other = make(**options)
    other.load(one.save())
    again = copy.deepcopy(model)
    for number in range(20):
        batches = [replay.sample(20, seeded(number)) for replay in (one, other)]
        assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
        for replay, made in ((one, model), (other, again)):
            made.play(replay, ends=[GOES_ON, TRUNCATED, GOES_ON, GOES_ON, TERMINATED, GOES_ON])
    assert kept(one) == kept(other)


@pytest.mark.parametrize(
    ("episodes", "transitions", "left"), [(2, 100, 2), (9, 10, 3), (9, 100, 5)]
)
def test_a_checkpoint_is_loaded_into_less_or_more_space(
    episodes: int, transitions: int, left: int
) -> None:
    replay, _ = played(9, share=1.0, episodes=5)
    other = make(share=1.0, episodes=episodes, transitions=transitions, capacity=40)
    other.load(replay.save())
    assert kept(other) == kept(replay)[:left]


@pytest.mark.parametrize(
    "wrong",
    [{"share": 1.5}, {"episodes": 0}, {"transitions": 0}, {"finetune": 1.5}, {"finetune": 0.1}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"replay\.{name}={value}"):
        make(**wrong)


@pytest.mark.parametrize("name", ["dcollect", "dupdate"])
def test_batches_of_a_run_with_elites_are_true(name: str) -> None:
    """Law 10: `Counter` recomputes every batch. Episodes of Counting become better and better."""
    options = {"share": 0.5, "episodes": 4, "transitions": 40, "finetune": 0.3, "budget": 256}
    made = jobs.job(
        jobs.world("Counting"),
        functools.partial(Counter, streams=4, n_step=3),
        make_replay=functools.partial(Elite, capacity=64, **options),
        workers=2,
        env_steps=256,
    )
    ended = jobs.run(jobs.PARADIGMS[name], made)
    assert ended.totals["updates"] > 150
    assert len({*ended.state["replay"]["best_stream"].tolist()}) == 4
