"""The best episodes against a sorted list of all that a writer has ended."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from agents.base import Batch
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.experience.elite import Elite
from paradigms.experience.uniform import Uniform
from paradigms.runtime.journal import Journal
from paradigms.runtime.recorded import Recorded
from paradigms.sequential import Sequential
from tests import jobs
from tests.counting import Counter
from tests.experience import model as models
from tests.experience.model import ENVS, GOES_ON, TERMINATED, TRUNCATED, TURN, Model, agree, true

Episode = tuple[float, int, int, int]  # return, stream, first serial, length


def make(writers: int = 1, **options: Any) -> Elite:
    made: Elite = models.make(writers, Elite, **options)
    return made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Offered:
    """Which episodes are kept, from the model's lists."""

    def __init__(self, replay: Elite, model: Model) -> None:
        self.replay, self.model = replay, model
        self.done, self.seen = [0] * len(model.slots), [0] * len(model.slots)
        self.kept: list[list[Episode]] = [[] for _ in range(replay.writers)]

    def look(self, rank: int) -> None:
        """Offers what the fragment just added has ended, slot by slot."""
        best = self.replay.best
        for stream in range(rank * ENVS, (rank + 1) * ENVS):
            steps = self.model.slots[stream].steps
            for end in range(self.done[stream], len(steps)):
                if steps[end].ended == GOES_ON:
                    continue
                begun, self.done[stream] = self.done[stream], end + 1
                if end < self.seen[stream]:  # its actor gave it up later
                    continue
                total = sum(models.reward(step.obs) for step in steps[begun : end + 1])
                size = end + 1 - begun
                if size <= best.longest and begun >= len(steps) - self.replay.window:
                    self.offer(rank, (total, stream, begun, size))
            self.seen[stream] = len(steps)

    def offer(self, rank: int, episode: Episode) -> None:
        kept = [*self.kept[rank], episode]  # in the order in which they came
        ranked = sorted(kept, key=lambda e: -e[0])
        transitions = np.cumsum([e[3] for e in ranked])
        fit = [
            e
            for e, sum_ in zip(ranked, transitions, strict=True)
            if sum_ <= self.replay.best.transitions
        ]
        fit = fit[: self.replay.best.episodes]
        if episode in fit:
            self.kept[rank] = [e for e in kept if e in fit]

    def among(self, batch: Batch) -> None:
        """Asserts that all transitions of the batch are of kept episodes, in their order's
        proportions."""
        transitions = {
            serial * self.replay.streams + stream
            for kept in self.kept
            for _, stream, begun, size in kept
            for serial in range(begun, begun + size)
        }
        assert {*batch.index.tolist()} <= transitions


def part(batch: Batch, transitions: slice) -> Batch:
    return Batch({name: column[transitions] for name, column in batch.items()})


ENDS = st.lists(st.sampled_from([GOES_ON] * 3 + [TERMINATED, TRUNCATED]), min_size=6, max_size=6)
WHAT = st.sampled_from(["add"] * 6 + ["add twice", "replace", "save and load"])
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 1), ENDS), min_size=1, max_size=20)


@settings(max_examples=100)
@given(
    STEPS,
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([8, 20, 1000]),
    st.sampled_from([(1, 100), (3, 100), (3, 7), (100, 12)]),
)
def test_the_best_are_kept_and_drawn_as_they_were(
    steps: list[tuple[str, int, list[int]]],
    n_step: int,
    next_step: bool,
    capacity: int,
    room: tuple[int, int],
) -> None:
    options: dict[str, Any] = {"capacity": capacity, "n_step": n_step, "share": 0.6}
    options |= {"episodes": room[0], "transitions": room[1]}
    replay, model = make(2, **options), Model(2)
    offered, generator = Offered(replay, model), seeded()
    fragments = [replay.layout.empty(rank) for rank in (0, 1)]
    for what, rank, ends in steps:
        if what == "save and load":
            saved = replay.save()
            offered.replay = replay = make(2, **options)
            replay.load(saved)
        if what == "replace":
            model.replace_actor(rank)
        model.fill(fragments[rank], ends, next_step=next_step)
        assert replay.add(fragments[rank]) == fragments[rank].n_valid
        if what == "add twice":
            assert replay.add(fragments[rank]) == 0
        offered.look(rank)
        kept = sorted((e[0] for kept in offered.kept for e in kept), reverse=True)
        assert replay.returns().tolist() == kept

        if len(replay):
            batch, heads = replay.sample(20, generator), replay.heads()
            newest = 8 if kept else 20
            agree(replay, model, part(batch, slice(newest)), heads)
            true(replay, model, batch, heads)
            offered.among(part(batch, slice(newest, None)))
            assert (batch.weight == 1).all()


