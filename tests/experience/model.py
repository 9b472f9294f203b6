"""A list that remembers everything, and says what a replay of it must give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from agents.base import ROW, Batch, Key, Spec
from paradigms.experience.layout import Fragment
from paradigms.experience.uniform import Uniform

LENGTH, ENVS, GAMMA = 3, 2, 0.5
GOES_ON, TERMINATED, TRUNCATED = range(3)
SPEC = Spec(
    Box(-np.inf, np.inf, (2,), np.float32),
    Box(-1, 1, (1,), np.float32),
    keys={**ROW, "obs": Key((2,)), "action": Key((1,)), "note": Key(dtype="int64")},
)


def make(
    writers: int = 1, kind: type[Uniform] = Uniform, *, n_step: int = 1, **options: Any
) -> Any:
    """A replay of two env slots a writer, fragments of 3 steps, and much space."""
    shape = {"capacity": 1000, "writers": writers, "num_envs": ENVS, "rollout_length": LENGTH}
    return kind(SPEC, n_step=n_step, gamma=GAMMA, **shape | options)


@dataclass
class Step:
    """One transition of the model: observations are numbers never shown twice."""

    obs: int
    ended: int
    final: int = -1


@dataclass
class Slot:
    """What one env slot has shown: its transitions and its present observation. resetting: its next
    step is a reset step."""

    shows: int
    steps: list[Step] = field(default_factory=list)
    first: bool = True
    resetting: bool = False


class Model:
    """Plays invented episodes into fragments, and remembers every one of their steps."""

    def __init__(self, writers: int) -> None:
        self.shown = 0
        self.slots = [Slot(self.show()) for _ in range(writers * ENVS)]
        self.numbers = [0] * writers

    def show(self) -> int:
        self.shown += 1
        return self.shown

    def replace_actor(self, rank: int) -> None:
        """Truncates its running episodes where they stand."""
        for slot in self.slots[rank * ENVS : (rank + 1) * ENVS]:
            if slot.steps and slot.steps[-1].ended == GOES_ON:
                slot.steps[-1].ended, slot.steps[-1].final = TRUNCATED, slot.shows
            slot.shows, slot.first, slot.resetting = self.show(), True, False

    def fill(self, fragment: Fragment, ends: list[int], *, next_step: bool) -> None:
        """Fills a fragment: `ends` says for each step of each slot how it ends; with `next_step` an
        end is followed by a reset step."""
        transitions = fragment.transitions
        fragment.data["final_obs"] = -7  # garbage where nothing has ended
        for at, end in enumerate(ends):
            t, b = divmod(at, ENVS)
            transition, slot = transitions[t, b], self.slots[fragment.rank * ENVS + b]
            transition["obs"], transition["note"], transition["version"] = (
                slot.shows,
                slot.shows,
                slot.shows // 10,
            )
            transition["action"], transition["reward"] = -slot.shows, reward(slot.shows)
            transition["valid"], transition["is_first"] = (
                not slot.resetting,
                slot.first and not slot.resetting,
            )
            transition["terminated"] = transition["truncated"] = False
            if slot.resetting:
                slot.shows, slot.resetting, slot.first = self.show(), False, True
                continue
            step, slot.first = Step(slot.shows, end), False
            slot.steps.append(step)
            slot.shows = self.show()
            if end != GOES_ON:
                transition["terminated"], transition["truncated"] = (
                    end == TERMINATED,
                    end == TRUNCATED,
                )
                step.final = slot.shows
                fragment.final_obs[t, b] = slot.shows
                slot.resetting, slot.first = next_step, True
                slot.shows = slot.shows if next_step else self.show()
        mine = self.slots[fragment.rank * ENVS : (fragment.rank + 1) * ENVS]
        fragment.next_obs[...] = [[slot.shows] * 2 for slot in mine]
        fragment.number, fragment.n_valid = (
            self.numbers[fragment.rank],
            int(transitions["valid"].sum()),
        )
        self.numbers[fragment.rank] += 1

    def play(self, replay: Uniform, rank: int = 0, ends: Sequence[int] = ()) -> int:
        """Adds a fragment with the `ends` given, or none; returns the transitions it added."""
        fragment = replay.layout.empty(rank)
        self.fill(fragment, list(ends) or [GOES_ON] * LENGTH * ENVS, next_step=False)
        return replay.add(fragment)

    def heads(self) -> np.ndarray:
        return np.array([len(slot.steps) for slot in self.slots])

    def follow(self, stream: int, serial: int, head: int, n_step: int) -> tuple[float, float, int]:
        """(reward, discount, next obs): summed until n steps, an end, or the write head."""
        slot, total = self.slots[stream], 0.0
        for k in range(n_step):
            step = slot.steps[serial + k]
            total += GAMMA**k * reward(step.obs)
            if step.ended != GOES_ON or serial + k + 1 == head:
                break
        if step.ended != GOES_ON:
            return total, 0.0 if step.ended == TERMINATED else GAMMA ** (k + 1), step.final
        later = serial + k + 1
        shown = slot.steps[later].obs if later < len(slot.steps) else slot.shows
        return total, GAMMA ** (k + 1), shown


def reward(obs: int) -> float:
    return float((7 * obs) % 64)


def agree(replay: Uniform, model: Model, batch: Batch, heads: np.ndarray) -> None:
    """Asserts that every transition of a batch is the model's, and may be drawn."""
    serial, stream = np.divmod(batch.index.numpy(), replay.streams)
    assert (serial >= np.maximum(0, heads - replay.window)[stream]).all()
    assert (serial < heads[stream]).all()
    true(replay, model, batch, heads)


def true(replay: Uniform, model: Model, batch: Batch, heads: np.ndarray) -> None:
    """Asserts that every transition of a batch is the model's."""
    for i, index in enumerate(batch.index.tolist()):
        serial, stream = divmod(index, replay.streams)
        head = int(heads[stream])
        step = model.slots[stream].steps[serial]
        assert batch.obs[i].tolist() == [step.obs] * 2
        assert batch.action[i].tolist() == [-step.obs]
        assert batch.note[i] == step.obs
        assert batch.version[i] == step.obs // 10
        summed, discount, following = model.follow(stream, serial, head, replay.n_step)
        assert batch.reward[i] == summed
        assert batch.discount[i] == discount
        assert batch.next_obs[i].tolist() == [following] * 2
        assert batch.terminated[i] == (step.ended == TERMINATED)
        assert batch.truncated[i] == (step.ended == TRUNCATED)
