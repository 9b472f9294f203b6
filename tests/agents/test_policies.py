"""Heads against torch.distributions, networks in NumPy against torch, the LSTM against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.testing import assert_allclose, assert_array_equal
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal

from agents.base import Batch, Spec
from agents.parts.categorical import Categorical, Categoricals
from agents.parts.policies import LSTM, Gaussian, Head, Net, make_head

LAYOUT = 4000


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def heads() -> dict[str, Head]:
    torch.manual_seed(0)
    fixed = Gaussian(3, log_std=-0.5, state_std=False)
    with torch.no_grad():
        fixed.log_std.copy_(torch.tensor([-1.0, 0.0, 0.7]))
    return {
        "categorical": Categorical(5),
        "gaussian": fixed,
        "state-dependent": Gaussian(2, log_std=-0.7, state_std=True),
    }


def exact(name: str, head: Head, x: torch.Tensor) -> torch.distributions.Distribution:
    """The same distribution of torch, in float64."""
    x = x.double()
    if isinstance(head, Categorical):
        return TorchCategorical(logits=x)
    assert isinstance(head, Gaussian)
    if name == "gaussian":
        return Independent(Normal(x, head.log_std.detach().double().exp()), 1)
    mean, log_std = x.chunk(2, -1)
    return Independent(Normal(mean, (log_std - 0.7).clip(-20, 2).exp()), 1)


@pytest.mark.parametrize("name", heads())
def test_actor_and_learner_compute_the_density_of_what_was_drawn(name: str) -> None:
    head = heads()[name]
    x = 2 * torch.randn((LAYOUT, head.size), generator=draws(1))
    action, extras = head.draw(x.numpy(), draws(2))
    assert {*extras} == {*head.extras}
    assert all(extras[key].shape[1:] == head.extras[key].shape for key in extras)
    drawn = torch.from_numpy(np.asarray(extras.get("raw", action)))
    columns = {"action": action, **extras}
    batch = Batch({key: torch.from_numpy(np.asarray(column)) for key, column in columns.items()})
    logp = head.logp(x, batch).detach()
    assert extras["logp"].dtype == np.float32
    assert_allclose(extras["logp"], logp, atol=1e-4)
    reference = exact(name, head, x)
    assert_allclose(logp, reference.log_prob(drawn.double()), atol=1e-4)
    assert_allclose(head.entropy(x).detach(), reference.entropy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", heads())
def test_draws_follow_the_distribution_and_the_generator_alone(name: str) -> None:
    head = heads()[name]
    one = torch.randn((1, head.size), generator=draws(3))
    x = one.repeat(LAYOUT, 1).numpy()
    action, extras = head.draw(x, draws(4))
    assert_array_equal(action, head.draw(x, draws(4))[0])
    reference = exact(name, head, one)
    if isinstance(reference, TorchCategorical):
        share = np.bincount(action, minlength=head.size) / LAYOUT
        assert_allclose(share, reference.probs[0], atol=4 * np.sqrt(0.25 / LAYOUT))
        assert (head.greedy(x) == int(reference.probs.argmax())).all()
    else:
        std = reference.stddev[0]
        assert_allclose(extras["raw"].mean(0), reference.mean[0], atol=4 * float(std.max()) / 63)
        assert_allclose(extras["raw"].std(0), std, rtol=0.06)
        assert_array_equal(action, extras["raw"].clip(-1, 1))
        assert_allclose(head.greedy(x)[0], reference.mean[0].clip(-1, 1), atol=1e-6)


def test_a_head_fits_its_action_space() -> None:
    obs = Box(-1.0, 1.0, (2,), np.float32)
    box = make_head(Spec(obs, Box(-1.0, 1.0, (4,), np.float32)), log_std=0, state_std=False)
    assert box.size == 4 and len(box.tensors) == 1
    assert make_head(Spec(obs, Discrete(6)), log_std=0.0, state_std=False).size == 6
    assert make_head(Spec(obs, MultiDiscrete([2, 5])), log_std=0.0, state_std=False).size == 7
    with pytest.raises(ValueError, match="MultiBinary"):
        make_head(Spec(obs, MultiBinary(2)), log_std=0.0, state_std=False)


def test_several_choices_at_once_are_independent_of_one_another() -> None:
    head, single = Categoricals([3, 2, 4]), [Categorical(n) for n in (3, 2, 4)]
    x = 2 * torch.randn((LAYOUT, head.size), generator=draws(1))
    parts = x.split([3, 2, 4], -1)
    action, extras = head.draw(x.numpy(), draws(2))
    assert action.shape == (LAYOUT, 3) and extras["logp"].dtype == np.float32
    batch = Batch(action=torch.from_numpy(action))
    torchs = [TorchCategorical(logits=part.double()) for part in parts]
    wanted = sum(t.log_prob(batch.action[:, k]) for k, t in enumerate(torchs))
    assert_allclose(head.logp(x, batch), wanted, atol=1e-5)
    assert_allclose(extras["logp"], wanted, atol=1e-4)
    assert_allclose(head.entropy(x), sum(t.entropy() for t in torchs), rtol=1e-5)
    columns = [one.greedy(part.numpy()) for one, part in zip(single, parts, strict=True)]
    assert_array_equal(head.greedy(x.numpy()), np.stack(columns, -1))
    assert_array_equal(head.mode(x), head.greedy(x.numpy()))
    same = head.draw(x[:1].repeat(LAYOUT, 1).numpy(), draws(3))[0]
    for k, chances in enumerate(t.probs[0] for t in torchs):
        share = np.bincount(same[:, k], minlength=len(chances)) / LAYOUT
        assert_allclose(share, chances, atol=4 * np.sqrt(0.25 / LAYOUT))


def test_a_net_is_the_same_in_numpy_and_begins_orthogonal() -> None:
    net = Net([5, 16, 8, 3], gain=0.01, generator=draws())
    x = torch.randn((7, 5), generator=draws(1))
    w, b, w2, b2, w3, b3 = net.tensors
    wanted = ((x @ w + b).tanh() @ w2 + b2).tanh() @ w3 + b3
    assert_allclose(net(x).detach(), wanted.detach(), atol=1e-6)
    assert_allclose(net.forward_numpy(x.numpy()), wanted.detach(), atol=1e-6)
    assert_allclose(net(x.expand(2, 7, 5))[1].detach(), wanted.detach(), atol=1e-6)
    assert_allclose((w @ w.mT).detach(), 2 * np.eye(5), atol=1e-5)
    assert_allclose((w3.mT @ w3).detach(), 1e-4 * np.eye(3), atol=1e-8)


def lstms() -> tuple[LSTM, torch.nn.LSTMCell]:
    """Ours, and torch's with the same weights: it has the gates in the order i f g o."""
    ours, theirs = LSTM(3, 4, generator=draws()), torch.nn.LSTMCell(3, 4)
    order = [*range(8), *range(12, 16), *range(8, 12)]
    inward, across, bias = (t.detach() for t in ours.tensors)
    with torch.no_grad():
        theirs.weight_ih.copy_(inward.mT[order])
        theirs.weight_hh.copy_(across.mT[order])
        theirs.bias_ih.copy_(bias[order])
        theirs.bias_hh.zero_()
    return ours, theirs


