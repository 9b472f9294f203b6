"""The part of a process that steps envs: resets, time limits, autoreset, state, statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.base import Agent
from agents.parts.draws import reseed
from paradigms.errors import NotFinite
from paradigms.experience.layout import Fragment, Layout

Explore = Callable[[int, int, int], float]


class Actor:
    """Steps the env slots of one worker, a fragment at a time.

    All three autoreset modes of Gymnasium give the same transitions: NEXT_STEP's reset steps are
    marked invalid, SAME_STEP's last observation is read from `final_obs`, DISABLED is reset by
    mask. Draws depend on (seed, rank, number of the fragment), not on timing. `episodes` collects
    (return, length) of finished episodes until somebody takes them. Steps are env steps, of which a
    transition may be several (`Spec.action_repeat`). Every `every_env_steps` env steps
    (over all workers) running episodes are truncated and `renew` builds fresh envs, so that a run
    resumed from a checkpoint of that moment goes on as the unbroken one does.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        agent: Agent,
        layout: Layout,
        *,
        explore: Explore,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        renew: Callable[[], VectorEnv[Any, Any, Any]] | None = None,
        every_env_steps: int | None = None,
    ) -> None:
        self.env, self.agent, self.layout = env, agent, layout
        self.explore, self.seed, self.rank, self.workers = explore, seed, rank, workers
        self.renew, self.every_env_steps, self.renewed = renew, every_env_steps, 0
        self.action_repeat = agent.spec.action_repeat
        self.number = self.steps = 0
        self.episodes: list[tuple[float, int]] = []
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.fragment = layout.empty(rank)
        self.reset()

    def reset(self) -> None:
        """Truncates running episodes and starts new ones."""
        n = self.layout.num_envs
        self.obs = np.array(self.env.reset()[0])
        self.initial = self.agent.initial_state(n)
        self.state = {k: v.copy() for k, v in self.initial.items()}
        self.first = np.ones(n, bool)
        self.resetting = np.zeros(n, bool)
        self.returns, self.lengths = np.zeros(n), np.zeros(n, np.int64)

    def collect(self, version: int) -> Fragment:
        """One turn with the weights of `version`. The fragment is overwritten by the next call."""
        self._renew_if_due()
        fragment, transitions = self.fragment, self.fragment.transitions
        reseed(self.agent.rng.act, self.seed, "act", self.rank, self.number)
        explore = self._explore()
        for name in self.layout.states:
            fragment.data[name] = self.state[name]
        for t in range(self.layout.rollout_length):
            transition = transitions[t]
            acted = self.agent.act(self.obs, self.state, explore)
            obs, reward, terminated, truncated, info = self.env.step(acted.action)
            valid = ~self.resetting
            ended = (terminated | truncated) & valid
            transition["obs"], transition["action"], transition["reward"] = (
                self.obs,
                acted.action,
                reward,
            )
            transition["terminated"], transition["truncated"] = (
                terminated & valid,
                truncated & valid & ~terminated,
            )
            transition["is_first"], transition["valid"] = self.first & valid, valid
            for name, value in acted.extras.items():
                transition[name] = value
            self.state, self.first = acted.state, self.resetting
            self.returns += np.where(valid, reward, 0)
            self.lengths += self.action_repeat * valid
            self.obs = np.array(obs)
            if ended.any() or self.resetting.any():
                self._end(fragment, t, ended, info)
            self.steps += self.action_repeat * int(valid.sum())
        transitions["version"] = version
        fragment.next_obs[...] = self.obs
        fragment.number, fragment.n_valid = self.number, int(transitions["valid"].sum())
        self.number += 1
        shown = (transitions["reward"], transitions["obs"], fragment.final_obs, fragment.next_obs)
        if not all(np.isfinite(numbers).all() for numbers in shown):
            raise NotFinite(
                f"the env of worker {self.rank} returned a NaN or an infinity;"
                " check env.id and env.kwargs"
            )
        return fragment

    def take_episodes(self) -> list[tuple[float, int]]:
        """The (return, length) of the episodes finished since the last call."""
        taken, self.episodes = self.episodes, []
        return taken

    def resume(self, number: int, steps: int) -> None:
        """Goes on counting where another actor of this rank left off."""
        self.number, self.steps = number, steps
        self.renewed = self._periods()

    def _periods(self) -> int:
        return self.steps * self.workers // self.every_env_steps if self.every_env_steps else 0

    def _renew_if_due(self) -> None:
        if self.renew is not None and self._periods() > self.renewed:
            self.renewed = self._periods()
            self.env.close()
            self.env = self.renew()
            self.reset()

    def _explore(self) -> np.ndarray:
        n = self.layout.num_envs
        own = self.steps * self.workers
        return np.array(
            [self.explore(own, self.rank * n + i, n * self.workers) for i in range(n)], np.float32
        )

    def _end(self, fragment: Fragment, t: int, ended: np.ndarray, info: dict[str, Any]) -> None:
        """Notes finished episodes and brings their slots to the next one."""
        for slot in np.flatnonzero(ended):
            self.episodes.append((float(self.returns[slot]), int(self.lengths[slot])))
        starting = ended
        if self.mode == AutoresetMode.NEXT_STEP:
            fragment.final_obs[t][ended] = self.obs[ended]
            starting, self.resetting = (
                self.resetting,
                ended,
            )  # the next step is a reset step, valid=False
        elif self.mode == AutoresetMode.SAME_STEP:
            for slot in np.flatnonzero(ended):
                fragment.final_obs[t][slot] = info["final_obs"][slot]
        else:
            fragment.final_obs[t][ended] = self.obs[ended]
            self.obs = np.array(self.env.reset(options={"reset_mask": ended})[0])
        self.first = starting
        self.returns[ended], self.lengths[ended] = 0, 0
        for name, value in self.state.items():
            value = self.state[name] = value.copy()
            value[starting] = self.initial[name][starting]
