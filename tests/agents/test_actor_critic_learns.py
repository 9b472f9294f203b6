"""Actor-critic learns: to repeat what it sees, and with a memory to recall a cue."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from tests.agents.rollouts import (
    greedy_return,
    learned,
)
from tests.agents.test_actor_critic import REINFORCE, actor_critic
from tests.covering import covering

LEARNERS: dict[str, dict[str, Any]] = {
    "gae": {"entropy": 0.0, "lr": 1e-2, "normalise_advantage": True},
    "vtrace": {"entropy": 0.0, "lr": 1e-2, "returns": "vtrace", "normalise_advantage": True},
    "reinforce": {"entropy": 0.0, "lr": 1e-2, **REINFORCE, "normalise_advantage": True},
}


@pytest.mark.parametrize(
    ("learner", "name", "fused"),
    covering(itertools.product(LEARNERS, ("Identity", "IdentityDiscrete"), (True, False))),
)
def test_the_agent_learns_to_repeat_what_it_sees(learner: str, name: str, fused: bool) -> None:
    """The best return is 0, a policy that answers 0 gets -3.3, a uniform one about -7."""
    agent = functools.partial(actor_critic, fused=fused, gamma=0.5, **LEARNERS[learner])
    assert greedy_return(learned(name, agent, env_steps=16_000, rollout_length=16), name) > -1.0


@pytest.mark.slow
@pytest.mark.parametrize("lstm", [32, 0])
def test_a_memory_recalls_the_cue_and_nothing_else_does(lstm: int) -> None:
    """Eight steps later one of four cues must be named: 1 with a memory, 1/4 without."""
    agent = functools.partial(
        actor_critic, lstm=lstm, hidden_sizes=(32,), gamma=0.95, lam=1.0, entropy=0.05
    )
    ended = learned("Recall", agent, env_steps=50_000, rollout_length=27)
    recalled = greedy_return(ended, "Recall", 128)
    assert recalled > 0.9 if lstm else recalled < 0.45
