"""A worker that acts and differentiates on a copy of the shared vector, and moves the vector."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Agent, Batch, Group, Learned
from agents.parts.optim import Local, step
from agents.ppo import PPO
from agents.sac import SAC
from paradigms.hogwild import Hogwild
from paradigms.sequential import Sequential
from paradigms.weights.bound import Bound
from paradigms.weights.copied import Copied, InPlace
from tests.jobs import AGENTS, ONCE, Pupil, job, laid, run, sac, world


def agent() -> Agent:
    return laid(sac(job().spec, 0, average=0.1))


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn((8, 1), generator=generator) for name in ("obs", "next_obs")}
    return Batch(
        **drawn,
        action=torch.rand((8, 1), generator=generator),
        reward=torch.randn(8, generator=generator),
        discount=torch.full((8,), 0.9),
        weight=torch.ones(8),
    )


def copied() -> tuple[Agent, Bound, Copied]:
    mine = agent()
    bound = Bound(mine.vector)
    standing = Copied(mine, bound, Local(fused=False), agent)
    mine.optim = standing.optim
    standing.fetch()
    return mine, bound, standing


def test_what_others_do_meanwhile_changes_neither_actions_nor_gradients(batch: Batch) -> None:
    """The shared vector moves after the fetch: actions and the first gradient are those of the
    copy, and the step is made from where the shared vector is by then."""
    still, moved = (copied() for _ in range(2))
    moved[1].floats.mul_(1.5)
    taken, grads = [], []
    for mine, _, standing in (still, moved):
        apply = standing.apply

        def noted(group: Group, apply: Any = apply) -> None:
            grads.append(group.grad.clone())
            apply(group)

        standing.apply = noted  # type: ignore[method-assign]
        taken.append(mine.act(np.ones((2, 1), np.float32), mine.initial_state(2), None).action)
        mine.learn(batch)
    np.testing.assert_array_equal(*taken)
    groups = len(still[0].groups)
    assert torch.equal(grads[0], grads[groups]), "of the group that is moved first"

    group = agent().groups["critic"]
    group.flat.mul_(1.5)
    group.grad.copy_(grads[0])
    step(group, lr=group.lr)
    mine, bound, _ = moved
    place = mine.vector.span("critic")
    torch.testing.assert_close(bound.floats[place], group.flat)
    assert torch.equal(mine.vector.flat("critic"), bound.floats[place]), "it has what came out"
    assert torch.equal(mine.vector.flat("target"), bound.floats[mine.vector.span("target")])


def test_in_place_it_would_see_them(batch: Batch) -> None:
    """Else the test above would say nothing."""
    mine = agent()
    bound = Bound(mine.vector)
    mine.optim = InPlace(mine, bound, Local(), agent).optim
    obs = np.ones((2, 1), np.float32)
    before = mine.act(obs, mine.initial_state(2), None).action
    bound.floats.mul_(1.5)
    assert not np.array_equal(mine.act(obs, mine.initial_state(2), None).action, before)


def test_a_fetch_brings_parameters_and_counts(batch: Batch) -> None:
    mine, bound, standing = copied()
    bound.floats.add_(1)
    bound.counts.add_(5)
    standing.fetch()
    size = mine.vector.span("critic.m").start
    assert torch.equal(mine.vector.floats[:size], bound.floats[:size])
    assert torch.equal(mine.vector.counts, bound.counts)
    mine.learn(batch)
    assert bound.counts.tolist() == [6, 6, 6]
    assert torch.equal(mine.vector.counts, bound.counts)


def bounded() -> Agent:
    """With statistics, and a bound that is set after the steps."""
    made = PPO(job().spec, 0, hidden_sizes=(8,), normalise=True, max_log_std=-0.5)
    return laid(made)


def test_what_learn_sets_and_adds_is_given_to_the_shared_vector() -> None:
    """Statistics of two workers add up; what is set is set; what is not touched is left alone."""
    workers = [bounded() for _ in range(2)]
    bound = Bound(workers[0].vector)
    standings = [Copied(mine, bound, Local(), bounded) for mine in workers]
    for standing in standings:
        standing.fetch()
    obs = torch.tensor([[3.0], [5.0]])
    for mine, standing in zip(workers, standings, strict=True):
        mine.normal.update(obs)  # type: ignore[attr-defined]
        mine.head.limit(-0.75)  # type: ignore[attr-defined]
        untouched = mine.vector.span("critic")
        bound.floats[untouched].add_(1)
        standing.give()
    fetched = workers[0]
    standings[0].fetch()
    assert fetched.normal.sums.double().sum(0).tolist() == [4, 16, 68]  # type: ignore[attr-defined]
    assert float(fetched.head.tensors[0].detach().max()) == -0.75  # type: ignore[attr-defined]
    torch.testing.assert_close(
        bound.floats[untouched], bounded().vector.floats[untouched] + 2, msg="moved by others"
    )


@pytest.mark.parametrize("locked", [False, True])
def test_one_worker_with_bounds_and_statistics_equals_sequential(locked: bool) -> None:
    options = {"hidden_sizes": (16,), "epochs": 2, "minibatches": 2, "normalise": True}
    pupil = Pupil(
        functools.partial(PPO, **options, max_log_std=-0.5, scale_reward=True),  # type: ignore[arg-type]
        replay=AGENTS["ppo"].replay,
        changes=ONCE,
    )
    alone = run(Sequential(), pupil.job())
    alone.same_as(run(Hogwild(copy="rollout", locked=locked), pupil.job()))


def test_a_rollout_is_learned_from_where_it_was_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first learn after a fragment does not fetch, the others do."""
    done: list[str] = []
    fetch, learn = Copied.fetch, SAC.learn
    monkeypatch.setattr(Copied, "fetch", lambda self: (done.append("fetch"), fetch(self))[1])

    def noted(self: SAC, batch: Batch) -> Learned:
        done.append("learn")
        return learn(self, batch)

    monkeypatch.setattr(SAC, "learn", noted)
    few = {"updates_per_env_step": 3 / 16, "warmup": 0, "env_steps": 48}
    ended = run(Hogwild(copy="rollout"), job(world(autoreset="same_step"), **few))
    assert ended.totals["updates"] == 9
    assert done == 3 * ["fetch", "learn", "fetch", "learn", "fetch", "learn"]


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="choose none or rollout"):
        run(Hogwild(copy="all"), job())  # type: ignore[arg-type]
