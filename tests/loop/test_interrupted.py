"""Law 11: an env that raises is rebuilt alone; the episode that it interrupts ends with the step
before, teaches nothing false and is none that has finished; the error is counted."""

from __future__ import annotations

import collections
import functools
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.testing import assert_array_equal

from agents.parts.returns import end_known
from envs.counting import Counting
from envs.make import make_env
from paradigms.experience.elite import Elite
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Rollout
from paradigms.loop import episodes
from paradigms.loop.episodes import play
from paradigms.pbt import PBT
from paradigms.sequential import Sequential
from paradigms.session.evaluator import Evaluator
from tests.counting import Counter, rule
from tests.jobs import ONCE, PARADIGMS, job, run, world
from tests.loop.test_actor import MODES, collected, make
from tests.session.test_evaluator import Constant, plan, snapshot

OFTEN = {"kind": "raise", "chance": 0.02}


@pytest.mark.parametrize("rollout_length", [1, 8])
@pytest.mark.parametrize("mode", MODES)
def test_transitions_go_on_by_the_rules_up_to_an_error(mode: str, rollout_length: int) -> None:
    """The step of the error is none; within a fragment the actor truncates its episode."""
    heard: list[tuple[int, str]] = []
    actor = make(
        mode,
        rollout_length=rollout_length,
        worlds=world("Fault", autoreset=mode, kwargs=OFTEN),
        failed=lambda errors, trace: heard.append((errors, trace)),
    )
    fragments = collected(actor, 400 // rollout_length)
    assert sum(errors for errors, _ in heard) > 8
    assert all("Fault raised at its step" in trace for _, trace in heard)
    cuts, totals = 0, []
    for slot in range(2):
        rows = np.concatenate([fragment.transitions[:, slot] for fragment in fragments])
        final = np.concatenate([fragment.final_obs[:, slot] for fragment in fragments])
        total = 0.0
        for t in np.flatnonzero(rows["valid"])[:-1]:
            row, after = rows[t], rows[t + 1 :][rows["valid"][t + 1 :]][0]
            _, following, terminated, truncated = Counting.follow(
                row["obs"][None], rule(row["obs"][None])
            )
            total = row["reward"] + (0.0 if row["is_first"] else total)
            ended = bool(terminated[0] or truncated[0])
            interrupted = bool(rows[t + 1]["truncated"] and not rows[t + 1]["valid"])
            assert after["is_first"] == (ended or interrupted)
            assert row["terminated"] == terminated[0]
            cut = interrupted and (t + 1) % rollout_length > 0
            assert row["truncated"] == (cut or (truncated[0] and not terminated[0]))
            if row["terminated"] or row["truncated"]:
                assert_array_equal(final[t], following[0])
            if interrupted:
                cuts += 1
            elif not ended:
                assert_array_equal(after["obs"], following[0])
            if ended:
                totals.append(total)
    assert cuts > 4
    finished = collections.Counter(total for total, _ in actor.take_episodes())
    assert not collections.Counter(totals) - finished
    assert finished.total() <= len(totals) + 2, "a slot's last transition is not looked at"


REPLAYS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "prioritized": {"make_replay": functools.partial(Prioritized, capacity=10_000)},
    "elite": {"make_replay": functools.partial(Elite, capacity=10_000, share=0.5)},
}


@pytest.mark.parametrize("rollout_length", [1, 8])
@pytest.mark.parametrize("replay", REPLAYS)
def test_every_batch_is_true(replay: str, rollout_length: int) -> None:
    """`Counter` recomputes all of it. Only episodes that came to their end are elite."""
    agent = functools.partial(Counter, streams=2, n_step=3, whole=False)
    sizes = {"rollout_length": rollout_length, "env_steps": 500}
    ended = run(
        PARADIGMS["sequential"],
        job(world("Fault", kwargs=OFTEN), agent, **sizes, **REPLAYS[replay]),
    )
    assert ended.totals["env_errors"] > 8
    assert ended.totals["updates"] > 400
    stored = ended.stored()
    for stream in stored:
        ends = stream["terminated"] | stream["truncated"]
        assert_array_equal(stream["is_first"][1:], ends[:-1])
    best = ended.state["replay"].get("best_transitions", ())
    assert bool(len(best)) == (replay == "elite")
    for packed in best:
        obs = packed.numpy().view(stored[0].dtype)[:, 0]["obs"]
        assert_array_equal(obs[:, 1], np.arange(Counting.length(int(obs[0, 0]))))