def played(turns: int, *, ends: int = TRUNCATED, **options: Any) -> tuple[Elite, Model]:
    """One writer whose two envs end an episode with every rollout_length, of three transitions."""
    replay, model = make(**options), Model(1)
    for _ in range(turns):
        model.play(replay, ends=[GOES_ON] * (TURN - 1) * ENVS + [ends] * ENVS)
    return replay, model


def test_every_row_of_the_best_is_equally_likely() -> None:
    replay, _ = played(9, share=1.0, episodes=4)
    drawn = replay.sample(40_000, seeded()).index
    transitions, counts = np.unique(drawn, return_counts=True)
    assert len(transitions) == 4 * TURN
    expected = len(drawn) / len(transitions)
    assert ((counts - expected) ** 2 / expected).sum() < len(transitions) - 1 + 3 * np.sqrt(
        2 * len(transitions)
    )


@pytest.mark.parametrize(("share", "best"), [(0.0, 0), (0.25, 10), (0.49, 20), (1.0, 40)])
def test_the_share_of_every_batch_is_drawn_from_the_best(share: float, best: int) -> None:
    replay, _ = played(30, share=share, episodes=1, capacity=12)
    kept = replay.best.kept(np.array([180]))
    transitions = [s * 2 + int(kept.stream[0]) for s in range(kept.begun[0], kept.begun[0] + TURN)]
    assert transitions[-1] // 2 < 90 - replay.window  # it cannot come from the newest transitions
    for number in range(20):
        assert np.isin(replay.sample(40, seeded(number)).index, transitions).sum() == best


@pytest.mark.parametrize("case", ["share 0", "no episode yet"])
def test_without_elites_it_is_uniform_to_the_bit(case: str) -> None:
    share, ends = (0.0, TRUNCATED) if case == "share 0" else (0.7, GOES_ON)
    elite, _ = played(9, share=share, ends=ends, capacity=30, n_step=2)
    uniform, model = models.make(capacity=30, n_step=2), Model(1)
    for _ in range(9):
        model.play(uniform, ends=[GOES_ON] * (TURN - 1) * ENVS + [ends] * ENVS)
    generators = seeded(3), seeded(3)
    for _ in range(5):
        one, two = (r.sample(32, g) for r, g in zip((elite, uniform), generators, strict=True))
        assert {*one} == {*two}
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_last_share_of_the_budget_is_learned_from_the_best_alone() -> None:
    options: dict[str, Any] = {"share": 0.0, "episodes": 2, "capacity": 12}
    replay, model = played(27, finetune=0.1, budget=180, **options)
    uniform, _ = played(27, **options)
    assert replay.heads().sum() == 162
    heads = np.array([81, 80])  # a transition before the last tenth
    for seen in (heads, replay.heads()):
        one, two = (r.sample(40, seeded(), heads=seen) for r in (replay, uniform))
        assert torch.equal(one.index, two.index) == (seen is heads)
    tuned = replay.sample(400, seeded())
    assert len({*tuned.index.tolist()}) == 2 * TURN
    true(replay, model, tuned, replay.heads())


