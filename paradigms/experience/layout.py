"""How experience is laid out in memory: packed transitions, and fragments of [T, B] of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from agents.base import Spec
from agents.packed import Packed


class Layout:
    """NumPy dtypes of one run's transitions and fragments, derived from `Spec.keys`.

    T = rollout_length (vector steps of a fragment), B = num_envs (env slots of one worker).

    transition: one step of one env slot. Fields obs, action, reward, terminated, truncated,
    is_first, version (of the acting policy, in updates), the agent's extras per step, and valid:
    False on the reset steps of Gymnasium's NEXT_STEP mode, which are no transitions of the env, and
    on a step at which an env raised: there truncated=True says that the episode that ends with the
    step before was interrupted.
    fragment: one record with transitions [T, B], final_obs [T, B], next_obs [B], number, n_valid,
    and the agent's extras per fragment, [B, ...] each.
    sampled: one transition of a batch of a replay that keeps transitions: a transition's fields
    but is_first, and next_obs, discount float32, index int64, weight float32 (see `Source.sample`).
    obs: one observation; space: its space if it is packed, else None. extras, states: names of the
    keys per step and per fragment; the latter are the agent's state before the fragment's first
    step.

    frames: of an observation that is a stack of frames (`Spec.stack`), transitions and fragments
    have the newest one only; batches have the whole. frame: what is kept of one observation.
    alone: fragments are stacked by themselves, and so have `before` [B, ...], the older frames of
    their first observations.
    """

    def __init__(
        self,
        spec: Spec,
        rollout_length: int,
        num_envs: int,
        *,
        frames: bool = False,
        alone: bool = False,
    ) -> None:
        self.rollout_length, self.num_envs = rollout_length, num_envs
        self.stack = spec.stack if frames else 1
        space, obs = spec.observation_space, spec.keys["obs"]
        self.space = space if isinstance(space, Packed) else None
        *sides, depth = obs.shape or (1,)
        assert depth % self.stack == 0, f"{obs.shape} is no stack of {self.stack} frames"
        width = depth // self.stack
        frame = replace(obs, shape=(*sides, width)) if self.stack > 1 else obs
        self.older = alone and self.stack > 1
        keys = sorted(
            {**spec.keys, "obs": frame}.items(),
            key=lambda item: -np.dtype(item[1].dtype).itemsize,
        )
        step = [(name, key.dtype, key.shape) for name, key in keys if key.per == "step"]
        once = [
            (name, key.dtype, (num_envs, *key.shape)) for name, key in keys if key.per == "fragment"
        ]
        self.transition = np.dtype([*step, ("valid", "bool")], align=True)
        self.obs = np.dtype((obs.dtype, obs.shape))
        self.frame = np.dtype((frame.dtype, frame.shape))
        once_each = {name: self.transition[name] for name, *_ in step if name != "is_first"}
        self.sampled = np.dtype(
            [
                *(once_each | {"obs": self.obs}).items(),
                ("next_obs", self.obs),
                ("discount", "float32"),
                ("index", "int64"),
                ("weight", "float32"),
            ],
            align=True,
        )
        self.extras = [name for name, key in keys if key.per == "step"]
        self.states = [name for name, key in keys if key.per == "fragment"]
        self.fragment = np.dtype(
            [
                ("transitions", self.transition, (rollout_length, num_envs)),
                ("final_obs", self.frame, (rollout_length, num_envs)),
                ("next_obs", self.frame, (num_envs,)),
                ("number", "int64"),
                ("n_valid", "int64"),
                *once,
                *([("before", obs.dtype, (num_envs, *sides, depth - width))] if self.older else []),
            ],
            align=True,
        )

    @property
    def stored(self) -> int:
        """Bytes of a transition in a full replay that keeps transitions, the last observations of
        episodes included: one a transition at most, and few where each frame is stored once."""
        last = 0 if self.stack > 1 else self.obs.itemsize
        return int(self.transition.itemsize + last)

    def kept(self, obs: np.ndarray) -> np.ndarray:
        """What transitions and fragments keep of observations [..., *obs shape]: a view, of the
        newest frame where frames are kept."""
        return obs if self.stack == 1 else obs[..., -self.frame.shape[-1] :]

    def numbers(self, obs: np.ndarray) -> np.ndarray:
        """What may be infinite or NaN of observations [..., *obs shape] or of what is kept of them:
        of packed ones the vectors, else all. A view."""
        return obs if self.space is None else self.space.numbers(obs)

    def empty(self, rank: int) -> Fragment:
        """A zeroed fragment for the actor of worker `rank` to fill."""
        return Fragment(rank, np.zeros((), self.fragment))


def layout_of(make_replay: Any, spec: Spec, rollout_length: int, num_envs: int) -> Layout:
    """The layout of the replay that a factory makes, without making one."""
    kind = getattr(make_replay, "func", make_replay)
    frames, alone = getattr(kind, "frames", False), getattr(kind, "once", False)
    return Layout(spec, rollout_length, num_envs, frames=frames, alone=alone)


class Fragment:
    """`rollout_length` steps of the `num_envs` env slots of worker `rank`: a view of one record.

    transitions: structured [T, B]. final_obs: [T, B, ...], the episode's last observation where
    terminated or truncated, undefined elsewhere. next_obs: [B, ...], what the envs show after the
    last step. Observations are of dtype and shape `Layout.frame`.
    """

    def __init__(self, rank: int, data: np.ndarray) -> None:
        """data: a record of dtype `Layout.fragment`, shape (); not copied."""
        self.rank, self.data = rank, data
        self.transitions: np.ndarray = data["transitions"]
        self.final_obs: np.ndarray = data["final_obs"]
        self.next_obs: np.ndarray = data["next_obs"]

    @property
    def version(self) -> int:
        """The policy version, in updates, that collected it."""
        return int(self.transitions["version"][0, 0])

    @property
    def number(self) -> int:
        """How many fragments this rank had collected before, over the whole run."""
        return int(self.data["number"])

    @number.setter
    def number(self, value: int) -> None:
        self.data["number"] = value

    @property
    def n_valid(self) -> int:
        """How many transitions are valid; times `Spec.action_repeat`, its env steps."""
        return int(self.data["n_valid"])

    @n_valid.setter
    def n_valid(self, value: int) -> None:
        self.data["n_valid"] = value
