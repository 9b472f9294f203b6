"""Greedy episodes are counted once each, on their own seeds, within a tenth of a core."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State
from agents.parts.vector import Vector
from envs.make import describe, make_env
from paradigms.base import Snapshot
from paradigms.runtime.crew import Failed
from paradigms.session.evaluator import Evaluator, Plan, play


class Constant(Agent):
    """Always takes the action that its only parameter names; `learn` is never called."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu") -> None:
        super().__init__(spec, seed, device)
        self.action = torch.zeros(1, requires_grad=True)
        self.groups["actor"] = Group([self.action], lr=0.1)
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}

    def initial_state(self, n: int) -> State:
        return {"steps": np.zeros(n, np.int64)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        assert explore is None, "evaluation is greedy"
        action = np.full((len(obs), 1), float(self.action.detach()), np.float32)
        return Acted(action, {"steps": state["steps"] + 1}, {})

    def learn(self, batch: Batch) -> Learned:
        raise AssertionError("evaluation never learns")


class Averaging(Constant):
    """Constant with a running mean of its parameter."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu") -> None:
        super().__init__(spec, seed, device)
        self.slow["average"] = [torch.zeros(1)]
        self.parts["evaluate"] = ["actor", "average"]

    def use_average(self) -> None:
        self.vector.flat("actor").copy_(self.vector.flat("average"))


class Broken(Constant):
    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        raise ArithmeticError("this policy cannot act")


def plan(agent: type[Agent] = Constant, world: str = "Identity", **options: Any) -> Plan:
    env = functools.partial(make_env, id=f"paceline/{world}-v0")
    return Plan(agent, env, describe(env), **{"slots": 4, "every_seconds": 0.0, **options})


def snapshot(action: float, updates: int = 1) -> Snapshot:
    agent = Constant(describe(plan().make_env), 0)
    Vector(agent)
    agent.action.data.fill_(action)
    return Snapshot("all", agent.vector.floats.clone(), agent.vector.counts.clone(), updates)


def size() -> int:
    return 16  # one parameter, padded


def test_every_slot_plays_one_episode_and_stops_counting() -> None:
    class Uneven:
        """Slot i ends after i + 1 steps, each worth 1, and goes on with the next episode."""

        num_envs = 3

        def reset(self, *, seed: list[int]) -> tuple[np.ndarray, dict[str, Any]]:
            self.seeds, self.steps = seed, 0
            return np.zeros((3, 1), np.float32), {}

        def step(self, action: np.ndarray) -> tuple[Any, ...]:
            self.steps += 1
            ended = self.steps % (np.arange(3) + 1) == 0
            return np.zeros((3, 1), np.float32), np.ones(3), ended, np.zeros(3, bool), {}

    world: Any = Uneven()
    agent, _ = plan().build()
    played = play(agent, world, [7, 8, 9])
    assert played is not None
    assert played.returns.tolist() == [1.0, 2.0, 3.0]
    assert played.lengths.tolist() == [1, 2, 3]
    assert world.steps == 3, "it went on after the longest episode"
    fewer = play(agent, world, [7])
    assert fewer is not None
    assert fewer.lengths.tolist() == [1]


def test_lengths_are_env_steps_however_many_an_action_is_played_for() -> None:
    env = functools.partial(make_env, id="paceline/Identity-v0", action_repeat=5)
    agent, world = Plan(Constant, env, describe(env), slots=2).build()
    played = play(agent, world, [7, 8])
    assert played is not None
    assert played.lengths.tolist() == [10, 10]


def test_the_same_seeds_give_the_same_episodes_and_others_others() -> None:
    with Evaluator(plan(), size=size(), where="inline") as evaluator:
        first, again = evaluator.measure(snapshot(0.1), 10), evaluator.measure(snapshot(0.1), 10)
        other = evaluator.measure(snapshot(0.1), 10, number=1)
    assert first.returns.tolist() == again.returns.tolist()
    assert len(set(first.returns.tolist())) == 10
    assert not set(first.returns.tolist()) & set(other.returns.tolist())


def test_no_two_evaluations_share_a_seed_and_none_shares_the_measurements() -> None:
    p = plan()
    drawn = [p.seeds("evaluate", n, 20) for n in range(50)] + [p.seeds("measure", 0, 100)]
    flat = [seed for seeds in drawn for seed in seeds]
    assert len(set(flat)) == len(flat)
    assert all(0 <= seed < 2**31 for seed in flat)


def test_the_weights_of_the_copy_are_judged_whatever_part_it_holds() -> None:
    with Evaluator(plan(world="Quadratic"), size=size(), where="inline") as evaluator:
        whole = [evaluator.measure(snapshot(a), 4).returns.mean() for a in (-1.0, 0.3)]
        parts = [replace(snapshot(a), part="evaluate") for a in (-1.0, 0.3)]
        part = [evaluator.measure(c, 4).returns.mean() for c in parts]
    assert whole == part
    assert whole[0] < whole[1]


def test_the_raw_policy_is_judged_unless_the_averaged_one_is_asked_for() -> None:
    with Evaluator(plan(Averaging), size=2 * size(), where="inline") as evaluator:
        both = torch.zeros(2 * size())
        both[0], both[size()] = 0.9, 0.1
        judged = Snapshot("evaluate", both, torch.zeros(1), 1)
        first = evaluator.measure(judged, 8)
        averaged = evaluator.measure(judged, 8, averaged=True)
        assert evaluator.measure(judged, 8).returns.tolist() == first.returns.tolist()
    with Evaluator(plan(), size=size(), where="inline") as evaluator:
        assert first.returns.tolist() == evaluator.measure(snapshot(0.9), 8).returns.tolist()
        assert averaged.returns.tolist() == evaluator.measure(snapshot(0.1), 8).returns.tolist()


def test_an_evaluation_comes_back_with_the_copy_it_judged() -> None:
    with Evaluator(plan(), size=size(), where="inline") as evaluator:
        assert evaluator.poll() == []
        offered = snapshot(0.5, updates=77)
        evaluator.offer(offered)
        assert not evaluator.due(), "one at a time"
        (evaluation,) = evaluator.poll()
    assert evaluation.snapshot is offered
    assert len(evaluation.returns) == 4
    assert evaluation.mean == pytest.approx(evaluation.returns.mean())


def test_the_next_one_waits_until_it_takes_a_share_of_a_core_unless_one_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Evaluator(plan(every_seconds=5.0), size=size(), where="inline") as evaluator:
        evaluator.offer(snapshot(0.0))
        evaluator._desk.seconds.array[0] = 2.0
        evaluator.poll()
        now = 117.9
        assert not evaluator.due()
        assert evaluator.due(in_a_row=1)
        assert evaluator.due(in_a_row=2)
        assert not evaluator.due(in_a_row=3)
        now = 118.1
        assert evaluator.due()
        evaluator.offer(snapshot(0.0))
        evaluator._desk.seconds.array[0] = 0.001
        evaluator.poll()
        now = 123.0
        assert not evaluator.due()


def test_with_a_core_of_its_own_it_goes_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    options = {"every_seconds": 0.0, "share": 1.0}
    with Evaluator(plan(**options), size=size(), where="inline") as evaluator:
        evaluator.offer(snapshot(0.0))
        evaluator._desk.seconds.array[0] = 2.0
        evaluator.poll()
        assert evaluator.due()


def test_null_means_none_while_training() -> None:
    with Evaluator(plan(every_seconds=None), size=size(), where="inline") as evaluator:
        assert not evaluator.due(in_a_row=1)


def test_a_process_of_its_own_gives_the_same_returns() -> None:
    with Evaluator(plan(), size=size(), where="inline") as here:
        expected = here.measure(snapshot(0.25), 6)
        here.offer(snapshot(0.25))
        (evaluation,) = here.poll()
    with Evaluator(plan(), size=size()) as there:
        there.offer(snapshot(0.25))
        (judged,) = there.finish()
        measured = there.measure(snapshot(0.25), 6)
    assert measured.returns.tolist() == expected.returns.tolist()
    assert judged.returns.tolist() == evaluation.returns.tolist()


def test_a_policy_that_cannot_act_ends_the_run_with_its_traceback() -> None:
    with Evaluator(plan(Broken), size=size()) as evaluator:
        evaluator.offer(snapshot(0.0))
        with pytest.raises(Failed, match="this policy cannot act"):
            evaluator.finish()


def test_a_policy_is_confirmed_on_the_seeds_that_it_is_measured_on() -> None:
    with Evaluator(plan(world="Counting"), size=size(), where="inline") as evaluator:
        evaluator.confirm(snapshot(0.3), 10)
        assert not evaluator.free
        (ended,) = evaluator.finish()
        assert ended.confirming
        assert len(ended.returns) == 10, "ten episodes in four slots"
        assert evaluator.free
        played = evaluator.measure(snapshot(0.3), 10)
        assert np.array_equal(ended.returns, played.returns)
        evaluator.offer(snapshot(0.3))
        (evaluated,) = evaluator.finish()
        assert not evaluated.confirming
        assert len(evaluated.returns) == 4