@pytest.mark.parametrize("capacity", [6, 12, 1000])
def test_env_steps_are_counted_on_in_a_smaller_or_larger_replay(capacity: int) -> None:
    options: dict[str, Any] = {"share": 0.0, "episodes": 2, "finetune": 0.1, "budget": 180}
    replay, model = played(26, capacity=12, **options)
    other = make(capacity=capacity, **options)
    other.load(replay.save())
    for tuned in (False, True):  # 156 and 162 of 180 env steps
        kept = other.best.kept(np.array([other.heads().sum()]))
        best = [(kept.begun + step) * 2 + kept.stream for step in range(TURN)]
        assert np.isin(other.sample(40, seeded()).index, best).all() == tuned
        model.play(other)


def test_what_its_actor_gave_up_is_not_kept_however_well_it_stood() -> None:
    replay, model = played(1, episodes=1)
    worst = replay.returns()
    for _ in range(9):  # of rewards that are never negative, a longer one has more
        model.play(replay)
    model.replace_actor(0)
    model.play(replay)
    assert replay.returns().tolist() == worst.tolist()
    agree(replay, model, replay.sample(1, seeded()), replay.heads())


def test_fine_tuning_waits_for_an_episode() -> None:
    replay, model = played(9, ends=GOES_ON, finetune=1.0, budget=10, capacity=30)
    agree(replay, model, replay.sample(40, seeded()), replay.heads())


