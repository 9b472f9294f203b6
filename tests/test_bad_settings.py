"""Hostile values for the numbers, lists and words of every group: each is refused by composing and
checking alone, in one sentence that names the setting: the last one of the line, or that after the
arrow. Keywords of an env are named without env.kwargs."""

from __future__ import annotations

import re

import pytest

from conf import check
from conf.sentences import Wrong

RUN = """
seed=-1
seed=1.5
num_envs=0
rollout_length=-16
warmup=nan
updates_per_env_step=1e-9
updates_per_env_step=-1
max_ahead=-1
budget.env_steps=0
budget.seconds=-1
evaluation.every_seconds=-1
evaluation.episodes=[]
checkpoint.keep=0
checkpoint.every_env_steps=0
lr_schedule.until=-0.5
lr_schedule.end=1e300
lr_schedule.start=0 lr_schedule.end=0
explore.min_random=[]
device=cuda:99
"""
AGENTS = """
agent.n_step=1e8
agent.n_step=100000000
agent.tau=0
agent.tau=1e-300
agent.eps=1e300
agent.pessimism=-5
agent.target_entropy=3
agent.initial_temperature=1e300
agent.temperature=1e9
agent.action_hold=1000000000000
agent.critics=2000
agent=td3 agent.tau=0
agent=td3 agent.noise_std=1e300
agent=td3 agent.smoothing=inf
agent=td3 agent.delay=1000000000000
agent=dqn env=cartpole agent.n_step=5000
agent=dqn env=cartpole agent.sigma=1e300
agent=rainbow env=cartpole agent.v_max=1e300
agent=sac_discrete env=cartpole agent.tau=0
agent=ppo agent.epochs=1000000000
agent=ppo agent.log_std=1000
agent=ppo agent.entropy=1e300
agent=ppo agent.eps=1e-300
agent=ppo agent.gamma=true
agent=ppo replay.fragments=1000000000000
agent=a2c agent.n=100000
agent=a2c agent.lstm=1000000000
agent=a2c agent.entropy=1e300
"""
REPLAYS = """
replay=prioritized replay.alpha=1e300
replay=prioritized replay.epsilon=1e300
replay=elite replay.episodes=1000000000
replay=elite replay.transitions=1000000000000
env=spot agent.encoder=conv replay.shift=24
"""
PARADIGMS = """
paradigm=dcollect paradigm.depth=1000000000
paradigm=dupdate paradigm.damping=1
paradigm=dupdate paradigm.scale=1e300
paradigm=dupdate paradigm.task_updates=1000000000000
paradigm=gossip paradigm.every=1000000000000
paradigm=gorila paradigm.sync_period=1000000000000
paradigm=es paradigm.sigma=1e300
paradigm=es paradigm.weight_decay=5
paradigm=dupdate paradigm.shares={train:nan,evaluate:0.1,collect:0.4}
paradigm=es paradigm.sigma=1e-300
paradigm=pbt paradigm.ready=1000000000000
paradigm=pbt paradigm.search.lr={low:-1.0,high:1.0}
paradigm=pbt paradigm.search.lr={low:1.0,high:inf}
paradigm=pbt paradigm.search.lr={choices:abc}
paradigm=pbt paradigm.search.lr=3 -> paradigm.search
paradigm=pbt paradigm.search.n_step={low:1.5,high:2.5}
"""
ENVS = """
env.per_worker=[]
env.action_repeat=1000000000
env.stack=1000000000
env.max_episode_steps=inf
env=gym env.id=paceline/Loop-v0 env.kwargs.reward=nan
env=race agent=ppo env.kwargs.seconds=-1
env=race agent=ppo env.kwargs.seconds=nan
env=race agent=ppo env.kwargs.substep=1e-300
env=race agent=ppo env.kwargs.rays=[]
env=race agent=ppo env.kwargs.view_height=inf
env=race agent=ppo env.kwargs.seconds=forty
env=race agent=ppo env.kwargs.laps=0
env=race agent=ppo env.kwargs.circuits=[]
env=race agent=ppo env.kwargs.circuits=[0,1000000000]
env=race agent=ppo env.kwargs.track=[]
env=race agent=ppo env.kwargs.track=[3]
env=race agent=ppo env.kwargs.vehicle={mass:inf}
env=race agent=ppo env.kwargs.vehicle=3
env=chain agent=dqn env.kwargs.small=nan
env=carracing agent.encoder=conv env.kwargs.size=0
"""
BAD = {"run": RUN, "agents": AGENTS, "replays": REPLAYS, "paradigms": PARADIGMS, "envs": ENVS}


@pytest.mark.parametrize("group", BAD)
def test_a_bad_setting_is_refused_in_one_sentence_that_names_it(
    group: str, subtests: pytest.Subtests
) -> None:
    for line in BAD[group].strip().splitlines():
        with subtests.test(line):
            typed, _, named = line.partition(" -> ")
            key = named or typed.split()[-1].partition("=")[0].removeprefix("env.kwargs.")
            with pytest.raises(Wrong) as caught:
                check.command_line(typed.split())
            text = str(caught.value)
            assert re.search(rf"\b{re.escape(key)}[=. ]", text), text
            assert "\n" not in text and len(text) < 800
