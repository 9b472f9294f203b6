"""Random fragments, and every return of them: by the library, and summed as in the papers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.parts.returns import gae, monte_carlo, n_step_return, vtrace

GAMMA = 0.9
TRACES = {"lam": 0.8, "rho_bar": 1.3, "c_bar": 0.9, "rho_pg": 1.1}


class Rollout(NamedTuple):
    """What every function takes, in the order it takes it; [T, B]."""

    reward: Tensor
    discount: Tensor
    value: Tensor
    next_value: Tensor
    cut: Tensor
    log_ratio: Tensor

    def take(self, index: Any) -> Rollout:
        return Rollout(*(column[index] for column in self))


def rollout(steps: int, envs: int, seed: int, dtype: torch.dtype = torch.float64) -> Rollout:
    """Random steps in which episodes end either way; V(s') is the next step's V(s) within one."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

    cut = torch.rand((steps, envs), generator=draw) < 0.3
    terminated = cut & (torch.rand((steps, envs), generator=draw) < 0.5)
    value, elsewhere = normal(steps, envs), normal(steps, envs)
    within = torch.cat((value[1:], elsewhere[-1:]))
    return Rollout(
        reward=normal(steps, envs),
        discount=GAMMA * (~terminated).to(dtype),
        value=value,
        next_value=torch.where(cut, elsewhere, within),
        cut=cut,
        log_ratio=0.5 * normal(steps, envs),
    )


def returns(r: Rollout, n: int = 2, lam: float = 0.8) -> dict[str, Tensor]:
    """Everything there is, by name."""
    advantage, value_target = gae(r.reward, r.discount, r.value, r.next_value, r.cut, lam)
    v, push = vtrace(
        r.log_ratio, r.reward, r.discount, r.value, r.next_value, r.cut, **{**TRACES, "lam": lam}
    )
    return {
        "n_step": n_step_return(r.reward, r.discount, r.next_value, r.cut, n),
        "monte_carlo": monte_carlo(r.reward, r.discount, r.next_value, r.cut),
        "gae": advantage,
        "gae target": value_target,
        "vtrace target": v,
        "vtrace": push,
    }


def walked(r: Rollout, n: int, lam: float) -> dict[str, np.ndarray]:
    """The same in float64, every step summed forwards on its own, from the papers' sums."""
    reward, discount, value, next_value, log_ratio = (
        np.asarray(column, np.float64) for column in (*r[:4], r.log_ratio)
    )
    cut, ratio = r.cut.numpy(), np.exp(log_ratio)
    steps, envs = cut.shape
    delta = reward + discount * next_value - value
    names = ("n_step", "monte_carlo", "gae", "gae target", "vtrace target", "vtrace")
    out = {name: np.zeros((steps, envs)) for name in names}
    for b in range(envs):
        for t in range(steps):
            ends = next((s for s in range(t, steps) if cut[s, b]), steps - 1)
            for name, last in (("n_step", min(t + n - 1, ends)), ("monte_carlo", ends)):
                weight = 1.0
                for s in range(t, last + 1):
                    out[name][t, b] += weight * reward[s, b]
                    weight *= discount[s, b]
                out[name][t, b] += weight * next_value[last, b]
            out["gae target"][t, b] = out["vtrace target"][t, b] = value[t, b]
            weight = trace = 1.0
            for s in range(t, ends + 1):
                out["gae"][t, b] += weight * delta[s, b]
                rho = min(TRACES["rho_bar"], ratio[s, b])
                out["vtrace target"][t, b] += trace * rho * delta[s, b]
                weight *= discount[s, b] * lam
                trace *= discount[s, b] * lam * min(TRACES["c_bar"], ratio[s, b])
            out["gae target"][t, b] += out["gae"][t, b]
    for t in range(steps):
        last = cut[t] if t + 1 < steps else np.ones(envs, bool)
        after = np.where(last, next_value[t], out["vtrace target"][min(t + 1, steps - 1)])
        rho = np.minimum(TRACES["rho_pg"], ratio[t])
        out["vtrace"][t] = rho * (reward[t] + discount[t] * after - value[t])
    return out
