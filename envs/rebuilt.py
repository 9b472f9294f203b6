"""An env that is closed and built anew where it raises, while the others of its vector go on."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from envs.wrappers import name

ERRORS_AT_A_TIME = 10  # so many count before the env is given up
STEPS_TO_FORGIVE = 100  # of this env, after which one error less counts


class Rebuilt(gym.Wrapper):
    """The env that `make` builds, and another one, in a new episode, where it raises an Exception.

    A `step` that raises returns the first observation of the new episode, reward 0, neither
    terminated nor truncated, and `info["env_error"]`: `count`, how often the env raised until there
    was a new episode; `trace`, the first traceback; `interrupted`, True: this step is no
    transition, and the episode before it has no end. A `reset` that raises says the same, with
    `interrupted` False. The seeds of a new env follow from the one that `reset` was last given and
    from the number of envs built since, so that two runs of one seed stay alike.

    An env that raises twice without ever having made a step is given up: its own error passes.
    Later ERRORS_AT_A_TIME errors count at a time, and one is forgiven every STEPS_TO_FORGIVE steps
    of this env; beyond that RuntimeError is raised from the env's own error.
    """

    def __init__(self, make: Callable[[], gym.Env]) -> None:
        super().__init__(make())
        self._make = make
        self._seed: int | None = None
        self._built = 0  # since `reset` was given that seed
        self._steps = self._counted_at = 0
        self._counted = 0.0

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        try:
            stepped = self.env.step(action)
        except Exception as error:
            obs, info = self._another(error, interrupted=True)
            return obs, 0.0, False, False, info
        self._steps += 1
        return stepped

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._seed, self._built = seed, 0
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            return self._another(error, interrupted=False)

    def _another(self, error: Exception, *, interrupted: bool) -> tuple[Any, dict[str, Any]]:
        """The first observation and the info of a new env, in place of the one that has raised."""
        trace, count = "".join(traceback.format_exception(error)), 0
        while True:
            self._allow(error)
            count += 1
            with contextlib.suppress(Exception):
                self.env.close()
            try:
                self.env = self._make()
                obs, info = self.env.reset(seed=self._seeded())
            except Exception as again:
                error = again
                continue
            return obs, {
                **info,
                "env_error": {"count": count, "interrupted": interrupted, "trace": trace},
            }

    def _allow(self, error: Exception) -> None:
        """Counts an error, and raises where it is one too many."""
        forgiven = (self._steps - self._counted_at) / STEPS_TO_FORGIVE
        self._counted = max(0.0, self._counted - forgiven) + 1
        self._counted_at = self._steps
        if self._steps == 0 and self._counted > 1:
            raise error
        if self._counted > ERRORS_AT_A_TIME:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise RuntimeError(
                f"env.id={name(self)} raised {text}, and is built anew no more, because over"
                f" {ERRORS_AT_A_TIME} of its errors count, one less every {STEPS_TO_FORGIVE} steps:"
                " repair the env, or change env.id or env.kwargs"
            ) from error

    def _seeded(self) -> int:
        """The seed of the next env, whose spaces get another one."""
        self._built += 1
        words = np.random.SeedSequence(self._seed, spawn_key=(self._built,)).generate_state(2) >> 1
        for space in (self.env.action_space, self.env.observation_space):
            space.seed(int(words[1]))
        return int(words[0])
