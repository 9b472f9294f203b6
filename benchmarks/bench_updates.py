"""How many SAC updates a second does one core make, here and in Stable-Baselines3?

Same work on both sides: LunarLanderContinuous, batch 256, hidden layers 256 x 256, one update an
env step, learning rate 3e-4, one thread pinned to one core. Whole runs have a process each, set up
as each library sets itself up; bare updates share one.
SAC of Stable-Baselines3: Raffin et al. 2021, JMLR 22(268).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.parts.explore import Warmup
from agents.parts.vector import Vector
from agents.sac import SAC
from benchmarks import rounds
from envs.make import describe, make_env
from paradigms.base import Job
from paradigms.experience.layout import Fragment
from paradigms.experience.uniform import Uniform
from paradigms.loop.actor import Actor
from paradigms.loop.learner import Learner
from paradigms.runtime import machine
from paradigms.sequential import Sequential
from paradigms.settings import Budget, Checkpointing, Evaluation

BATCH, WARMUP, CAPACITY = 256, 1_000, 100_000
WORLD = partial(make_env, "LunarLander-v3", kwargs={"continuous": True})


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    machine.prepare()
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if before:
        os.sched_setaffinity(0, {min(before)})
    yield
    if before:
        os.sched_setaffinity(0, before)


def bench_whole_loop_against_stable_baselines3(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    updates = 32 if quick else 1_024
    make_peer()  # skips where it is not installed
    makes = {
        "stable-baselines3": partial(peer_learning, updates),
        "sequential": partial(sequential, updates, bf16=False),
        "sequential, agent.bf16=true": partial(sequential, updates, bf16=True),
    }
    with ExitStack() as stack:
        sides = {name: stack.enter_context(rounds.apart(make)) for name, make in makes.items()}
        compare = partial(rounds.interleave, sides, 1 if quick else 7)
        rates = benchmark.pedantic(compare, rounds=1)
    question = "Updates a second of a whole run (act, step, store, draw, learn) on one core."
    said = rounds.keep(results, "updates", question=question, unit="updates/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def bench_bare_update_against_stable_baselines3(
    benchmark: Any, quick: bool, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    updates = 8 if quick else 400
    peer = make_peer()
    agent = make_agent()
    replay = fill(agent, peer, fragments=32 if quick else 625)
    learner = Learner(agent, replay, batch_size=BATCH, seed=0)
    batch = replay.sample(BATCH, torch.Generator().manual_seed(0))

    def stable_baselines3() -> float:
        for _ in range(updates):
            peer.train(gradient_steps=1, batch_size=BATCH)
        return updates

    def draw_and_learn() -> float:
        for number in range(updates):
            learner.update(number)
        return updates

    def learn() -> float:
        for _ in range(updates):
            agent.learn(batch)
        return updates

    sides = {
        "stable-baselines3 train(1)": rounds.rate(stable_baselines3),
        "draw a batch and learn": rounds.rate(draw_and_learn),
        "learn": rounds.rate(learn),
    }
    rates = benchmark.pedantic(partial(rounds.interleave, sides, 1 if quick else 7), rounds=1)
    question = "Updates a second on one filled replay of the same rows, on one core."
    said = rounds.keep(results, "learn", question=question, unit="updates/s", rates=rates)
    with capsys.disabled():
        print(f"\n{question}\n{said}")


def make_agent(bf16: bool = False) -> SAC:
    spec = describe(WORLD)
    agent = SAC(spec, seed=0, bf16=bf16)
    Vector(agent)
    return agent


def make_peer() -> Any:
    """Stable-Baselines3's SAC with the values that ours has; it learns once an env step."""
    peers = pytest.importorskip("stable_baselines3", reason="pip install 'paceline[peers]'")
    from stable_baselines3.common.logger import configure

    peer = peers.SAC(
        "MlpPolicy",
        gym.make("LunarLander-v3", continuous=True),
        learning_rate=3e-4,
        buffer_size=CAPACITY,
        learning_starts=WARMUP,
        batch_size=BATCH,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
        device="cpu",
    )
    peer.set_logger(configure(None, []))
    torch.set_num_threads(1)
    return peer


def peer_learning(updates: int) -> Callable[[], float]:
    """Work that carries a run of Stable-Baselines3 on by `updates` env steps, one update each."""
    peer = make_peer()
    peer.learn(WARMUP)

    def work() -> float:
        before = peer._n_updates
        peer.learn(updates, reset_num_timesteps=False)
        return float(peer._n_updates - before)

    return work


def sequential(updates: int, *, bf16: bool) -> Callable[[], float]:
    """Work that carries a sequential run on by at least `updates` updates and counts them."""
    machine.prepare()
    job = Job(
        spec=describe(WORLD),
        make_agent=partial(SAC, bf16=bf16),
        make_env=WORLD,
        make_replay=partial(Uniform, capacity=CAPACITY),
        explore=Warmup(WARMUP),
        lr_schedule=lambda share: 1.0,
        workers=1,
        num_envs=1,
        rollout_length=16,
        batch_size=BATCH,
        updates_per_env_step=1.0,
        warmup=WARMUP,
        max_ahead=0,
        policy_lag=0,
        seed=0,
        device="cpu",
        crew="inline",
        budget=Budget(env_steps=10_000_000, seconds=None),
        evaluation=Evaluation(
            where="inline", every_seconds=None, share=1.0, episodes=1, confirm_episodes=0
        ),
        checkpoint=Checkpointing(every_env_steps=None, at_end=False, keep=1),
    )
    return counted(Sequential().run(job), updates)


def counted(run: Iterator[Any], updates: int) -> Callable[[], float]:
    done = next(progress.updates for progress in run if progress.updates)

    def work() -> float:
        nonlocal done
        before = done
        while done - before < updates:
            done = next(run).updates
        return float(done - before)

    return work


def fill(agent: SAC, peer: Any, fragments: int) -> Uniform:
    """A replay of random play, whose rows are also put into the peer's."""
    spec = agent.spec.with_extras(agent.extras)
    replay = Uniform(spec, capacity=CAPACITY, writers=1, num_envs=1, rollout_length=16)
    actor = Actor(WORLD(seed=0), agent, replay.layout, explore=Warmup(10**9), seed=0)
    for _ in range(fragments):
        fragment = actor.collect(version=0)
        replay.add(fragment)
        add_to_peer(peer.replay_buffer, fragment)
    return replay


def add_to_peer(buffer: Any, fragment: Fragment) -> None:
    rows = fragment.transitions
    for t in np.flatnonzero(rows["valid"][:, 0]):
        ended = rows["terminated"][t] | rows["truncated"][t]
        following = rows["obs"][t + 1] if t + 1 < len(rows) else fragment.next_obs
        buffer.add(
            rows["obs"][t],
            fragment.final_obs[t] if ended[0] else following,
            rows["action"][t],
            rows["reward"][t],
            ended,
            [{"TimeLimit.truncated": bool(rows["truncated"][t, 0])}],
        )