@pytest.mark.parametrize("name", ["sequential", "dcollect", "dupdate", "hogwild", "gorila"])
def test_a_run_reaches_its_budget_and_two_of_one_seed_are_alike(name: str) -> None:
    agent = functools.partial(Counter, streams=2, whole=False)
    runs = [
        run(PARADIGMS[name], job(world("Fault", kwargs=OFTEN), agent, env_steps=400))
        for _ in range(2)
    ]
    runs[0].same_as(runs[1])
    totals = runs[0].totals
    assert totals["env_errors"] == runs[1].totals["env_errors"] > 5
    assert totals["env_steps"] >= 400
    assert totals["restarts"] == totals["lost"] == totals["dropped"] == 0


@pytest.mark.parametrize("paradigm", [PARADIGMS["dcollect"], PBT(Sequential(), members=2)])
def test_the_first_error_is_noted_once_with_its_traceback(paradigm: Any) -> None:
    notes: list[tuple[str, str]] = []
    agent = functools.partial(Counter, streams=2, whole=False)
    broken = job(world("Fault", kwargs=OFTEN), agent, env_steps=400)
    ended = run(paradigm, broken, lambda progress: notes.extend(progress.notes))
    assert ended.totals["env_errors"] > 5
    ((words, trace),) = notes
    assert words.startswith("an env of worker 0 raised RuntimeError: Fault raised at its step")
    assert trace.startswith("Traceback") and trace.endswith("\n") and "envs/counting.py" in trace


def test_fragments_that_are_consumed_once_are_true_too() -> None:
    """The value of an interrupted episode's last state is that of the observation after it."""
    seen: list[Any] = []

    class Looks(Counter):
        replays = frozenset({"rollout"})

        def learn(self, batch: Any) -> Any:
            seen.append({name: column.numpy().copy() for name, column in batch.items()})
            return super().learn(batch)

        def check(self, batch: Any) -> None:
            pass

    once: dict[str, Any] = {**ONCE, "rollout_length": 8, "make_replay": Rollout}
    agent = functools.partial(Looks, streams=2)
    ended = run(
        PARADIGMS["sequential"], job(world("Fault", kwargs=OFTEN), agent, env_steps=400, **once)
    )
    assert ended.totals["env_errors"] > 5
    for batch in seen:
        obs, valid = batch["obs"], batch["valid"]
        expected = Counting.follow(obs[valid], rule(obs[valid]))[1]
        assert_array_equal(batch["next_obs"][valid], expected)
        assert_array_equal(batch["discount"][valid] == 0, batch["terminated"][valid])
        later = valid[:-1] & ~valid[1:]
        assert (batch["terminated"] | batch["truncated"])[:-1][later].all()


def test_an_interrupted_episode_has_no_known_end() -> None:
    """Column 0 ends and is reset; column 1 is interrupted before step 2, then ends; column 2 never
    ends."""
    cut = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.bool)
    interrupted = torch.zeros_like(cut)
    interrupted[2, 1] = True
    known = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert_array_equal(end_known(cut, interrupted).int(), known)


class Tiring(gym.Env):
    """Ten steps of reward 1, each of which raises with the probability `chance`; or `always` at the
    one of that number."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, chance: float = 0.0, always: int = 0, length: int = 10) -> None:
        self.chance, self.always, self.length = chance, always, length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.np_random.random() < self.chance or self.steps == self.always:
            raise OSError(f"tired at {self.steps}")
        return np.zeros(1, np.float32), 1.0, self.steps >= self.length, False, {}


@pytest.fixture(autouse=True)
def registered() -> Any:
    gym.register("tests/Tiring-v0", Tiring)
    yield
    del gym.registry["tests/Tiring-v0"]


def test_an_interrupted_episode_of_an_evaluation_is_begun_again() -> None:
    tiring = functools.partial(make_env, id="tests/Tiring-v0", kwargs={"chance": 0.01})
    heard: list[str] = []
    tired = replace(plan(), make_env=tiring, slots=10)
    with Evaluator(
        tired, where="inline", say=lambda words, trace: heard.append(words)
    ) as evaluator:
        first, again = (evaluator.measure(snapshot(0.1), 60) for _ in range(2))
        assert evaluator.env_errors > 5
    assert_array_equal(first.returns, 10.0)
    assert_array_equal(first.lengths, 10)
    assert_array_equal(again.returns, 10.0)
    (words,) = heard
    assert words.startswith("an env of the evaluation raised OSError: tired at")


def test_an_episode_that_can_never_end_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(episodes, "TRIES", 3)
    env = make_env("tests/Tiring-v0", kwargs={"always": 150, "length": 200})
    agent = Constant(job().spec, 0)
    with pytest.raises(RuntimeError, match=r"each of 3 tries .* OSError: tired at 150: repair"):
        play(agent, env, [1])
