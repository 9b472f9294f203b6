"""The part of a process that steps envs: resets, time limits, autoreset, state, statistics.

Legend: T = rollout_length (vector steps of a fragment), B = num_envs (env slots of the worker).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.base import Agent
from agents.parts.draws import reseed
from paradigms.errors import NotFinite, PolicyNotFinite
from paradigms.experience.layout import Fragment, Layout
from paradigms.loop.episodes import OnErrors, note_errors

Explore = Callable[[int, int, int], float]


class Actor:
    """Steps the env slots of one worker, a fragment at a time.

        fragment = actor.collect(version=updates)
        ledger.collected(rank, fragment.n_valid, actor.take_episodes())

    All three autoreset modes of Gymnasium give the same transitions: the reset steps of NEXT_STEP
    have valid=False, the last observation of SAME_STEP is read from `info["final_obs"]`, and with
    DISABLED the ended slots are reset by mask. Draws depend on (seed, rank, number of the
    fragment), not on timing. Nothing here waits for another process.

    A step at which an env raised and was rebuilt (`info["env_error"]`, see envs/rebuilt.py) is no
    transition: valid=False, and truncated=True where an episode went on there. That episode ends
    with the step before, as if truncated, and is none of those that have finished.

    explore: called as explore(steps, index, count) before a fragment, for each slot: own env steps
    x workers, index among all slots of the run, their count; its value is given to `Agent.act`.
    renew: builds fresh envs. every_env_steps: env steps over all workers after which running
    episodes are truncated and the envs renewed, so that a run resumed from a checkpoint of that
    moment continues as the unbroken one does. failed: called with the number of errors that envs
    have raised, and the first traceback.

    number: fragments collected so far. steps: env steps so far, of which a transition may be
    several (`Spec.action_repeat`).
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
        failed: OnErrors = lambda errors, trace: None,
    ) -> None:
        self.env, self.agent, self.layout = env, agent, layout
        self.explore, self.seed, self.rank, self.workers = explore, seed, rank, workers
        self.renew, self.every_env_steps, self.renewed = renew, every_env_steps, 0
        self.failed = failed
        self.action_repeat = agent.spec.action_repeat
        self.outputs = [k for k, key in agent.extras.items() if key.per == "step"] + ["action"]
        self.number = self.steps = 0
        self.episodes: list[tuple[float, int]] = []
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.fragment = layout.empty(rank)
        self.reset()

    def reset(self) -> None:
        """Truncates running episodes and starts new ones."""
        n = self.layout.num_envs
        obs, info = self.env.reset()
        self.obs = np.array(obs)
        note_errors(info, self.failed)
        self.initial = self.agent.initial_state(n)
        self.state = {k: v.copy() for k, v in self.initial.items()}
        self.first = np.ones(n, bool)
        self.resetting = np.zeros(n, bool)
        self.returns, self.lengths = np.zeros(n), np.zeros(n, np.int64)

    def collect(self, version: int) -> Fragment:
        """T vector steps with the policy that the agent has now; blocks while the envs step.

        version: that policy's number in updates, written into every transition. Returns a fragment
        of [T, B] transitions, of which `n_valid` are valid, each action_repeat env steps; the next
        call overwrites it. Finished episodes are added to those that `take_episodes` returns.

        Raises PolicyNotFinite if actions or extras are not finite though the observations were, and
        NotFinite if an observation or a reward is not; a policy's first actions are checked before
        the envs see them, because some abort the process at a NaN.
        """
        self._renew_if_due()
        fragment, transitions, kept = self.fragment, self.fragment.transitions, self.layout.kept
        reseed(self.agent.rng.act, self.seed, "act", self.rank, self.number)
        explore = self._explore()
        if self.layout.older:
            fragment.data["before"][...] = self.obs[..., : -kept(self.obs).shape[-1]]
        for name in self.layout.states:
            fragment.data[name] = self.state[name]
        for t in range(self.layout.rollout_length):
            transition = transitions[t]
            acted = self.agent.act(self.obs, self.state, explore)
            if t == 0 and not np.isfinite(acted.action).all():
                whole = np.isfinite(self.layout.numbers(self.obs)).all()
                raise self._not_finite("action" if whole else None)
            obs, reward, terminated, truncated, info = self.env.step(acted.action)
            valid, failed = ~self.resetting, info.get("env_error")
            if failed is not None:
                valid &= ~failed["interrupted"]
            begins = self.first & valid
            if self.layout.stack > 1 and begins.any():
                self._check_stack(self.obs[begins])
            ended = (terminated | truncated) & valid
            transition["obs"], transition["action"], transition["reward"] = (
                kept(self.obs),
                acted.action,
                reward,
            )
            transition["terminated"], transition["truncated"] = (
                terminated & valid,
                truncated & valid & ~terminated,
            )
            transition["is_first"], transition["valid"] = begins, valid
            for name, value in acted.extras.items():
                transition[name] = value
            if failed is not None:
                self._interrupt(fragment, t, info)
            self.state, self.first = acted.state, self.resetting
            self.returns += np.where(valid, reward, 0)
            self.lengths += self.action_repeat * valid
            self.obs = np.array(obs)
            if failed is not None or ended.any() or self.resetting.any():
                self._end(fragment, t, ended, info)
            self.steps += self.action_repeat * int(valid.sum())
        transitions["version"] = version
        fragment.next_obs[...] = kept(self.obs)
        fragment.number, fragment.n_valid = self.number, int(transitions["valid"].sum())
        self.number += 1
        self._check(fragment)
        return fragment

    def take_episodes(self) -> list[tuple[float, int]]:
        """(undiscounted return, length in env steps) of the episodes that have ended since the last
        call."""
        taken, self.episodes = self.episodes, []
        return taken

    def resume(self, number: int, steps: int) -> None:
        """Continues after another actor of this rank, which had collected `number` fragments and
        `steps` env steps."""
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
        """How much each slot explores in this fragment, float32 [B]."""
        n = self.layout.num_envs
        own = self.steps * self.workers
        return np.array(
            [self.explore(own, self.rank * n + i, n * self.workers) for i in range(n)], np.float32
        )

    def _interrupt(self, fragment: Fragment, t: int, info: dict[str, Any]) -> None:
        """Notes the errors of step t, and ends with the step before it the episodes that were going
        on where it was none; in an earlier fragment the replay ends them."""
        note_errors(info, self.failed)
        going = info["env_error"]["interrupted"] & ~self.first
        fragment.transitions["truncated"][t][going] = True
        if t:
            fragment.transitions["truncated"][t - 1][going] = True
            fragment.final_obs[t - 1][going] = self.layout.kept(self.obs)[going]

    def _end(self, fragment: Fragment, t: int, ended: np.ndarray, info: dict[str, Any]) -> None:
        """Notes the episodes that end at step t, and resets returns and states where one starts."""
        for slot in np.flatnonzero(ended):
            self.episodes.append((float(self.returns[slot]), int(self.lengths[slot])))
        starting, kept = ended, self.layout.kept
        if self.mode == AutoresetMode.NEXT_STEP:
            fragment.final_obs[t][ended] = kept(self.obs[ended])
            starting, self.resetting = self.resetting, ended  # the next step resets, valid=False
        elif self.mode == AutoresetMode.SAME_STEP:
            for slot in np.flatnonzero(ended):
                fragment.final_obs[t][slot] = kept(np.asarray(info["final_obs"][slot]))
        elif ended.any():
            fragment.final_obs[t][ended] = kept(self.obs[ended])
            obs, begun = self.env.reset(options={"reset_mask": ended})
            self.obs = np.array(obs)
            note_errors(begun, self.failed)
        over = ended
        if "env_error" in info:
            cut = info["env_error"]["interrupted"]
            starting, over = starting | cut, ended | cut
        self.first = starting
        self.returns[over], self.lengths[over] = 0, 0
        for name, value in self.state.items():
            value = self.state[name] = value.copy()
            value[starting] = self.initial[name][starting]

    def _check(self, fragment: Fragment) -> None:
        """Raises if a number is not finite, and blames the policy or the env for the first one."""
        transitions = fragment.transitions
        seen = (transitions["obs"], fragment.final_obs, fragment.next_obs)
        obs, *later = map(self.layout.numbers, seen)
        shown = (transitions["reward"], obs, *later)
        returned = (transitions[name] for name in self.outputs)
        if all(np.isfinite(column).all() for column in (*shown, *returned)):
            return
        for name in self.outputs:
            if (_first_bad(transitions[name]) < _first_bad(obs)).any():
                raise self._not_finite(name)
        raise self._not_finite(None)

    def _check_stack(self, obs: np.ndarray) -> None:
        """Raises ValueError if the first observations [N, ...] of episodes are not one frame,
        repeated: such stacks could not be made again from single frames."""
        frames = obs.reshape(*obs.shape[:-1], self.layout.stack, -1)
        if ((frames != frames[..., -1:, :]) & np.isfinite(frames)).any():  # others: see `_check`
            raise ValueError(
                f"the env of worker {self.rank} begins an episode with frames that differ, so that"
                " they cannot be stored once; let it repeat the first frame, or set env.stack=1"
            )

    def _not_finite(self, output: str | None) -> NotFinite:
        """The error for one of the policy's outputs, or for the env."""
        if output is None:
            return NotFinite(
                f"the env of worker {self.rank} returned a NaN or an infinity;"
                " check env.id and env.kwargs"
            )
        return PolicyNotFinite(
            f"the policy of worker {self.rank} returned a NaN or an infinity ({output}), so"
            " training has diverged; lower agent.lr, or the agent's other learning rates"
        )


def _first_bad(column: np.ndarray) -> np.ndarray:
    """The first step at which each slot has a number that is not finite; T if none: int64 [B]."""
    bad = ~np.isfinite(column).reshape(*column.shape[:2], -1).all(2)
    return np.where(bad.any(0), bad.argmax(0), len(bad))
