"""Does the critic promise more than the policy then gets? Q less the Monte-Carlo return.

    python -m benchmarks.overestimation agent=tqc env=pendulum seed=100 hydra.run.dir=FOLDER

Takes its arguments as train.py does, trains to the end of the budget of env steps, plays
`evaluation.episodes` episodes with the final stochastic policy and writes FOLDER/result.json.

- *Q* is what the actor climbs, `critics.trusted` of the critic that is learned: of values the
  minimum of both, or as `agent.pessimism` says, of quantiles the mean of all. The truncation of
  TQC is in its targets.
- *The return* is what such a Q estimates, which has the entropy of all later steps in it:
  r_0 + sum over k > 0 of gamma^k (r_k - alpha log pi(a_k|s_k)), with alpha as training left it;
  Q lags behind an alpha that moves, so fix `agent.temperature` to compare critics alone. The action
  that is judged is given: its own entropy is not part of it.
- A time limit is no end to these agents, so episodes are played past it, for so long that gamma to
  that power is exp(-5): a return is cut off, at less than a hundredth of its weight, and not
  bootstrapped from the critic in question. States count where so many steps follow them, or an end.
- Steps of an episode resemble each other: the standard error is that of the episodes' means.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from agents.parts.returns import monte_carlo
from agents.sac import SAC
from benchmarks.store import rounded
from conf import check
from conf.build import assemble
from conf.compose import compose
from conf.sentences import Wrong, refuse
from paradigms.base import Job, Paradigm
from paradigms.loop.build import make_agent
from paradigms.runtime import machine

FORGOTTEN = 5.0  # returns are cut off where exp(-5) of a reward's weight is left
PLACE = "hydra.run.dir="


def main() -> None:
    """Writes FOLDER/result.json, and FOLDER/config.yaml as train.py does."""
    try:
        given = [word for word in sys.argv[1:] if not word.startswith(PLACE)]
        (folder,) = (Path(w.removeprefix(PLACE)) for w in sys.argv[1:] if w.startswith(PLACE))
        setup = compose(given)
        check.values(setup)
        machine.prepare()
        job, paradigm = assemble(setup.values)
        agent = trained(job, paradigm)
        play = played(job, agent, setup.values["evaluation"]["episodes"])
    except Wrong as error:
        refuse(error)
    extra = compared(play, alpha=math.exp(agent.log_alpha.item()), gamma=agent.gamma)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(setup.values), folder / "config.yaml")
    names = {part: setup.choices[part] for part in ("paradigm", "agent", "env")}
    result = rounded({**names, "seed": job.seed, "extra": extra})
    (folder / "result.json").write_text(json.dumps(result))


def trained(job: Job, paradigm: Paradigm) -> SAC:
    """The agent at the end of the budget. Raises Wrong if it has no soft Q."""
    agent = make_agent(replace(job, device="cpu"))
    if not isinstance(agent, SAC):
        raise Wrong("the agent must have a critic with entropy in it: use agent=sac or agent=tqc")
    if agent.n_step != 1:
        raise Wrong(f"agent.n_step={agent.n_step} leaves entropy out of Q: use agent.n_step=1")
    if job.spec.max_episode_steps is None:
        raise Wrong("the env has no time limit: set env.max_episode_steps to a number")
    run = paradigm.run(job)
    try:
        while True:
            next(run)
    except StopIteration as end:
        end.value.final.into(agent)
    return agent


def played(job: Job, agent: SAC, episodes: int) -> dict[str, Tensor]:
    """One episode a slot by the stochastic policy: q, logp, reward, terminated, valid, all [T, B].
    What follows an episode's end is not valid."""
    beyond = horizon(agent.gamma) * job.spec.action_repeat
    steps = (job.spec.max_episode_steps or 0) + beyond
    env = job.make_env(num_envs=episodes, seed=job.seed, rank=None, max_episode_steps=steps)
    obs, _ = env.reset()
    valid, rows = np.ones(episodes, bool), list[tuple[Tensor, ...]]()
    while valid.any():
        with torch.no_grad():
            seen = torch.as_tensor(obs, dtype=torch.float32)
            action, logp = agent.sample(seen)
            q = agent.critics.trusted(agent.q(agent.critic, seen, action))
        obs, reward, terminated, truncated, _ = env.step(action.numpy())
        rows.append((q, logp, *map(torch.from_numpy, (reward, terminated, valid))))
        valid = valid & ~(terminated | truncated)
    env.close()
    names = ("q", "logp", "reward", "terminated", "valid")
    columns = zip(*rows, strict=True)
    return {name: torch.stack(column) for name, column in zip(names, columns, strict=True)}


def horizon(gamma: float) -> int:
    """Steps until a reward counts for no more than exp(-5)."""
    return math.ceil(-FORGOTTEN / math.log(gamma))


def soft_return(
    reward: Tensor, logp: Tensor, valid: Tensor, *, alpha: float, gamma: float
) -> Tensor:
    """R_t = r_t + gamma (R_{t+1} - alpha log pi_{t+1}) up to the last valid row, all [T, B]."""
    more = torch.zeros_like(valid)
    more[:-1] = valid[1:]
    discount = gamma * more.double()
    entropy = torch.zeros_like(discount)
    entropy[:-1] = -alpha * logp[1:].double()
    now = reward.double() + discount * entropy
    return monte_carlo(now, discount, torch.zeros_like(now), ~more)


def whole(terminated: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """Which rows [T, B] have a return that is not cut off: their episode ends, or goes on long."""
    left = valid.flip(0).cumsum(0).flip(0)  # this row and what follows
    return valid & ((left > horizon(gamma)) | (terminated & valid).any(0))


def compared(play: dict[str, Tensor], *, alpha: float, gamma: float) -> dict[str, float]:
    """Means over all rows that count, in the env's rewards."""
    valid = play["valid"]
    returns = soft_return(play["reward"], play["logp"], valid, alpha=alpha, gamma=gamma)
    counts = whole(play["terminated"], valid, gamma)
    q, rows = play["q"].double(), counts.sum()
    gap = torch.where(counts, q - returns, 0)
    by_episode = (gap.sum(0) / counts.sum(0)).numpy()
    return {
        "episodes": len(by_episode),
        "states": int(rows),
        "q_mean": float(q[counts].mean()),
        "return_mean": float(returns[counts].mean()),
        "difference_mean": float(gap.sum() / rows),
        "difference_error": float(by_episode.std(ddof=1) / math.sqrt(len(by_episode))),
        "temperature": alpha,
    }


if __name__ == "__main__":
    main()
