"""Frames stored once: the bits of a replay that keeps whole stacks, and much less memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.base import ROW, Batch, Key, Spec
from paradigms.experience.layout import Fragment, Layout
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.uniform import Uniform

LENGTH, ENVS = 3, 2
GOES_ON, TERMINATED, TRUNCATED = range(3)
ENDS = st.lists(st.sampled_from([GOES_ON] * 6 + [TERMINATED, TRUNCATED]), min_size=6, max_size=6)
WHAT = st.sampled_from(["add"] * 6 + ["replace", "save and load"])
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 1), ENDS), min_size=1, max_size=24)


class WholeUniform(Uniform):
    """Keeps every observation whole."""

    frames = False


class WholePrioritized(Prioritized):
    """Keeps every observation whole."""

    frames = False


KINDS: dict[Any, Any] = {Uniform: WholeUniform, Prioritized: WholePrioritized}


def spec(stack: int, channels: int, sides: tuple[int, int] = (2, 3)) -> Spec:
    shape = (*sides, stack * channels)
    keys = {**ROW, "obs": Key(shape, "uint8"), "action": Key((1,))}
    return Spec(Box(0, 255, shape, np.uint8), Box(-1, 1, (1,)), stack=stack, keys=keys)


def make(kind: Any, of: Spec, capacity: int, n_step: int = 1) -> Any:
    shape = {"writers": 2, "num_envs": ENVS, "rollout_length": LENGTH}
    return kind(of, capacity=capacity, n_step=n_step, gamma=0.5, **shape)


@dataclass
class Slot:
    """An env slot: what it shows, and where its episode stands."""

    shows: np.ndarray
    first: bool = True
    resetting: bool = False


@dataclass
class Film:
    """Invented episodes of random frames, in fragments with whole stacks."""

    of: Spec
    next_step: bool
    draws: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self) -> None:
        self.layout = Layout(self.of, LENGTH, ENVS)
        self.slots = [[Slot(self.begin()) for _ in range(ENVS)] for _ in range(2)]
        self.numbers = [0, 0]

    def frame(self) -> np.ndarray:
        *sides, depth = self.of.keys["obs"].shape
        return self.draws.integers(0, 256, (*sides, depth // self.of.stack), np.uint8)

    def begin(self) -> np.ndarray:
        return np.concatenate([self.frame()] * self.of.stack, -1)

    def further(self, obs: np.ndarray) -> np.ndarray:
        frame = self.frame()
        return np.concatenate((obs[..., frame.shape[-1] :], frame), -1)

    def replace_actor(self, rank: int) -> None:
        self.slots[rank] = [Slot(self.begin()) for _ in range(ENVS)]

    def play(self, rank: int, ends: Sequence[int]) -> Fragment:
        """The next fragment of a worker; `ends` says for each step of each slot how it ends."""
        fragment = self.layout.empty(rank)
        fragment.data["final_obs"] = 77  # garbage where nothing has ended
        for at, end in enumerate(ends):
            t, b = divmod(at, ENVS)
            transition, slot = fragment.transitions[t, b], self.slots[rank][b]
            transition["obs"], transition["reward"] = slot.shows, self.draws.integers(64)
            transition["valid"] = not slot.resetting
            transition["is_first"] = slot.first and not slot.resetting
            if slot.resetting:
                slot.shows, slot.resetting, slot.first = self.begin(), False, True
                continue
            transition["terminated"], transition["truncated"] = (
                end == TERMINATED,
                end == TRUNCATED,
            )
            slot.shows, slot.first = self.further(slot.shows), end != GOES_ON
            if end != GOES_ON:
                fragment.final_obs[t, b] = slot.shows
                slot.resetting = self.next_step
                slot.shows = slot.shows if self.next_step else self.begin()
        for b, slot in enumerate(self.slots[rank]):
            fragment.next_obs[b] = slot.shows
        fragment.number = self.numbers[rank]
        fragment.n_valid = int(fragment.transitions["valid"].sum())
        self.numbers[rank] += 1
        return fragment


def thin(layout: Layout, whole: Fragment) -> Fragment:
    """The same fragment with what a layout keeps of its observations."""
    fragment = layout.empty(whole.rank)
    for name in fragment.transitions.dtype.names or ():
        column = whole.transitions[name]
        fragment.transitions[name] = layout.kept(column) if name == "obs" else column
    fragment.final_obs[...] = layout.kept(whole.final_obs)
    fragment.next_obs[...] = layout.kept(whole.next_obs)
    fragment.number, fragment.n_valid = whole.number, whole.n_valid
    return fragment


def same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]), name


ENDLESS = [("add", 0, [GOES_ON] * 6)] * 6


@settings(max_examples=60, deadline=None)
@example(ENDLESS, (5, 3), 4, False, 4, Uniform)
@example([*ENDLESS, ("save and load", 0, [GOES_ON] * 6)], (5, 3), 4, False, 4, Uniform)
@given(
    STEPS,
    st.sampled_from([(1, 2), (2, 1), (3, 2), (4, 1), (5, 3)]),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([4, 20, 1000]),
    st.sampled_from([Uniform, Prioritized]),
)
def test_batches_have_the_bits_of_a_replay_that_keeps_whole_stacks(
    steps: list[tuple[str, int, list[int]]],
    shape: tuple[int, int],
    n_step: int,
    next_step: bool,
    capacity: int,
    kind: Any,
) -> None:
    of = spec(*shape)
    film = Film(of, next_step)
    replays = [make(each, of, capacity, n_step) for each in (kind, KINDS[kind])]
    for what, rank, ends in steps:
        if what == "save and load":
            saved = [replay.save() for replay in replays]
            replays = [make(each, of, capacity, n_step) for each in (kind, KINDS[kind])]
            for replay, state in zip(replays, saved, strict=True):
                replay.load(state)
        if what == "replace":
            film.replace_actor(rank)
        whole = film.play(rank, ends)
        added = [replay.add(thin(replay.layout, whole)) for replay in replays]
        assert added == [whole.n_valid] * 2
        assert len(replays[0]) == len(replays[1])
        if len(replays[0]):
            batches = [replay.sample(40, torch.Generator().manual_seed(0)) for replay in replays]
            same(*batches)
            assert batches[0].obs.shape == (40, *of.keys["obs"].shape)
            for replay, batch in zip(replays, batches, strict=True):
                replay.update(batch.index, batch.reward)


def filled(fragments: int, kind: Any = Uniform, *, ends: Sequence[int], capacity: int = 40) -> Any:
    of = spec(4, 1, (8, 8))
    film, replay = Film(of, next_step=False), make(kind, of, capacity)
    for number in range(fragments):
        replay.add(thin(replay.layout, film.play(number % 2, ends)))
    return replay


def test_the_last_frames_of_episodes_take_memory_for_those_that_are_held() -> None:
    """However often the ring is overwritten."""
    once = filled(8, ends=[TERMINATED] + [GOES_ON] * 5).ring
    often = filled(200, ends=[TERMINATED] + [GOES_ON] * 5).ring
    for ring in (once, often):
        places = np.flatnonzero(ring.final.array.any(1)) % ring.length
        assert places.max() < 2 * ring.length / LENGTH
    assert often.nbytes < often.packed.nbytes + 2 * often.length * 8 * 8


def test_a_hundred_thousand_transitions_of_atari_take_less_than_800_mb() -> None:
    replay = Uniform(
        spec(4, 1, (84, 84)), capacity=100_000, writers=2, num_envs=4, rollout_length=8
    )
    assert replay.ring.nbytes < 0.8e9
    frame = 84 * 84
    assert replay.layout.transition.itemsize < frame + 64
    assert replay.layout.fragment.itemsize < 2.2 * 8 * 4 * (frame + 64)
    assert replay.layout.sampled["obs"].shape == (84, 84, 4)


def test_a_single_channel_is_stacked_without_copying_it_twice() -> None:
    batch = filled(20, ends=[GOES_ON] * 6).sample(8, torch.Generator().manual_seed(0))
    assert batch.obs.movedim(-1, 1).is_contiguous()


@pytest.mark.parametrize("kind", [Uniform, Prioritized])
def test_a_checkpoint_may_be_loaded_into_a_smaller_or_larger_replay(kind: Any) -> None:
    ends = [GOES_ON, TRUNCATED, GOES_ON, GOES_ON, TERMINATED, GOES_ON]
    replay = filled(60, kind, ends=ends, capacity=40)
    for capacity in (12, 40, 1000):
        other = make(kind, spec(4, 1, (8, 8)), capacity)
        other.load(replay.save())
        assert len(other) == min(40, capacity)
        batch = other.sample(64, torch.Generator().manual_seed(0))
        stored = {int(i): n for n, i in enumerate(batch.index.tolist())}
        for seed in range(20):
            theirs = replay.sample(64, torch.Generator().manual_seed(seed))
            for n, index in enumerate(theirs.index.tolist()):
                if (mine := stored.get(index)) is not None:
                    assert torch.equal(batch.obs[mine], theirs.obs[n])
                    assert torch.equal(batch.next_obs[mine], theirs.next_obs[n])
