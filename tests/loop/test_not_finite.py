"""Numbers that are not finite end a run, and the message names who returned them."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest

from agents.base import Acted, State
from paradigms.errors import Failed, NotFinite
from tests.counting import Counter
from tests.jobs import PARADIGMS, job, run, sac, world
from tests.loop.test_actor import MODES, make


class Echo(Counter):
    """Its actions are NaN where its observations are, and in its `broken` call and later."""

    calls, broken, output = 0, 1000, "action"

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        acted, self.calls = super().act(obs, state, explore), self.calls + 1
        bad = np.isnan(obs[:, 0])
        bad[-1] |= self.calls >= self.broken
        if self.output == "action":
            return acted._replace(action=np.where(bad[:, None], np.nan, acted.action))
        extras = {**acted.extras, "twice": np.where(bad[:, None], np.nan, acted.extras["twice"])}
        return acted._replace(extras=extras)


def test_a_nan_of_the_env_is_an_error_that_names_the_worker_and_the_setting() -> None:
    """Although the policy's outputs at the following steps are not finite either."""
    worlds = world("Fault", kwargs={"kind": "nan", "at": 5})
    actor = make(worlds=worlds, rank=3, workers=4, agent=Echo)
    with pytest.raises(NotFinite, match=r"env of worker 3 returned a NaN .* check env.id"):
        actor.collect(0)


def test_a_nan_of_the_first_observation_is_blamed_on_the_env() -> None:
    actor = make(agent=Echo)
    actor.obs[...] = np.nan
    with pytest.raises(NotFinite, match="env of worker 0"):
        actor.collect(0)


@pytest.mark.parametrize("output", ["action", "twice"])
@pytest.mark.parametrize("broken", [1, 5])
def test_a_nan_of_the_policy_is_an_error_that_names_the_learning_rate(
    broken: int, output: str
) -> None:
    actor = make(rank=3, workers=4, agent=Echo)
    agent: Any = actor.agent
    agent.broken, agent.output = broken, output
    with pytest.raises(
        NotFinite, match=rf"policy of worker 3 .*\({output}\).* agent\.lr"
    ) as caught:
        actor.collect(0)
    assert "env.id" not in str(caught.value)


def test_no_action_of_a_broken_policy_reaches_the_env() -> None:
    """Some envs abort the process at a NaN."""
    actor = make(agent=Echo)
    agent: Any = actor.agent
    agent.broken = 1
    steps = actor.env.step
    taken: list[Any] = []
    actor.env.step = lambda action: taken.append(action) or steps(action)  # type: ignore
    with pytest.raises(NotFinite):
        actor.collect(0)
    assert not taken


@pytest.mark.parametrize("name", ["sequential", "dcollect", "hogwild", "allreduce", "gorila"])
def test_a_run_whose_policy_has_diverged_ends_at_once(name: str) -> None:
    """Without replacing the worker, whose next policy would be no better."""
    diverging = job(agent=functools.partial(sac, lr=1e30), max_ahead=8)
    with pytest.raises((NotFinite, Failed), match=r"lower agent\.lr") as caught:
        run(PARADIGMS[name], diverging)
    assert "restarts" not in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [4, 7], ids=["in the middle", "at the last step"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_nan_observation_alone_is_noticed(
    ends: bool, at: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be bootstrapped from: as an episode's last one or at the write head."""
    actor = make(mode, num_envs=1)
    plain, steps = actor.env.step, itertools.count()

    def step(action: Any) -> Any:
        obs, reward, terminated, truncated, info = plain(action)
        if next(steps) != at:
            return obs, reward, terminated, truncated, info
        bad = np.full_like(obs, np.nan)
        if ends and mode == "same_step":
            return obs, reward, terminated, truncated | True, {"final_obs": bad}
        return bad, reward, terminated, truncated | ends, info

    monkeypatch.setattr(actor.env, "step", step)
    with pytest.raises(FloatingPointError):
        actor.collect(0)
