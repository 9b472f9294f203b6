"""How experience is laid out: a packed transition a step, a fragment of [T, B] transitions an
actor's turn."""

from __future__ import annotations

import numpy as np

from agents.base import Spec


class Layout:
    """The NumPy dtypes of a transition, of a fragment and of a transition drawn for a batch, from
    what the spec says that a transition holds.

    A transition has obs, action, reward, terminated, truncated, is_first, version, the agent's
    extras, and `valid`, which is false on the steps that an autoreset makes up. `states` are the
    extras that a fragment has once for each env slot: the agent's state at its first step.
    """

    def __init__(self, spec: Spec, rollout_length: int, num_envs: int) -> None:
        self.rollout_length, self.num_envs = rollout_length, num_envs
        keys = sorted(spec.keys.items(), key=lambda item: -np.dtype(item[1].dtype).itemsize)
        step = [(name, key.dtype, key.shape) for name, key in keys if key.per == "step"]
        once = [
            (name, key.dtype, (num_envs, *key.shape)) for name, key in keys if key.per == "fragment"
        ]
        self.transition = np.dtype([*step, ("valid", "bool")], align=True)
        self.obs = np.dtype((spec.keys["obs"].dtype, spec.keys["obs"].shape))
        kept = [(name, self.transition[name]) for name, *_ in step if name != "is_first"]
        self.drawn = np.dtype(
            [
                *kept,
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
                ("final_obs", self.obs, (rollout_length, num_envs)),
                ("next_obs", self.obs, (num_envs,)),
                ("number", "int64"),
                ("steps", "int64"),
                *once,
            ],
            align=True,
        )

    def empty(self, rank: int) -> Fragment:
        """A zeroed fragment for one actor to fill."""
        return Fragment(rank, np.zeros((), self.fragment))


class Fragment:
    """`rollout_length` steps of `num_envs` slots of the actor `rank`; a view of one packed record.

    transitions: structured [T, B]. final_obs [T, B, ...]: where terminated or truncated, that
    episode's own last observation. next_obs [B, ...]: what the envs show after the last step.
    number: the actor's own count of fragments. steps: how many transitions are valid.
    """

    def __init__(self, rank: int, data: np.ndarray) -> None:
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
        return int(self.data["number"])

    @number.setter
    def number(self, value: int) -> None:
        self.data["number"] = value

    @property
    def steps(self) -> int:
        return int(self.data["steps"])

    @steps.setter
    def steps(self, value: int) -> None:
        self.data["steps"] = value
