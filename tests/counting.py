"""An agent that knows the rules of the Counting env, and recomputes every batch it learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal

from agents.base import Acted, Agent, Batch, Group, Key, Learned, Spec, State
from agents.packed import Packed
from agents.parts.optim import Local
from envs.counting import Counting


class Counter(Agent):
    """Acts by `rule`, so that all that follows an observation can be computed; `learn` does so.

    The env may be worlds.Pictures, too. streams: of the whole run. A transition's serial number
    must be its place in its stream, unless `whole` is false, as when an actor has been replaced.
    The state counts the steps of an episode.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        device: str = "cpu",
        *,
        streams: int,
        n_step: int = 1,
        gamma: float = 0.5,
        whole: bool = True,
    ) -> None:
        super().__init__(spec, seed, device)
        self.streams, self.n_step, self.gamma, self.whole = streams, n_step, gamma, whole
        self.values = torch.zeros(5, requires_grad=True)
        self.groups["values"] = Group([self.values], lr=0.01)
        self.parts = {"act": ["values"], "evaluate": ["values"]}
        self.extras = {"age": Key(dtype="int64"), "twice": Key((2,))}
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {"age": np.zeros(n, np.int64)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        obs = numbers(self.spec.observation_space, obs)
        action = rule(obs)[:, None]
        extras = {"age": state["age"], "twice": 2 * obs[:, :2]}
        return Acted(action, {"age": state["age"] + 1}, extras)

    def learn(self, batch: Batch) -> Learned:
        self.check(batch)
        self.descend("values", (self.values - 1).square().sum())
        return Learned(1, {})

    def check(self, batch: Batch) -> None:
        """Asserts that transitions are whole and within an episode, and their targets right."""
        data, space = self.numbered(batch), self.spec.observation_space
        obs, going = data["obs"], np.ones(len(data["obs"]), bool)
        if len(space.shape or ()) == 3 and batch.obs.shape[-1] > 1:  # the frames of before
            older = numbers(space, batch.obs.numpy()[..., :-1])
            earlier = np.stack([0 * obs[:, 1], obs[:, 1] > 0, 0 * obs[:, 1]], 1)
            assert_array_equal(older[:, :3], obs[:, :3] - earlier)
        steps = going.astype(np.int64)
        serial, stream = np.divmod(data["index"], self.streams)
        assert_array_equal(data["action"][:, 0], rule(obs))
        assert_array_equal(data["age"], obs[:, 1])
        assert_array_equal(data["twice"], 2 * obs[:, :2])
        assert_array_equal(data["weight"], np.ones(len(obs)))
        if self.whole:
            assert_array_equal(serial, before(obs[:, 0]) + obs[:, 1])
            assert len({*zip(stream, obs[:, 2], strict=True)}) == len({*stream})

        reward, next_obs, terminated, truncated = Counting.follow(obs, rule(obs))
        if self.whole:
            assert_array_equal(data["terminated"], terminated)
            assert_array_equal(data["truncated"], truncated & ~terminated)
        for k in range(1, self.n_step):  # how far a window reaches shows in its discount
            going &= ~(terminated | truncated)
            going &= ~np.isclose(data["discount"], self.gamma**k)
            further = Counting.follow(next_obs, rule(next_obs))
            reward = reward + np.where(going, self.gamma**k * further[0], 0)
            next_obs = np.where(going[:, None], further[1], next_obs)
            terminated = np.where(going, further[2], terminated)
            truncated = np.where(going, further[3], truncated)
            steps += going
        assert_allclose(data["reward"], reward, rtol=1e-6)
        assert_array_equal(data["next_obs"], next_obs)
        discount = np.where(terminated, 0, self.gamma**steps)
        assert_array_equal(data["discount"], discount.astype(np.float32))

        cut = (steps < self.n_step) & ~terminated & ~truncated  # by the write head, and it alone
        for one in {*stream[cut]} if self.whole else ():
            (head,) = {*(serial + steps)[cut & (stream == one)]}
            assert serial[stream == one].max() < head

    def numbered(self, batch: Batch) -> dict[str, np.ndarray]:
        """The columns of a batch, with the numbers that observations show in their place."""
        data = {name: column.numpy() for name, column in batch.items()}
        shown = {name: numbers(self.spec.observation_space, data[name]) for name in SHOWN}
        return data | shown


SHOWN = ("obs", "next_obs")


def numbers(space: Any, obs: np.ndarray) -> np.ndarray:
    """What observations of Counting or Pictures show, [..., 4]; of frames the newest. Asserts that
    every copy says the same."""
    if isinstance(space, Packed):
        arrays = space.split(np.ascontiguousarray(obs))
        assert_array_equal(pictured(arrays["image"]), arrays["numbers"])
        return arrays["numbers"]
    return pictured(obs) if space.dtype == np.uint8 else obs


def pictured(images: np.ndarray) -> np.ndarray:
    """The numbers [..., 4] whose bytes images [..., 8, 8, C] show in their last channel."""
    copies = np.ascontiguousarray(images[..., -1]).reshape(*images.shape[:-3], 4, 16)
    assert (copies == copies[..., :1, :]).all()
    return copies[..., 0, :].view(np.float32)


def rule(obs: np.ndarray) -> np.ndarray:
    """The action [N] that follows obs [N, 4]: one of 17 numbers that float32 holds exactly."""
    episode, step, stream = np.nan_to_num(obs[:, :3]).astype(np.int64).T
    return ((7 * episode + 3 * step + stream) % 17 / 8 - 1).astype(np.float32)


def before(episode: np.ndarray) -> np.ndarray:
    """Steps in all the episodes before this one, [N] -> [N]."""
    lengths = Counting.length(np.arange(int(episode.max()) + 1))
    return np.concatenate(([0], np.cumsum(lengths)))[episode.astype(np.int64)]


def life(stream: float, steps: int) -> dict[str, np.ndarray]:
    """The first transitions of a stream as they must be stored, by column."""
    obs = np.array([0, 0, stream, 0], np.float32)
    transitions = []
    for _ in range(steps):
        reward, following, terminated, truncated = Counting.follow(obs[None], rule(obs[None]))
        first = obs[1] == 0
        transitions.append((obs, rule(obs[None]), reward[0], terminated[0], truncated[0], first))
        if terminated[0] or truncated[0]:
            obs = np.array([obs[0] + 1, 0, stream, 0], np.float32)
        else:
            obs = following[0].astype(np.float32)
    names = ("obs", "action", "reward", "terminated", "truncated", "is_first")
    columns = {
        name: np.array(column)
        for name, column in zip(names, zip(*transitions, strict=True), strict=True)
    }
    columns["truncated"] &= ~columns["terminated"]
    return columns
