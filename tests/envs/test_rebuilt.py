"""Where an env raises, it alone is built anew, from its own seed; one that always raises is not."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs.counting import Counting, Fault
from envs.make import make_env
from envs.rebuilt import ERRORS_AT_A_TIME, Rebuilt

MODES = ("next_step", "same_step", "disabled")


def play(mode: str, steps: int = 300) -> tuple[list[np.ndarray], int]:
    """What three envs show that raise at every 50th step, which is compared with their rules on the
    way; and how often they raised."""
    fault = {"kind": "raise", "chance": 0.02}
    env = make_env("paceline/Fault-v0", num_envs=3, seed=7, kwargs=fault, autoreset=mode)
    shown, resetting, errors = [np.array(env.reset()[0])], np.zeros(3, bool), 0
    for action in np.random.default_rng(3).uniform(-1, 1, (steps, 3, 1)).astype(np.float32):
        obs, reward, terminated, truncated, info = env.step(action)
        over, before = terminated | truncated, shown[-1]
        cut = info["env_error"]["interrupted"] if "env_error" in info else np.zeros(3, bool)
        if cut.any():
            errors += int(info["env_error"]["count"].sum())
            assert all("at its step" in trace for trace in info["env_error"]["trace"][cut])
            assert not over[cut].any() and not reward[cut].any()
            np.testing.assert_array_equal(obs[cut][:, [0, 1, 3]], 0)
            assert (obs[cut][:, 2] != before[cut][:, 2]).all(), "a new stream"
        seen = np.array(obs)
        for slot in np.flatnonzero(over) if mode == "same_step" else ():
            seen[slot] = info["final_obs"][slot]
        expected = Counting.follow(before, action)
        for have, law in zip((reward, seen, terminated, truncated), expected, strict=True):
            stepped = ~cut & ~resetting
            np.testing.assert_array_equal(have[stepped], law[stepped])
        if mode == "next_step":
            resetting = over
        elif mode == "disabled" and over.any():
            obs, _ = env.reset(options={"reset_mask": over})
        shown.append(np.array(obs))
    return shown, errors


@pytest.mark.parametrize("mode", MODES)
def test_an_env_that_raises_is_rebuilt_and_the_others_go_on(mode: str) -> None:
    shown, errors = play(mode)
    assert errors > 5
    again, _ = play(mode)
    np.testing.assert_array_equal(shown, again)


def test_the_stack_of_a_rebuilt_env_begins_with_its_first_observation() -> None:
    fault = {"kind": "raise", "at": 3}
    env = make_env("paceline/Fault-v0", kwargs=fault, stack=3, autoreset="same_step")
    env.reset()
    shown = [env.step(np.zeros((1, 1), np.float32)) for _ in range(3)]
    assert [("env_error" in step[4]) for step in shown] == [False, False, True]
    frames = shown[-1][0].reshape(3, 4)
    np.testing.assert_array_equal(frames, frames[[0, 0, 0]])


class Brittle(gym.Env):
    """Raises as `plan` says: a call's name, for each time that it raises, taken from the front."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, plan: list[str], closed: list[Any]) -> None:
        self.plan, self.closed = plan, closed
        self._may("make")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._may("reset")
        return np.zeros(1, np.float32), {"seed": seed}

    def step(self, action: Any) -> Any:
        self._may("step")
        return np.ones(1, np.float32), 1.0, False, False, {}

    def close(self) -> None:
        self.closed.append(self)
        raise OSError("what is broken does not close")

    def _may(self, call: str) -> None:
        if self.plan and self.plan[0] == call:
            self.plan.pop(0)
            raise ArithmeticError(f"no {call}")


def brittle() -> tuple[Rebuilt, list[str], list[Any]]:
    """An env that has made a step; what it will raise, and which ones were closed."""
    plan, closed = list[str](), list[Any]()
    env = Rebuilt(lambda: Brittle(plan, closed))
    env.reset(seed=5)
    env.step(0)
    return env, plan, closed


def test_what_raises_while_it_is_rebuilt_is_tried_again_and_counted() -> None:
    env, plan, closed = brittle()
    broken = env.env
    plan += ["step", "make", "reset"]
    obs, reward, terminated, truncated, info = env.step(0)
    assert (obs[0], reward, terminated, truncated) == (0.0, 0.0, False, False)
    told = info["env_error"]
    assert (told["count"], told["interrupted"]) == (3, True)
    assert "ArithmeticError: no step" in told["trace"]
    assert closed[0] is broken and env.env not in closed
    assert "env_error" not in env.step(0)[4]


def test_a_reset_that_raises_interrupts_nothing_and_seeds_follow_from_the_last_one() -> None:
    env, plan, _ = brittle()
    seeds = []
    for seed in (None, None, 5, 6):
        plan += ["reset"]
        obs, info = env.reset(seed=seed)
        assert obs[0] == 0.0 and info["env_error"]["interrupted"] is False
        seeds.append(info["seed"])
        env.step(0)
    first, second, again, other = seeds
    assert first == again and len({first, second, other}) == 3


@pytest.mark.parametrize("call", ["reset", "step"])
def test_an_env_that_has_made_no_step_is_rebuilt_once_and_then_its_own_error_passes(
    call: str,
) -> None:
    plan, closed = [call] * 5, list[Any]()
    env = Rebuilt(lambda: Brittle(plan, closed))
    with pytest.raises(ArithmeticError, match=f"^no {call}$"):
        for _ in range(2):
            env.reset(seed=1)
            env.step(0)
    assert len(closed) == 1 and len(plan) == 3


def test_more_errors_than_steps_forgive_end_it_in_one_sentence() -> None:
    env = Rebuilt(lambda: Fault("raise", at=20))
    env.reset(seed=0)
    said = r"env.id=Fault raised RuntimeError: Fault raised at its step 20, .* change env.id or"
    errors = 0
    with pytest.raises(RuntimeError, match=said) as caught:
        for _ in range(400):
            errors += "env_error" in env.step([0.0])[4]
    assert str(caught.value.__cause__) == "Fault raised at its step 20"
    assert ERRORS_AT_A_TIME < errors < 2 * ERRORS_AT_A_TIME


def test_one_error_in_a_hundred_steps_goes_on_for_ever() -> None:
    env = Rebuilt(lambda: Fault("raise", at=101))
    env.reset(seed=0)
    errors = sum("env_error" in env.step([0.0])[4] for _ in range(30 * 101))
    assert errors == 30


def test_a_keyboard_interrupt_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    env, _, closed = brittle()

    def stopped(self: Brittle, action: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Brittle, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        env.step(0)
    assert not closed