def test_an_lstm_unrolls_as_torchs_does_and_forgets_where_episodes_begin() -> None:
    ours, theirs = lstms()
    x = torch.randn((9, 2, 3), generator=draws(1))
    start = torch.randn((2, 8), generator=draws(2))
    is_first = torch.zeros((9, 2), dtype=torch.bool)
    is_first[4, 0] = is_first[0, 1] = True
    states = ours(x, start, is_first)
    state = start
    for t in range(9):
        state = torch.where(is_first[t][:, None], 0.0, state)
        state = torch.cat(theirs(x[t], state.chunk(2, -1)), -1)
        assert_allclose(states[t].detach(), state.detach(), atol=1e-6)


def test_one_step_of_an_lstm_is_the_same_in_numpy() -> None:
    ours, theirs = lstms()
    x, state = torch.randn((6, 3), generator=draws(1)), torch.randn((6, 8), generator=draws(2))
    wanted = torch.cat(theirs(x, state.chunk(2, -1)), -1).detach()
    assert_allclose(ours.step(x, state).detach(), wanted, atol=1e-6)
    assert_allclose(ours.step_numpy(x.numpy(), state.numpy()), wanted, atol=1e-6)
    huge = ours.step_numpy(1000 * x.numpy(), state.numpy())  # no overflow, which would be a warning
    assert np.isfinite(huge).all() and huge.dtype == np.float32
