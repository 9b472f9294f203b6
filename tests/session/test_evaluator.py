"""Greedy episodes are counted once each, on their own seeds, within a tenth of a core."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
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
from paradigms.session.evaluator import Evaluator, Plan


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


def part_of(whole: Snapshot) -> Snapshot:
    return replace(whole, part="evaluate", floats=whole.floats[: size()])


def takes(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every evaluation takes so much CPU time."""
    readings = itertools.count(0.0, seconds)
    monkeypatch.setattr(time, "process_time", lambda: next(readings))


def evaluation_process() -> Any:
    (child,) = [c for c in multiprocessing.active_children() if c.name == "evaluator"]
    return child


def test_the_same_seeds_give_the_same_episodes_and_others_others() -> None:
    with Evaluator(plan(), where="inline") as evaluator:
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


def test_the_weights_of_the_snapshot_are_evaluated_whatever_part_it_holds() -> None:
    with Evaluator(plan(world="Quadratic"), where="inline") as evaluator:
        whole = [evaluator.measure(snapshot(a), 4).returns.mean() for a in (-1.0, 0.3)]
        parts = [part_of(snapshot(a)) for a in (-1.0, 0.3)]
        part = [evaluator.measure(c, 4).returns.mean() for c in parts]
    assert whole == part
    assert whole[0] < whole[1]


def test_the_raw_policy_is_evaluated_unless_the_averaged_one_is_requested() -> None:
    with Evaluator(plan(Averaging), where="inline") as evaluator:
        both = torch.zeros(2 * size())
        both[0], both[size()] = 0.9, 0.1
        judged = Snapshot("evaluate", both, torch.zeros(1), 1)
        first = evaluator.measure(judged, 8)
        averaged = evaluator.measure(judged, 8, averaged=True)
        assert evaluator.measure(judged, 8).returns.tolist() == first.returns.tolist()
    with Evaluator(plan(), where="inline") as evaluator:
        assert first.returns.tolist() == evaluator.measure(snapshot(0.9), 8).returns.tolist()
        assert averaged.returns.tolist() == evaluator.measure(snapshot(0.1), 8).returns.tolist()


def test_an_evaluation_comes_back_with_its_snapshot() -> None:
    with Evaluator(plan(), where="inline") as evaluator:
        assert evaluator.poll() == []
        submitted = snapshot(0.5, updates=77)
        evaluator.submit(submitted)
        assert not evaluator.due(), "one at a time"
        (evaluation,) = evaluator.poll()
    assert evaluation.snapshot is submitted
    assert len(evaluation.returns) == 4
    assert evaluation.mean == pytest.approx(evaluation.returns.mean())


def test_the_next_evaluation_waits_for_its_share_of_a_core_unless_one_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Evaluator(plan(every_seconds=5.0), where="inline") as evaluator:
        takes(2.0, monkeypatch)
        evaluator.submit(snapshot(0.0))
        evaluator.poll()
        now = 117.9
        assert not evaluator.due()
        assert evaluator.due(in_a_row=1)
        assert evaluator.due(in_a_row=2)
        assert not evaluator.due(in_a_row=3)
        now = 118.1
        assert evaluator.due()
        takes(0.001, monkeypatch)
        evaluator.submit(snapshot(0.0))
        evaluator.poll()
        now = 123.0
        assert not evaluator.due()


def test_with_a_core_of_its_own_the_evaluator_goes_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    options = {"every_seconds": 0.0, "share": 1.0}
    with Evaluator(plan(**options), where="inline") as evaluator:
        takes(2.0, monkeypatch)
        evaluator.submit(snapshot(0.0))
        evaluator.poll()
        assert evaluator.due()


