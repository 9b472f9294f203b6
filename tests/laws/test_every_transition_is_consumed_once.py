"""Law 10 for transitions that are consumed once: whatever the paradigm, an agent learns from each
transition of a worker once, in its order, in fragments side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from agents.base import Acted, Batch, Key, Spec, State
from envs.counting import Counting
from paradigms.base import Job
from paradigms.experience.rollout import Fifo, Rollout
from tests.counting import Counter, before, rule
from tests.jobs import ONCE, PARADIGMS, job, run
from tests.laws.test_every_transition_is_stored_once import COUNTING, SHOWN

REPLAYS: dict[str, Any] = {
    "rollout": Rollout,
    "rollout of all": functools.partial(Rollout, fragments=None),
    "rollout of all, capacity 3": functools.partial(Rollout, fragments=None, capacity=3),
    "rollout of 3": functools.partial(Rollout, fragments=3, capacity=4),
    "fifo of 1": Fifo,
    "fifo of 3": functools.partial(Fifo, fragments=3),
}


class Reader(Counter):
    """Checks whole fragments; notes the transitions it learns from, [stream, serial number], in
    `read`. fixed: every column of its batches has the same stream all the time."""

    replays = frozenset({"rollout", "fifo"})

    def __init__(
        self, spec: Spec, seed: int, device: str = "cpu", *, read: list[np.ndarray], fixed: bool
    ) -> None:
        super().__init__(spec, seed, device, streams=0)
        self.extras["since"] = Key(dtype="int64", per="fragment")
        self.read, self.fixed = read, fixed
        self.following: dict[float, int] = {}
        self.columns: list[float] = []

    def initial_state(self, n: int) -> State:
        return {**super().initial_state(n), "since": np.zeros(n, np.int64)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        acted = super().act(obs, state, explore)
        return acted._replace(state={**acted.state, "since": acted.state["age"]})

    def check(self, batch: Batch) -> None:
        data = self.numbered(batch)
        valid, states = data["valid"], data.pop("since")
        assert_array_equal(data["weight"], valid.astype(np.float32))
        streams = [float(obs[0, 2]) for obs in np.moveaxis(data["obs"], 1, 0)]
        if self.fixed:
            self.columns = self.columns or streams
            assert streams == self.columns
        for column, stream in enumerate(streams):
            mine = {name: values[valid[:, column], column] for name, values in data.items()}
            self.in_its_order(mine, stream)
            if valid[0, column]:
                assert states[column] == mine["obs"][0, 1]
            reset_steps = np.flatnonzero(~valid[1:, column])
            assert (data["terminated"] | data["truncated"])[reset_steps, column].all()

    def in_its_order(self, data: dict[str, np.ndarray], stream: float) -> None:
        """Asserts that the transitions of a slot [T] are the next ones of its stream, and true."""
        obs = data["obs"]
        serial = before(obs[:, 0]) + obs[:, 1].astype(np.int64)
        first = self.following.get(stream, 0)
        assert_array_equal(serial, np.arange(first, first + len(serial)))
        self.following[stream] = first + len(serial)
        self.read.append(np.stack([np.full(len(serial), stream), serial], 1))

        reward, next_obs, terminated, truncated = Counting.follow(obs, rule(obs))
        assert_array_equal(data["action"][:, 0], rule(obs))
        assert_array_equal(data["age"], obs[:, 1])
        assert_array_equal(data["is_first"], obs[:, 1] == 0)
        assert_array_equal(data["reward"], reward.astype(np.float32))
        assert_array_equal(data["terminated"], terminated)
        assert_array_equal(data["truncated"], truncated & ~terminated)
        assert_array_equal(data["next_obs"], next_obs)
        assert_array_equal(data["discount"], np.float32(self.gamma) * ~terminated)


def reading(
    read: list[np.ndarray],
    name: str,
    replay: str,
    mode: str,
    shows: Callable[..., Any] = COUNTING,
    **changes: Any,
) -> Job:
    fixed = "of 3" not in replay and ("of all" in replay or name not in ("dcollect", "allreduce"))
    agent = functools.partial(Reader, read=read, fixed=fixed)
    workers = 1 if name == "sequential" else 3
    once = {**ONCE, "workers": workers, "make_replay": REPLAYS[replay], **changes}
    return job(functools.partial(shows, autoreset=mode), agent, **once)


NAMES = [name for name in PARADIGMS if name != "locked"]
MODES = ("next_step", "same_step", "disabled")
PAIRS = [  # every paradigm with every replay, and each of these with every mode and max_ahead
    (name, replay, MODES[(i + j) % 3], (0, 8)[(i + j) % 2])
    for i, name in enumerate(NAMES)
    for j, replay in enumerate(REPLAYS)
]


@pytest.mark.parametrize(("name", "replay", "mode", "max_ahead"), PAIRS)
def test_every_transition_is_consumed_once(
    name: str, replay: str, mode: str, max_ahead: int
) -> None:
    read: list[np.ndarray] = []
    made = reading(read, name, replay, mode, max_ahead=max_ahead, env_steps=300)
    ended = run(PARADIGMS[name], made)
    transitions = np.concatenate(read)
    assert len(np.unique(transitions, axis=0)) == len(transitions)
    waiting = ended.totals["env_steps"] - len(transitions)
    together = 3 if "of 3" in replay else 1
    left = together - 1 if name in ("sequential", "dcollect") else 3 * (together - 1)
    if name == "dcollect" and "of all" in replay and max_ahead:
        left = 2 * 3  # of an incomplete last round
    assert 0 <= waiting <= 8 * left
    assert ended.totals["updates"] > 4


@pytest.mark.parametrize("what", ["images", "a dict"])
@pytest.mark.parametrize("name", ["sequential", "dcollect", "dupdate", "hogwild"])
def test_every_transition_with_an_image_is_consumed_once(name: str, what: str) -> None:
    read: list[np.ndarray] = []
    ended = run(PARADIGMS[name], reading(read, name, "rollout", "next_step", SHOWN[what]))
    transitions = np.concatenate(read)
    assert len(np.unique(transitions, axis=0)) == len(transitions) == ended.totals["env_steps"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "replay"),
    [
        ("dcollect", "fifo of 3"),
        ("dupdate", "rollout of all"),
        ("hogwild", "rollout"),
        ("allreduce", "fifo of 1"),
        ("gorila", "fifo of 3"),
    ],
)
def test_processes_consume_every_transition_once(name: str, replay: str) -> None:
    """Each agent checks its batches where it is."""
    changes = {"max_ahead": 8, "env_steps": 900, "crew": "process"}
    ended = run(PARADIGMS[name], reading([], name, replay, "next_step", **changes))
    assert ended.totals["updates"] > 4
    assert ended.totals["duplicated"] == 0
