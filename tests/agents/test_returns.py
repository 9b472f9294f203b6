"""Returns by hand, by a loop that follows the sums as written, and by their laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.parts.returns import gae, monte_carlo, n_step_return, vtrace
from tests.agents.fragments import Rollout, returns, rollout, walked

EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}


rollouts = st.builds(
    rollout,
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([torch.float32, torch.float64]),
)


def close(mine: Tensor, other: Tensor | np.ndarray, exact: float | None = None) -> None:
    exact = EXACT[mine.dtype] if exact is None else exact
    np.testing.assert_allclose(mine.numpy(), np.asarray(other), rtol=exact, atol=exact)


# Episode 0 terminates after its second step, episode 1 is truncated after its third; gamma is 1/2.
# What follows a step of value v shows v: 99 is V of a last observation after which nothing comes.
HAND = Rollout(
    reward=torch.tensor([[1, 1], [2, 1], [3, 1], [4, 1]]),
    discount=torch.tensor([[0.5, 0.5], [0.0, 0.5], [0.5, 0.5], [0.5, 0.5]]),
    value=torch.tensor([[10, 2], [20, 4], [30, 6], [40, 8]]),
    next_value=torch.tensor([[20, 4], [99, 6], [40, 100], [50, 16]]),
    cut=torch.tensor([[0, 0], [1, 0], [0, 1], [0, 0]], dtype=torch.bool),
    log_ratio=torch.tensor([[2, 0.5], [0.5, 0.25], [1, 1], [4, 1]], dtype=torch.float64).log(),
)


@pytest.mark.parametrize("dtype", EXACT)
def test_returns_by_hand(dtype: torch.dtype) -> None:
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
def test_returns_are_what_a_walk_from_each_step_sums(r: Rollout, n: int, lam: float) -> None:
    expected = walked(r, n, lam)
    for name, mine in returns(r, n, lam).items():
        assert mine.dtype == r.reward.dtype
        close(mine, expected[name])


@pytest.mark.parametrize("dtype", EXACT)
def test_returns_of_long_fragments_with_hardly_an_end_are_such_sums(dtype: torch.dtype) -> None:
    for steps in (127, 128, 129, 500):
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
def test_a_later_reward_reaches_every_step_up_to_the_cut(r: Rollout) -> None:
    """The other side of the law: without a cut the last reward reaches the first step."""
    r = r._replace(cut=torch.zeros_like(r.cut), discount=torch.ones_like(r.discount))
    before = returns(r, n=len(r.reward))
    r.reward[-1] += 10
    after = returns(r, n=len(r.reward))
    for name in ("n_step", "monte_carlo", "gae", "gae target", "vtrace target", "vtrace"):
        assert (after[name][0] > before[name][0]).all(), name


@given(rollouts)
def test_the_last_step_is_cut_whatever_its_flag(r: Rollout) -> None:
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
def test_earlier_steps_do_not_matter(r: Rollout, start: int) -> None:
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


def test_a_shape_that_would_broadcast_is_refused() -> None:
    r = rollout(4, 3, seed=0)
    functions = {
        vtrace: ("log_ratio", "reward", "discount", "value", "next_value", "cut"),
        gae: ("reward", "discount", "value", "next_value", "cut"),
        monte_carlo: ("reward", "discount", "next_value", "cut"),
        n_step_return: ("reward", "discount", "next_value", "cut"),
    }
    for function, names in functions.items():
        last = {gae: {"lam": 0.9}, n_step_return: {"n": 2}}.get(function, {})
        for name in {*names} - {"reward"}:
            wrong = r._replace(**{name: getattr(r, name)[:, :1]})
            with pytest.raises(AssertionError, match=rf"{name} \(4, 1\) against reward \(4, 3\)"):
                function(*(getattr(wrong, other) for other in names), **last)


def test_no_steps_are_refused() -> None:
    r = rollout(4, 3, seed=0)
    with pytest.raises(ValueError, match="n_step is 0: it must be 1 or more"):
        n_step_return(r.reward, r.discount, r.next_value, r.cut, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", EXACT)
def test_a_cuda_device_agrees(dtype: torch.dtype) -> None:
    r = rollout(129, 5, seed=1, dtype=dtype)
    there = returns(Rollout(*(column.cuda() for column in r)))
    for name, mine in returns(r).items():
        close(there[name].cpu(), mine)