def test_all_rounds_of_a_confirmation_count_for_the_share_of_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class World:
        """Takes a second of CPU time at each reset; its episodes have one step."""

        num_envs, seconds = 4, 0.0

        def reset(self, *, seed: list[int]) -> tuple[np.ndarray, dict[str, Any]]:
            World.seconds += 1.0
            return np.zeros((4, 1), np.float32), {}

        def step(self, action: np.ndarray) -> tuple[Any, ...]:
            ended = np.ones(4, bool)
            return np.zeros((4, 1), np.float32), np.ones(4), ended, ~ended, {}

        def close(self) -> None: ...

    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "process_time", lambda: World.seconds)
    world: Any = World
    three_rounds = replace(plan(share=0.5), make_env=lambda **_: world())
    with Evaluator(three_rounds, where="inline") as evaluator:
        evaluator.confirm(snapshot(0.0), 12)
        evaluator.poll()
        now += 2.9
        assert not evaluator.due(), "three rounds took three seconds, not one"
        now += 0.2
        assert evaluator.due()


def test_every_seconds_null_means_no_evaluation_while_training() -> None:
    with Evaluator(plan(every_seconds=None), where="inline") as evaluator:
        assert not evaluator.due(in_a_row=1)


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_returns() -> None:
    with Evaluator(plan(), where="inline") as here:
        expected = here.measure(snapshot(0.25), 6)
        here.submit(snapshot(0.25))
        (evaluation,) = here.poll()
    with Evaluator(plan()) as there:
        there.submit(snapshot(0.25))
        (judged,) = there.finish()
        measured = there.measure(snapshot(0.25), 6)
    assert measured.returns.tolist() == expected.returns.tolist()
    assert judged.returns.tolist() == evaluation.returns.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("idle", [True, False])
def test_a_killed_evaluation_process_is_replaced_and_its_request_sent_again(idle: bool) -> None:
    heard: list[str] = []
    with Evaluator(plan(), where="inline") as here:
        here.submit(snapshot(0.25))
        (expected,) = here.poll()
    with Evaluator(plan(), say=lambda words, trace: heard.append(words)) as evaluator:
        child = evaluation_process()
        os.kill(child.pid, signal.SIGKILL if idle else signal.SIGSTOP)
        evaluator.submit(snapshot(0.25))
        os.kill(child.pid, signal.SIGKILL)
        assert evaluator.poll() == [], "nobody waits for the replacement"
        (result,) = evaluator.finish()
        assert evaluator.restarts == 1
        assert evaluator.measure(snapshot(0.25), 6).returns.shape == (6,)
    assert result.returns.tolist() == expected.returns.tolist()
    (words,) = heard
    assert words == "the evaluation process was killed by SIGKILL, and is replaced"


@pytest.mark.slow
def test_a_measurement_of_thousands_of_episodes_passes_through_the_pipe() -> None:
    with Evaluator(plan(slots=500)) as evaluator:
        played = evaluator.measure(snapshot(0.0), 20_000)
    assert played.returns.shape == played.lengths.shape == (20_000,)
    assert (played.returns.dtype, played.lengths.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("other", [snapshot(0.0), part_of(snapshot(0.0))])
def test_weights_of_another_agent_are_refused(other: Snapshot) -> None:
    with (
        Evaluator(plan(Averaging), where="inline") as evaluator,
        pytest.raises(ValueError, match="its agent has"),
    ):
        evaluator.submit(other)


@pytest.mark.slow
def test_a_policy_that_cannot_act_ends_the_run_with_its_traceback() -> None:
    with Evaluator(plan(Broken)) as evaluator:
        evaluator.submit(snapshot(0.0))
        with pytest.raises(Failed, match="this policy cannot act"):
            evaluator.finish()


def test_a_policy_is_confirmed_on_the_seeds_that_it_is_measured_on() -> None:
    with Evaluator(plan(world="Counting"), where="inline") as evaluator:
        evaluator.confirm(snapshot(0.3), 10)
        assert not evaluator.free
        (ended,) = evaluator.finish()
        assert ended.confirming
        assert len(ended.returns) == 10, "ten episodes in four slots"
        assert evaluator.free
        played = evaluator.measure(snapshot(0.3), 10)
        assert np.array_equal(ended.returns, played.returns)
        evaluator.submit(snapshot(0.3))
        (evaluated,) = evaluator.finish()
        assert not evaluated.confirming
        assert len(evaluated.returns) == 4
