"""Envs whose spaces an agent cannot use are refused in one sentence; a Discrete space that does not
start at 0 is played as it is."""

from __future__ import annotations

import functools
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from agents.actor_critic import ActorCritic
from agents.base import Agent, Spec
from agents.dqn import DQN
from agents.ppo import PPO
from agents.sac import SAC
from agents.sac_discrete import DiscreteSAC
from agents.td3 import TD3
from envs.make import make_env
from paradigms.experience.rollout import Rollout
from paradigms.sequential import Sequential
from tests.jobs import ONCE, SMALL, Pupil, run

POINT = spaces.Box(-1.0, 1.0, (3,), np.float32)
SEVERAL = (
    spaces.MultiDiscrete([3, 3]),
    spaces.MultiBinary(2),
    spaces.Dict(go=spaces.Discrete(2), rollout_length=spaces.Box(-1.0, 1.0, (1,), np.float32)),
    spaces.Box(-1.0, 1.0, (2, 2), np.float32),
)
NEEDS: dict[type[Agent], str] = {
    DQN: "DQN needs Discrete actions",
    DiscreteSAC: "DiscreteSAC needs Discrete actions",
    SAC: "SAC needs actions in Box(n,)",
    TD3: "TD3 needs actions in Box(n,)",
    PPO: "the agent needs actions in Box(n,), Discrete or MultiDiscrete ones",
    ActorCritic: "the agent needs actions in Box(n,), Discrete or MultiDiscrete ones",
}


@pytest.mark.parametrize("kind", NEEDS, ids=lambda kind: kind.__name__)
def test_actions_that_an_agent_cannot_choose_are_refused_in_one_sentence(
    kind: Any, subtests: pytest.Subtests
) -> None:
    for taken in SEVERAL:
        if kind in (PPO, ActorCritic) and isinstance(taken, spaces.MultiDiscrete):
            continue  # several choices at once
        with subtests.test(str(taken)):
            said = re.escape(
                f"{NEEDS[kind]}, but the env has {taken}; choose an env.id with such actions"
            )
            with pytest.raises(ValueError, match=f"^{said}[^\n]*$"):
                kind(Spec(POINT, taken), 0, **SMALL)


def test_observations_that_are_no_vectors_are_refused_in_one_sentence(
    subtests: pytest.Subtests,
) -> None:
    for kind in NEEDS:
        with subtests.test(kind.__name__):
            discrete = kind in (DQN, DiscreteSAC)
            taken = spaces.Discrete(2) if discrete else POINT
            shown = spaces.Box(0, 255, (8, 8), np.uint8)
            said = re.escape(f"needs vectors as observations, but the env has {shown};")
            with pytest.raises(ValueError, match=rf"^\w+ {said}"):
                kind(Spec(shown, taken), 0, **SMALL)


class Downhill(gym.Env):
    """Discrete(3, start=-1): action -1 is rewarded by 1, others by 0. Notes what it is given."""

    given: set[int] = set()  # noqa: RUF012

    def __init__(self) -> None:
        self.observation_space, self.action_space = POINT, spaces.Discrete(3, start=-1)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), f"{action!r} is no action of this env"
        self.given.add(int(action))
        self.steps += 1
        return np.zeros(3, np.float32), float(action == -1), self.steps == 8, False, {}


PLAYERS = {
    "dqn": Pupil(functools.partial(DQN, **SMALL), functools.partial(make_env, id="Downhill-v0")),
    "ppo": Pupil(
        functools.partial(PPO, epochs=2, minibatches=2, **SMALL),
        functools.partial(make_env, id="Downhill-v0"),
        Rollout,
        ONCE,
    ),
}


@pytest.mark.parametrize("player", PLAYERS)
def test_every_action_of_a_space_that_starts_below_0_is_played(
    player: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = gym.envs.registration.EnvSpec("Downhill-v0", entry_point=Downhill)
    monkeypatch.setitem(gym.registry, "Downhill-v0", entry)
    monkeypatch.setattr(Downhill, "given", set())
    run(Sequential(), PLAYERS[player].job())
    assert Downhill.given == {-1, 0, 1}
