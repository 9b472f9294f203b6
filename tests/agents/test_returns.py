"""Returns by hand, by a loop that follows the sums as written, by their laws, by others' code."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.parts.returns import gae, monte_carlo, n_step_return, vtrace

EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}
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
    """Random rows in which episodes end either way; V(s') is the next row's V(s) within one."""
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


rollouts = st.builds(
    rollout,
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([torch.float32, torch.float64]),
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
    """The same in float64, every row summed forwards on its own, from the papers' sums."""
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


def close(mine: Tensor, other: Tensor | np.ndarray, exact: float | None = None) -> None:
    exact = EXACT[mine.dtype] if exact is None else exact
    np.testing.assert_allclose(mine.numpy(), np.asarray(other), rtol=exact, atol=exact)


# Episode 0 terminates after its second row, episode 1 is truncated after its third; gamma is 1/2.
# What follows a row of value v shows v: 99 is V of a last observation after which nothing comes.
HAND = Rollout(
    reward=torch.tensor([[1, 1], [2, 1], [3, 1], [4, 1]]),
    discount=torch.tensor([[0.5, 0.5], [0.0, 0.5], [0.5, 0.5], [0.5, 0.5]]),
    value=torch.tensor([[10, 2], [20, 4], [30, 6], [40, 8]]),
    next_value=torch.tensor([[20, 4], [99, 6], [40, 100], [50, 16]]),
    cut=torch.tensor([[0, 0], [1, 0], [0, 1], [0, 0]], dtype=torch.bool),
    log_ratio=torch.tensor([[2, 0.5], [0.5, 0.25], [1, 1], [4, 1]], dtype=torch.float64).log(),
)


@pytest.mark.parametrize("dtype", EXACT)
def test_by_hand(dtype: torch.dtype) -> None:
    r = Rollout(*(c if c.dtype == torch.bool else c.to(dtype) for c in HAND))
    four = (r.reward, r.discount, r.next_value, r.cut)
    close(
        n_step_return(*four, 1),
        torch.tensor([[11.0, 3.0], [2.0, 4.0], [23.0, 51.0], [29.0, 9.0]]),
    )
    close(
        n_step_return(*four, 2),
        torch.tensor([[2.0, 3.0], [2.0, 26.5], [17.5, 51.0], [29.0, 9.0]]),
    )
    close(
        monte_carlo(*four),
        torch.tensor([[2.0, 14.25], [2.0, 26.5], [17.5, 51.0], [29.0, 9.0]]),
    )
    # delta: 1 -18 -7 -11 and 1 0 45 1; gamma lam = 1/4
    advantage, target = gae(r.reward, r.discount, r.value, r.next_value, r.cut, 0.5)
    wanted = torch.tensor([[-3.5, 3.8125], [-18.0, 11.25], [-9.75, 45.0], [-11.0, 1.0]])
    close(advantage, wanted)
    close(target, wanted + HAND.value)
    # all clipped at 1: rho delta = 1 -9 -7 -11 and 0.5 0 45 1
    v, push = vtrace(r.log_ratio, r.reward, r.discount, r.value, r.next_value, r.cut)
    close(v, torch.tensor([[6.5, 3.90625], [11.0, 9.625], [17.5, 51.0], [29.0, 9.0]]))
    close(push, torch.tensor([[-3.5, 1.90625], [-9.0, 5.625], [-12.5, 45.0], [-11.0, 1.0]]))


@given(rollouts, st.integers(1, 12), st.floats(0, 1))
def test_it_is_what_a_walk_along_each_row_sums(r: Rollout, n: int, lam: float) -> None:
    expected = walked(r, n, lam)
    for name, mine in returns(r, n, lam).items():
        assert mine.dtype == r.reward.dtype
        close(mine, expected[name])


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("steps", [127, 128, 129, 500])
def test_long_fragments_with_hardly_an_end_are_such_sums_too(
    steps: int, dtype: torch.dtype
) -> None:
    r = rollout(steps, 2, seed=steps, dtype=dtype)
    cut = torch.zeros_like(r.cut)
    cut[steps // 3, 0] = True
    r = r._replace(cut=cut, discount=torch.full_like(r.discount, 0.997))
    expected = walked(r, 5, 0.97)
    for name, mine in returns(r, 5, 0.97).items():
        scale = max(1.0, float(np.abs(expected[name]).max()))
        close(mine / scale, expected[name] / scale)


@given(rollouts)
def test_laws_of_advantages(r: Rollout) -> None:
    """gae(1) = Monte Carlo - V, gae(0) = TD(0) - V, n_step(1) = TD(0), n_step(T) = Monte Carlo."""
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    td = r.reward + r.discount * r.next_value
    whole = monte_carlo(r.reward, r.discount, r.next_value, r.cut)
    close(gae(*five, 1.0)[0], whole - r.value)
    close(gae(*five, 1.0)[1], whole)
    close(gae(*five, 0.0)[0], td - r.value)
    four = (r.reward, r.discount, r.next_value, r.cut)
    close(n_step_return(*four, 1), td)
    close(n_step_return(*four, len(r.reward)), whole)


@given(rollouts, st.floats(0, 1))
def test_laws_of_vtrace_on_policy(r: Rollout, lam: float) -> None:
    """Law 7: v is the n-step return up to the end, lam's v is gae's target."""
    log_ratio = torch.zeros_like(r.log_ratio)
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    v, advantage = vtrace(log_ratio, *five)
    whole = n_step_return(r.reward, r.discount, r.next_value, r.cut, len(r.reward))
    close(v, whole)
    close(advantage, whole - r.value)
    close(vtrace(log_ratio, *five, lam=lam)[0], gae(*five, lam)[1])


@given(rollouts)
def test_vtrace_of_actions_the_policy_would_never_take_keeps_the_value(r: Rollout) -> None:
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    v, advantage = vtrace(torch.full_like(r.log_ratio, -torch.inf), *five)
    assert torch.equal(v, r.value) and not advantage.any()


@given(rollouts)
def test_ratios_beyond_the_clips_change_nothing(r: Rollout) -> None:
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    beyond = torch.where(r.log_ratio > 0, torch.inf, r.log_ratio)
    for mine, clipped in zip(
        vtrace(beyond, *five), vtrace(r.log_ratio.clamp(max=0), *five), strict=True
    ):
        assert torch.equal(mine, clipped)


@given(rollouts, st.data())
def test_nothing_flows_across_a_cut(r: Rollout, data: st.DataObject) -> None:
    """Nor from one episode slot into another."""
    row = data.draw(st.integers(0, len(r.reward) - 1))
    slot = data.draw(st.integers(0, r.reward.shape[1] - 1))
    r.cut[row, slot] = True
    before = returns(r, n=4)
    for column in (r.reward, r.value, r.next_value, r.log_ratio):
        column[row + 1 :, slot] += 1e6
    touched = torch.zeros_like(r.cut)
    touched[row + 1 :, slot] = True
    for name, after in returns(r, n=4).items():
        assert torch.equal(after[~touched], before[name][~touched]), name
        assert not touched.any() or not torch.equal(after[touched], before[name][touched]), name


@given(rollouts)
def test_a_row_hears_of_later_ones_up_to_its_cut(r: Rollout) -> None:
    """The other side of the law: without a cut the last reward reaches the first row."""
    r = r._replace(cut=torch.zeros_like(r.cut), discount=torch.ones_like(r.discount))
    before = returns(r, n=len(r.reward))
    r.reward[-1] += 10
    after = returns(r, n=len(r.reward))
    for name in ("n_step", "monte_carlo", "gae", "gae target", "vtrace target", "vtrace"):
        assert (after[name][0] > before[name][0]).all(), name


@given(rollouts)
def test_the_last_row_is_cut_whatever_it_says(r: Rollout) -> None:
    before = returns(r)
    r.cut[-1] = ~r.cut[-1]
    for name, after in returns(r).items():
        assert torch.equal(after, before[name]), name


@given(rollouts, st.randoms(use_true_random=False))
def test_slots_may_change_places(r: Rollout, random: Any) -> None:
    order = random.sample(range(r.reward.shape[1]), r.reward.shape[1])
    moved = returns(r.take((slice(None), order)))
    for name, whole in returns(r).items():
        close(moved[name], whole[:, order])


@given(rollouts, st.integers(0, 8))
def test_earlier_rows_do_not_matter(r: Rollout, start: int) -> None:
    start = min(start, len(r.reward) - 1)
    later = returns(r.take(slice(start, None)), n=3)
    for name, whole in returns(r, n=3).items():
        close(later[name], whole[start:])


def test_inputs_are_left_alone_and_no_gradient_comes_out() -> None:
    r = rollout(6, 2, seed=0)
    kept = Rollout(*(column.clone() for column in r))
    for column in (r.reward, r.value, r.next_value, r.log_ratio):
        column.requires_grad_()
    assert not any(out.requires_grad for out in returns(r).values())
    assert all(torch.equal(a, b) for a, b in zip(r, kept, strict=True))


@pytest.mark.parametrize("column", ["discount", "value", "next_value", "cut", "log_ratio"])
def test_a_shape_that_would_broadcast_is_refused(column: str) -> None:
    r = rollout(4, 3, seed=0)
    wrong = r._replace(**{column: getattr(r, column)[:, :1]})
    with pytest.raises(AssertionError, match=rf"{column} \(4, 1\) against reward \(4, 3\)"):
        vtrace(wrong.log_ratio, *wrong[:5])
    if column != "log_ratio":
        with pytest.raises(AssertionError, match=rf"{column} \(4, 1\) against reward \(4, 3\)"):
            gae(*wrong[:5], 0.9)
    four = (wrong.reward, wrong.discount, wrong.next_value, wrong.cut)
    if column in ("discount", "next_value", "cut"):
        for refused in (lambda: monte_carlo(*four), lambda: n_step_return(*four, 2)):
            with pytest.raises(AssertionError, match=rf"{column} \(4, 1\) against reward"):
                refused()


def test_no_steps_are_refused() -> None:
    r = rollout(4, 3, seed=0)
    with pytest.raises(ValueError, match="n_step is 0: it must be 1 or more"):
        n_step_return(r.reward, r.discount, r.next_value, r.cut, 0)


def others(name: str) -> Any:
    """A published implementation, where it is installed; its warnings are not ours."""
    pytest.importorskip(name.split(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.mark.parametrize("seed", range(5))
def test_gae_is_stable_baselines_3s(seed: int) -> None:
    """Which knows one kind of end: a truncated episode's bootstrap is put into its last reward."""
    buffers, steps, envs = others("stable_baselines3.common.buffers"), 40, 3
    r = rollout(steps, envs, seed, torch.float32)
    box = Box(-1, 1, (1,))
    theirs = buffers.RolloutBuffer(
        steps, box, box, "cpu", gae_lambda=0.95, gamma=GAMMA, n_envs=envs
    )
    theirs.values[:] = r.value
    theirs.rewards[:] = r.reward + torch.where(r.cut, r.discount * r.next_value, 0)
    theirs.episode_starts[1:] = r.cut[:-1]
    theirs.compute_returns_and_advantage(r.next_value[-1], r.cut[-1].numpy())
    advantage, target = gae(r.reward, r.discount, r.value, r.next_value, r.cut, 0.95)
    close(advantage, theirs.advantages)
    close(target, theirs.returns)


@pytest.mark.parametrize("dtype", EXACT)
def test_gae_and_vtrace_are_torchrls(dtype: torch.dtype) -> None:
    """Which keeps gamma, lam and clips in float32: these lose nothing by that."""
    torchrl = others("torchrl.objectives.value.functional")
    gamma, lam = 0.875, 0.75
    r = rollout(50, 3, seed=7, dtype=dtype)
    r = r._replace(discount=gamma * (r.discount > 0).to(dtype))
    shown = {
        "state_value": r.value,
        "next_state_value": r.next_value,
        "reward": r.reward,
        "done": r.cut,
        "terminated": r.discount == 0,
    }
    shown = {name: column.T[..., None] for name, column in shown.items()}
    theirs = torchrl.generalized_advantage_estimate(gamma, lam, **shown)
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    for mine, other in zip(gae(*five, lam), theirs, strict=True):
        close(mine, other[..., 0].T)
    log_pi = r.log_ratio.T[..., None]
    push, v = torchrl.vtrace_advantage_estimate(
        gamma, log_pi, torch.zeros_like(log_pi), **shown, rho_thresh=1.25, c_thresh=0.875
    )
    mine_v, mine_push = vtrace(r.log_ratio, *five, rho_bar=1.25, c_bar=0.875, rho_pg=1.25)
    close(mine_v, v[..., 0].T)
    close(mine_push, push[..., 0].T)


@pytest.mark.parametrize("lam", [1.0, 0.7])
def test_every_return_is_rlaxs(lam: float) -> None:
    """rlax cuts by a discount of 0 alone, so these episodes terminate, in one slot."""
    rlax = others("rlax")
    r = rollout(30, 1, seed=3, dtype=torch.float32)
    r = r._replace(cut=r.discount == 0, next_value=torch.cat((r.value[1:], r.next_value[-1:])))
    reward, discount, value, next_value, _, ratio = (
        column[:, 0].numpy() for column in r._replace(log_ratio=r.log_ratio.exp())
    )
    five = (r.reward, r.discount, r.value, r.next_value, r.cut)
    values = np.append(value, next_value[-1:])
    advantage = rlax.truncated_generalized_advantage_estimation(reward, discount, lam, values)
    close(gae(*five, lam)[0][:, 0], advantage)
    four = (r.reward, r.discount, r.next_value, r.cut)
    close(
        n_step_return(*four, 3)[:, 0],
        rlax.n_step_bootstrapped_returns(reward, discount, next_value, 3),
    )
    close(monte_carlo(*four)[:, 0], rlax.discounted_returns(reward, discount, next_value))
    clips = {"clip_rho_threshold": 1.3, "clip_pg_rho_threshold": 1.1}
    theirs = rlax.vtrace_td_error_and_advantage(
        value, next_value, reward, discount, ratio, lam, **clips
    )
    v, push = vtrace(r.log_ratio, *five, lam=lam, rho_bar=1.3, rho_pg=1.1)
    close(v[:, 0] - r.value[:, 0], theirs.errors)
    if lam == 1:
        close(push[:, 0], theirs.pg_advantage)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", EXACT)
def test_a_cuda_device_agrees(dtype: torch.dtype) -> None:
    r = rollout(129, 5, seed=1, dtype=dtype)
    there = returns(Rollout(*(column.cuda() for column in r)))
    for name, mine in returns(r).items():
        close(there[name].cpu(), mine)
