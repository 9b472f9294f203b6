"""What an actor stores of stacked images, in all autoreset modes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from numpy.testing import assert_array_equal

from agents.dqn import DQN
from envs.drift import Drift
from envs.make import describe
from paradigms.experience.layout import Fragment, Layout
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.actor import Actor
from tests.experience.test_frames import WholeUniform, same
from tests.jobs import PARADIGMS, SEEING, job, laid, run, world


def actor(mode: str, *, frames: bool, stack: int = 3, envs: int = 2, alone: bool = False) -> Actor:
    """Acts at random."""
    drift = world("Drift", autoreset=mode, stack=stack, kwargs={"size": 8, "length": 5})
    agent = laid(DQN(describe(drift), 0, **SEEING))
    layout = Layout(agent.spec, 4, envs, frames=frames, alone=alone)
    return Actor(drift(num_envs=envs, seed=3), agent, layout, explore=lambda *_: 1.0, seed=0)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_a_replay_of_single_frames_gives_the_batches_of_one_of_whole_stacks(mode: str) -> None:
    batches: dict[bool, list[Any]] = {True: [], False: []}
    for frames, kind in ((True, Uniform), (False, WholeUniform)):
        each = actor(mode, frames=frames)
        shape = {"capacity": 30, "writers": 1, "num_envs": 2, "rollout_length": 4, "n_step": 2}
        replay = kind(each.agent.spec, **shape)
        for number in range(30):
            replay.add(each.collect(version=number))
            draws = torch.Generator().manual_seed(number)
            batches[frames].append(replay.sample(32, draws))
    for one, other in zip(batches[True], batches[False], strict=True):
        same(one, other)


def test_fragments_have_the_newest_frames_alone() -> None:
    thin, whole = (actor("next_step", frames=frames) for frames in (True, False))
    for _ in range(6):
        one, other = thin.collect(0), whole.collect(0)
        assert one.transitions["obs"].shape == (4, 2, 8, 8, 1)
        assert_array_equal(one.transitions["obs"], other.transitions["obs"][..., -1:])
        assert_array_equal(one.next_obs, other.next_obs[..., -1:])
        assert_array_equal(one.final_obs, other.final_obs[..., -1:])
    assert isinstance(one, Fragment) and one.data.nbytes < 0.4 * other.data.nbytes


class WholeRollout(Rollout):
    """Its fragments have every observation whole."""

    frames = False


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("stack", [2, 5])
def test_fragments_of_single_frames_are_stacked_to_what_whole_ones_have(
    mode: str, stack: int
) -> None:
    batches = []
    for kind in (Rollout, WholeRollout):
        each = actor(mode, frames=kind.frames, stack=stack, alone=True)
        shape = {"writers": 1, "num_envs": 2, "rollout_length": 4}
        replay = kind(each.agent.spec, capacity=2, fragments=2, **shape)
        found = []
        for number in range(20):
            replay.add(each.collect(version=number))
            if number % 2:
                found.append(replay.sample(0, torch.Generator()))
        batches.append(found)
        assert replay.nothing().obs.shape == (4, 0, 8, 8, stack)
    for one, other in zip(*batches, strict=True):
        valid = one["valid"]
        one["next_obs"][~valid] = other["next_obs"][~valid]  # arbitrary there
        same(one, other)
        assert one.obs.shape == (4, 4, 8, 8, stack)


def test_a_run_on_stacked_vectors_is_the_same_with_either_replay() -> None:
    ended = [
        run(
            PARADIGMS["dcollect"],
            job(world(stack=3), make_replay=functools.partial(kind, capacity=50)),
        )
        for kind in (Uniform, WholeUniform)
    ]
    assert ended[0].totals["updates"] > 64
    assert torch.equal(ended[0].floats, ended[1].floats)
    frame, whole = (one.stored()[0]["obs"].shape[1:] for one in ended)
    assert (frame, whole) == ((1,), (3,))


class Shifted(Drift):
    """Two channels that are called two frames, the older of which is not the first one."""

    def __init__(self) -> None:
        super().__init__(8)
        self.observation_space = type(self.observation_space)(0, 255, (8, 8, 2), np.uint8)
        self.metadata = {"stack": 2}

    def _show(self) -> np.ndarray:
        frame = super()._show()
        return np.concatenate((np.zeros_like(frame), frame), -1)


def test_stacks_that_do_not_begin_with_one_frame_are_refused() -> None:
    def shifted(num_envs: int = 1, seed: int = 0, rank: int | None = 0) -> SyncVectorEnv:
        return SyncVectorEnv([Shifted] * num_envs)

    spec = describe(shifted)
    assert spec.stack == 2
    agent = laid(functools.partial(DQN, **SEEING)(spec, 0))
    for frames in (False, True):
        layout = Layout(spec, 4, 2, frames=frames)
        each = Actor(shifted(2), agent, layout, explore=lambda *_: 1.0, seed=0)
        if not frames:
            each.collect(0)
            continue
        with pytest.raises(ValueError, match=r"^the env of worker 0 begins .* set env\.stack=1"):
            each.collect(0)