@pytest.mark.parametrize("pooled", [True, False])
def test_the_best_of_all_or_of_the_ranks_asked_for(pooled: bool) -> None:
    replay, model = make(2, share=0.5, pooled=pooled), Model(2)
    for rank in (0, 1, 0, 1):
        model.play(replay, rank, [TERMINATED] * 6)
    batch = replay.sample(400, seeded(), ranks=(1,))
    ranks = (batch.index % 4 // ENVS).numpy()
    assert {*ranks[:200]} == {1}
    assert {*ranks[200:]} == ({0, 1} if pooled else {1})


def test_an_earlier_moment_is_drawn_as_it_was() -> None:
    """What is drawn depends on the heads and the generator, not on what others add meanwhile."""
    replay, model = make(2, share=0.5, episodes=8), Model(2)
    rng, before = np.random.default_rng(0), []
    for turn in range(12):
        model.play(replay, turn % 2, rng.choice([GOES_ON, GOES_ON, TRUNCATED], 6).tolist())
        heads = replay.heads()
        before.append((heads, replay.sample(40, seeded(turn), heads=heads)))
        for number, (heads, batch) in enumerate(before[-3:], max(0, turn - 2)):
            again = replay.sample(40, seeded(number), heads=heads)
            assert all(torch.equal(again[name], batch[name]) for name in batch)
    returns = replay.returns()
    assert len(returns) == 16
    assert not torch.equal(replay.sample(40, seeded(9)).index, before[9][1].index)


def test_an_episode_written_over_while_it_is_read_is_drawn_again(
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
    assert {*(batch.index % 2).tolist()} <= {0, 1}


def test_a_place_that_is_being_written_is_left_out() -> None:
    replay, model = played(3, share=1.0, episodes=2)
    place = replay.best.kept(np.array([18])).place[0]
    replay.best._table.array[place, 0] += 1  # its writer has begun, and may never end
    batch = replay.sample(40, seeded())
    assert len({*batch.index.tolist()}) == TURN
    true(replay, model, batch, replay.heads())


def test_a_checkpoint_goes_on_as_if_nothing_had_happened() -> None:
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
    assert one.returns().tolist() == other.returns().tolist()


@pytest.mark.parametrize(
    ("episodes", "transitions", "kept"), [(2, 100, 2), (9, 10, 3), (9, 100, 5)]
)
def test_a_checkpoint_may_be_loaded_where_there_is_less_or_more_room(
    episodes: int, transitions: int, kept: int
) -> None:
    replay, _ = played(9, share=1.0, episodes=5)
    other = make(share=1.0, episodes=episodes, transitions=transitions, capacity=40)
    other.load(replay.save())
    assert other.returns().tolist() == replay.returns()[:kept].tolist()
    shown = {int(obs) for obs in other.sample(400, seeded()).obs[:, 0]}
    assert shown <= {int(obs) for obs in replay.sample(400, seeded()).obs[:, 0]}


def test_a_full_replay_takes_what_it_says() -> None:
    """Places keep what died in them: more transitions than are ever alive together."""
    options: dict[str, Any] = {"capacity": 60, "episodes": 4, "transitions": 30}
    replay, uniform = make(2, **options), models.make(2, capacity=60)
    room = 2 * replay.best.places * replay.best.longest
    assert room == 2 * 8 * 15
    transition = replay.layout.transition.itemsize + replay.layout.obs.itemsize
    assert replay.nbytes == uniform.nbytes + room * transition


@pytest.mark.parametrize(
    "wrong",
    [{"share": 1.5}, {"episodes": 0}, {"transitions": 0}, {"finetune": 1.5}, {"finetune": 0.1}],
)
def test_values_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"replay\.{name}={value}"):
        make(**wrong)


def job(
    *,
    replay: type[Uniform] = Elite,
    capacity: int = 10_000,
    finetune: float = 0.3,
    **changes: Any,
) -> Any:
    """Counting worlds' episodes become better and better, so the best are always replaced."""
    options: dict[str, Any] = {}
    if replay is Elite:
        budget = changes.get("env_steps", jobs.job().env_steps)
        options = {"share": 0.5, "episodes": 4, "transitions": 40}
        options |= {"finetune": finetune, "budget": budget}
    kind = functools.partial(replay, capacity=capacity, **options)
    return jobs.job(make_replay=kind, **changes)


@pytest.mark.parametrize("capacity", [64, 10_000])
@pytest.mark.parametrize("name", jobs.PARADIGMS)
def test_what_is_fed_is_what_was_in_its_place(name: str, capacity: int) -> None:
    """Law 10: the counting agent recomputes every batch."""
    workers = 1 if name == "sequential" else 2
    agent = functools.partial(Counter, streams=2 * workers, n_step=3)
    changes = {"workers": workers, "env_steps": 256, "capacity": capacity}
    small = job(worlds=jobs.world("Counting"), agent=agent, **changes)
    ended = jobs.run(jobs.PARADIGMS[name], small)
    assert ended.totals["updates"] > 150
    assert len({*ended.state["replay"]["best_stream"].tolist()}) == 2 * workers


def test_one_worker_is_sequential_and_not_uniform() -> None:
    sequential = jobs.run(Sequential(), job())
    jobs.run(DCollect(), job()).same_as(sequential)
    for other in (job(replay=Uniform), job(finetune=0.0)):
        assert not torch.equal(jobs.run(Sequential(), other).floats, sequential.floats)


def test_a_resumed_run_is_the_unbroken_run() -> None:
    changes = {"env_steps": 300, "checkpoint_env_steps": 100}
    unbroken = jobs.run(Sequential(), job(**changes))
    run = Sequential().run(job(**changes))
    state = next(p.save() for p in run if p.env_steps >= 200)
    run.close()
    jobs.run(Sequential(), job(resume=state, **changes)).same_as(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", [DCollect(), DUpdate()], ids=["dcollect", "dupdate"])
def test_what_happened_live_happens_again(paradigm: Any, tmp_path: Path) -> None:
    """Law 13: although the best of other processes are drawn while those go on."""
    file = str(tmp_path / "journal.bin")
    changes = {"workers": 2, "max_ahead": 50, "env_steps": 300}
    live = jobs.run(paradigm, job(crew="process", journal=file, **changes))
    order = Recorded(Journal.read(file))
    again = jobs.run(paradigm, job(order=order, **changes))
    assert live.totals["updates"] > 200
    assert torch.equal(again.floats, live.floats)


def test_rows_that_are_drawn_are_copies() -> None:
    replay, model = played(3, share=1.0, episodes=1)
    batch = replay.sample(20, seeded())
    kept = {name: column.clone() for name, column in batch.items()}
    for _ in range(60):
        model.play(replay, ends=[TERMINATED] * 6)
    assert all(torch.equal(batch[name], kept[name]) for name in batch)
    assert_array_equal(replay.returns(), [max(replay.returns())])
