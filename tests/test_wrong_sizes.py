"""What is too large, too small or at odds with itself is refused in one sentence that names the
setting, before anything starts: also what no annotation can say."""

from __future__ import annotations

import pytest

import train
from tests.test_wrong_command_lines import Refusal, refusal

__all__ = ["refusal"]  # a fixture

HUGE = 2**63
WRONG = {
    "more than counters hold": [
        (f"budget.env_steps={HUGE}", f"budget.env_steps={HUGE:g} must be below 2^63"),
        (f"replay.capacity={HUGE}", "replay.capacity=9.22337e+18 must be below 2^63"),
        (f"max_ahead={HUGE}", "max_ahead=9.22337e+18 must be below 2^63"),
        (f"env.action_repeat={HUGE}", "must be a whole number in [1, 1000]"),
        (f"env.kwargs.x={HUGE}", "env.kwargs.x=9.22337e+18 must be below 2^63"),
        (f"num_envs={-HUGE}", "must be a whole number of at least 1"),
        ("updates_per_env_step=1e300", "makes more updates than counters can hold"),
        ("budget.env_steps=1e400", "must be a"),
        ("seed=9223372036854775808", "seed=9223372036854775808 must be"),
    ],
    "more than this machine has": [
        ("workers=1000000 paradigm=dcollect", "workers=1000000"),
        ("paradigm=gorila paradigm.shards=1000000", "paradigm.shards=1000000"),
        ("paradigm=pbt paradigm.members=1000000", "paradigm.members=1000000"),
        ("num_envs=1000000000 replay.capacity=20000000000", "num_envs=1000000000"),
        ("rollout_length=1000000000 replay.capacity=2000000000", "rollout_length=1000000000"),
        ("replay.capacity=1000000000000 budget.env_steps=1000000000000", "replay.capacity smaller"),
        ("replay.batch_size=1000000000 replay.capacity=2000000000", "replay.batch_size=1000000000"),
        ("evaluation.episodes=1000000000", "evaluation.episodes=1000000000"),
        ("evaluation.confirm_episodes=1000000000000", "evaluation.confirm_episodes=1000000000000"),
        ("policy_lag=1000000 max_ahead=0 paradigm=dcollect", "policy_lag=1000000"),
        ("paradigm=es paradigm.pairs=1000000000000", "paradigm.pairs=1000000000000"),
        ("agent.hidden_sizes=[65536,65536,65536]", "agent and env together take more than"),
        ("env=identity env.kwargs.dims=10000000000", "agent and env together take more than"),
        ("env=spot agent.encoder=conv env.kwargs.size=200000", "together take more than"),
    ],
    "sizes of envs": [
        ("env=identity env.kwargs.dims=0", "dims=0 must be a whole number of at least 1"),
        ("env=identity env.kwargs.length=x", "length=x must be a whole number of at least 1"),
        (
            "env=corridor agent=dqn env.kwargs.length=1",
            "length=1 must be a whole number of",
        ),
        (
            "env=chain agent=dqn env.kwargs.length=2",
            "length=2 must be a whole number of",
        ),
        ("env=race agent=ppo env.kwargs.substep=0", "substep"),
    ],
    "contradictions": [
        ("replay.batch_size=1000 replay.capacity=100", "is more than the replay.capacity=100"),
        ("paradigm=pbt paradigm.of=nope", "paradigm.of=nope is not a choice: there are a3c, all"),
        ("paradigm=pbt paradigm.of=impala", "paradigm.of=impala sets more than a member runs"),
        ("-m paradigm=pbt paradigm.of=hogwild,pbt", "paradigm.of=pbt sets more than a member runs"),
        ("paradigm=pbt paradigm.of=3", "paradigm.of=3"),
        ("paradigm=dupdate paradigm.of=hogwild", "paradigm.of is not a setting"),
        ("paradigm=pbt paradigm.of=hogwild paradigm.of.locke=true", "paradigm.of.locke"),
        ("paradigm=pbt paradigm.search.nope={low:0.1,high:1.0}", "is no setting of the agent"),
        ("paradigm=pbt paradigm.search._target_={choices:[a]}", "is no setting of the agent"),
        (
            "paradigm=pbt paradigm.search.hidden_sizes={choices:[[16],[32]]}",
            "paradigm.search.hidden_sizes=[16] gives the agent tensors or columns of other shapes",
        ),
        ("paradigm=pbt paradigm.search.lr={low:-1.0,high:1.0}", "lr.low=-1.0 must be a number of"),
        ("paradigm=pbt paradigm.search.lr={low:0,high:1}", "write low:0.0 and high:1.0"),
        ("paradigm=pbt paradigm.search.gamma={low:0,high:1}", "write low:0.0 and high:1.0"),
        ("paradigm=pbt paradigm.search.n_step={low:1.0,high:3}", "n_step.low=1.0 must be a whole"),
        ("paradigm=pbt paradigm.search.noise={choices:[white,red]}", "must be one of white, pink"),
        ("lr_schedule.hold=0.9 lr_schedule.until=0.1", "lr_schedule"),
    ],
    "flags": [
        ("--nope", "unrecognized arguments: --nope; see --help"),
        ("--config-dir=nowhere", "--config-dir=nowhere is not a folder"),
        ("--config-name=nope", "nope"),
    ],
}


@pytest.mark.parametrize("topic", WRONG)
def test_training_is_refused_in_one_sentence(
    topic: str, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for typed, said in WRONG[topic]:
        with subtests.test(typed):
            assert said in refusal(train.main, typed)
