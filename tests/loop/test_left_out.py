"""A loss or a gradient that is not finite moves nothing, is counted, and ends the run where it
lasts; a finite one is stepped from as ever."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch

from agents.base import Group
from agents.parts.optim import Local, usable
from paradigms.errors import Failed, GradientNotFinite, NotFinite
from paradigms.loop.learner import MOST_IN_A_ROW
from paradigms.pbt import PBT
from paradigms.sequential import Sequential
from tests.jobs import PARADIGMS, job, run, sac

LASTS = 10**9


class Spoils:
    """Takes the place of `torch.autograd.grad`: some of its gradients have a NaN."""

    def __init__(self, first: int, number: int) -> None:
        self.real, self.calls, self.bad = torch.autograd.grad, 0, range(first, first + number)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        grads = self.real(*arguments, **options)
        self.calls += 1
        if self.calls in self.bad:
            grads[0].view(-1)[-1] = math.nan
        return grads


def group(size: int = 16) -> Group:
    made = Group([torch.zeros(size)], lr=0.1, clip=1.0)
    made.flat, made.m, made.v, made.grad = (torch.zeros(size) for _ in range(4))
    made.step = torch.zeros(())
    return made


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_step_from_a_gradient_that_is_not_finite_moves_nothing_and_is_counted(
    bad: float,
) -> None:
    moved = group()
    for grads in ([1.0, bad], [bad, -bad], [1.0, 2.0], [bad, 1.0]):
        moved.grad.zero_()[:2] = torch.tensor(grads)
        before = [t.clone() for t in (moved.flat, moved.m, moved.v, moved.step)]
        Local().apply(moved)
        after = [moved.flat, moved.m, moved.v, moved.step]
        same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert same == (not all(map(math.isfinite, grads)))
    assert (moved.skipped, moved.in_a_row, int(moved.count[0])) == (3, 1, 4)
    assert int(moved.step) == 1


def test_a_finite_gradient_is_used(subtests: pytest.Subtests) -> None:
    for value in (0.0, 1e-38, -1e30):
        with subtests.test(str(value)):
            moved = group()
            moved.grad.fill_(value)
            assert usable(moved)


def test_a_loss_that_is_not_finite_moves_nothing_although_its_gradient_is() -> None:
    agent = sac(job().spec, seed=0)
    from agents.parts.vector import Vector

    vector = Vector(agent)
    weights = agent.groups["critic"].tensors
    loss = sum((w.sum() * 0 for w in weights), torch.tensor(math.inf)) + weights[0].sum()
    before = vector.floats.clone()
    agent.descend("critic", loss)
    assert torch.equal(vector.floats, before)
    assert agent.groups["critic"].skipped == 1
    agent.descend("critic", sum((w.square().sum() for w in weights), torch.zeros(())))
    assert agent.groups["critic"].in_a_row == 0, "the next loss is stepped from"
    assert not torch.equal(vector.floats, before)


@pytest.mark.parametrize("name", ["sequential", "dcollect", "hogwild", "allreduce", "gorila"])
def test_a_few_bad_gradients_are_left_out_and_counted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.autograd, "grad", Spoils(5, 3))
    ended = run(PARADIGMS[name], job())
    assert ended.totals["skipped"] == 3
    assert ended.totals["updates"] > 20
    assert torch.isfinite(ended.floats).all()


def test_a_population_counts_what_its_members_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.autograd, "grad", Spoils(5, 3))
    assert run(PBT(Sequential(), members=2), job(env_steps=256)).totals["skipped"] == 3


@pytest.mark.parametrize("name", ["sequential", "dcollect", "dupdate", "hogwild", "gorila"])
def test_bad_gradients_that_last_end_the_run_with_the_cause(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.autograd, "grad", Spoils(5, LASTS))
    said = rf"{MOST_IN_A_ROW} steps in a row .* not finite .* lower agent\.lr"
    with pytest.raises((GradientNotFinite, Failed), match=said) as caught:
        run(PARADIGMS[name], job())
    assert "restarts" not in str(caught.value)
    assert "env.id" not in str(caught.value)


@pytest.mark.parametrize("lr", [1e3, 1e30])
@pytest.mark.parametrize("name", ["sequential", "dcollect"])
def test_a_learning_rate_that_is_too_large_never_blames_the_env(name: str, lr: float) -> None:
    try:
        run(PARADIGMS[name], job(agent=functools.partial(sac, lr=lr)))
    except (NotFinite, Failed) as error:
        assert "lower agent.lr" in str(error)
        assert "env.id" not in str(error)
