"""Returns and advantages of fragments: the targets of values and the weights of policy gradients.

Every function is of tensors, float32 or float64, on any device; its result carries no gradient.
Time comes first and nothing is remembered between calls. Columns of different shapes raise
AssertionError.

    reward [T, B], raw.  discount [T, B] = gamma, 0 where the episode terminated.
    value [T, B] = V(s_t).  next_value [T, B] = V(s_{t+1}), at an episode's end of that episode's
    own last observation.  cut [T, B] bool: what follows this step is no part of its future
    (terminated, truncated or a reset step); the last step of a fragment is always treated as cut.

At a cut the future is discount * next_value, so a truncated episode is bootstrapped and a
terminated one is not (Pardo et al. 2018, arXiv:1712.00378). Numbers in reset steps do not change
the results of other steps as long as they are finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def n_step_return(
    reward: Tensor, discount: Tensor, next_value: Tensor, cut: Tensor, n: int
) -> Tensor:
    """G_{t:t+n} = r_t + g_t r_{t+1} + ... bootstrapped after n steps, or at a cut if that is
    sooner: Sutton and Barto 2018, section 7.1, equation 7.1. All [T, B] -> [T, B]. n = 1 is the
    target of TD(0). Raises ValueError for n < 1."""
    _check(reward, discount=discount, next_value=next_value, cut=cut)
    if n < 1:
        raise ValueError(f"n_step is {n}: it must be 1 or more")
    target = reward + discount * next_value
    for _ in range(min(n, len(reward)) - 1):
        target = reward + discount * _after(target, next_value, cut)
    return target


@torch.no_grad()
def monte_carlo(reward: Tensor, discount: Tensor, next_value: Tensor, cut: Tensor) -> Tensor:
    """G_t = r_t + g_t G_{t+1}, bootstrapped at cuts alone: Sutton and Barto 2018, equation 3.9.
    All [T, B] -> [T, B]; it is the n-step return with n = T."""
    _check(reward, discount=discount, next_value=next_value, cut=cut)
    end = cut.clone()
    end[-1] = True
    return _accumulate(reward + discount * next_value * end, discount * ~end)


@torch.no_grad()
def gae(
    reward: Tensor,
    discount: Tensor,
    value: Tensor,
    next_value: Tensor,
    cut: Tensor,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: Schulman et al. 2016, arXiv:1506.02438, equations 11, 16.

        A_t = delta_t + g_t lam A_{t+1},  delta_t = r_t + g_t V(s_{t+1}) - V(s_t)

    All [T, B] -> (advantage, value target) [T, B]; the value target is A_t + V(s_t), TD(lam)'s.
    """
    _check(reward, discount=discount, value=value, next_value=next_value, cut=cut)
    delta = reward + discount * next_value - value
    advantage = _accumulate(delta, lam * discount * ~cut)
    return advantage, advantage + value


@torch.no_grad()
def vtrace(
    log_ratio: Tensor,
    reward: Tensor,
    discount: Tensor,
    value: Tensor,
    next_value: Tensor,
    cut: Tensor,
    *,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    rho_pg: float | None = 1.0,
) -> tuple[Tensor, Tensor]:
    """V-trace, the off-policy n-step return of IMPALA: Espeholt et al. 2018, arXiv:1802.01561.

        delta_t = min(rho_bar, pi/mu) (r_t + g_t V(s_{t+1}) - V(s_t))
        v_t = V(s_t) + delta_t + g_t c_t (v_{t+1} - V(s_{t+1})),  c_t = lam min(c_bar, pi/mu)
        advantage_t = min(rho_pg, pi/mu) (r_t + g_t v_{t+1} - V(s_t))

    The first two lines are equation 1 in remark 1's recursive form, with remark 2's lam, the last
    is section 4.2's (without its weight where rho_pg is None); at a cut v_{t+1} is next_value.
    `log_ratio` is log pi(a_t|s_t) of the learner less log mu(a_t|s_t) as recorded when acting,
    summed over an action's dimensions.
    All [T, B] -> (value target v, advantage) [T, B]. (rlax weighs v_{t+1} with V(s_{t+1}) by lam
    in the advantage; the paper does not, and at lam = 1 the two agree.)
    """
    _check(
        reward,
        log_ratio=log_ratio,
        discount=discount,
        value=value,
        next_value=next_value,
        cut=cut,
    )
    ratio = log_ratio.exp()
    delta = ratio.clamp(max=rho_bar) * (reward + discount * next_value - value)
    trace = lam * ratio.clamp(max=c_bar)
    target = value + _accumulate(delta, discount * trace * ~cut)
    advantage = reward + discount * _after(target, next_value, cut) - value
    return target, advantage if rho_pg is None else ratio.clamp(max=rho_pg) * advantage


@torch.no_grad()
def end_known(cut: Tensor, interrupted: Tensor) -> Tensor:
    """Whether an episode's end follows in the fragment, bool [T, B]. interrupted [T, B] bool: True
    at a step before which an episode stopped without an end."""
    nothing = torch.zeros_like(cut[:1])
    place = torch.arange(len(cut), device=cut.device).unsqueeze(-1)
    following = torch.where(cut, place, len(cut)).flip(0).cummin(0).values.flip(0)
    ends = cut & ~torch.cat((interrupted[1:], nothing))
    return torch.cat((ends, nothing)).gather(0, following)


def _check(reward: Tensor, **others: Tensor) -> None:
    for name, tensor in others.items():
        assert tensor.shape == reward.shape, (
            f"{name} {tuple(tensor.shape)} against reward {tuple(reward.shape)}"
        )


def _after(future: Tensor, next_value: Tensor, cut: Tensor) -> Tensor:
    """The next step's `future`; at a cut and in the last step next_value. All [T, B]."""
    after = next_value.clone()
    after[:-1] = torch.where(cut[:-1], next_value[:-1], future[1:])
    return after


def _accumulate(term: Tensor, decay: Tensor) -> Tensor:
    """x_t = term_t + decay_t x_{t+1} with x_T = 0, for all t at once; overwrites `term` [T, B].

    Each round doubles how many terms every step has summed (Hillis and Steele 1986), so T = 2048
    takes 11 rounds of three operations, a twentieth of the time of a loop over the steps.
    """
    decay, reach = decay[:-1], 1
    while reach < len(term):
        term[:-reach] += decay * term[reach:]
        decay = decay[:-reach] * decay[reach:]
        reach *= 2
    return term
