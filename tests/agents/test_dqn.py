"""DQN against the papers' formulas written a second time, and on a world that it must learn.

The reference below keeps its own float64 copies of the parameters and uses torch.nn.functional and
plain loops, none of the agent's own parts.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn import functional as F

from agents.base import Agent, Batch, Group, Spec
from agents.dqn import DQN
from agents.parts.explore import Warmup
from agents.parts.heads import Categorical
from agents.parts.optim import Local
from envs.make import describe
from paradigms.sequential import Sequential
from tests.jobs import job, laid, run, world

WORLD = world("IdentityDiscrete", kwargs={"choices": 3})
SPEC = describe(WORLD)
SIZE, ACTIONS, ATOMS, V_MIN, V_MAX = 32, 3, 11, -4.0, 6.0
ADAMS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
HEADS = pytest.mark.parametrize("head", ["value", "categorical", "quantile"])
PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "noisy": {"noisy": True},
    "one hidden layer": {"hidden_sizes": (16,)},
    "everything": {"double": True, "dueling": True, "noisy": True, "layer_norm": True},
}


def dqn(spec: Spec, seed: int, device: str = "cpu", *, fused: bool = True, **options: Any) -> DQN:
    """A DQN of 16 x 16 units; `fused=False` is the Adam that complains about stale graphs."""
    sizes = {"hidden_sizes": (16, 16), "lr": 1e-3, "atoms": ATOMS, "v_min": V_MIN, "v_max": V_MAX}
    agent = DQN(spec, seed, device, **{**sizes, **options})
    agent.optim = Local(fused=fused)
    return agent


def make(**options: Any) -> DQN:
    agent = dqn(SPEC, 0, **options)
    laid(agent)
    with torch.no_grad():  # so that the target is another network, with another best action
        agent.vector.flat("target").mul_(-1.5)
    return agent


def batch(seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    columns = {name: 2 * torch.randn((SIZE, 3), generator=draws) for name in ("obs", "next_obs")}
    columns["action"] = torch.randint(ACTIONS, (SIZE,), generator=draws)
    columns["reward"] = 2 * torch.randn(SIZE, generator=draws)
    columns["discount"] = 0.97 * (torch.rand(SIZE, generator=draws) < 0.8)
    columns["weight"] = torch.rand(SIZE, generator=draws) + 0.5
    return Batch(columns)


class Still:
    """An Optim that moves nothing and keeps what it is given."""

    def __init__(self) -> None:
        self.lr_factor = 1.0
        self.grads: list[Tensor] = []
        self.followed = 0

    def apply(self, group: Group) -> None:
        self.grads = [grad.clone() for grad in group.grads]
        group.count += 1

    def follow(self, target: Tensor, source: Tensor, tau: float) -> None:
        self.followed += 1


class Reference:
    """The losses of the papers on copies of an agent's parameters."""

    def __init__(self, agent: DQN, head: str, **parts: Any) -> None:
        self.online = [t.detach().double().requires_grad_() for t in agent.online.tensors]
        self.target = [t.detach().double() for t in agent.target.tensors]
        self.head, self.parts = head, parts
        self.size = 1 if head == "value" else ATOMS

    def linear(self, tensors: list[Tensor], x: Tensor, last: bool = False) -> Tensor:
        """A layer: x W + b, then, unless it is the last one, what comes between layers."""
        x = x @ tensors.pop(0) + tensors.pop(0)
        return x if last else self.between(x)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(F.layer_norm(x, x.shape[-1:]) if self.parts.get("layer_norm") else x)

    def noisy(self, tensors: list[Tensor], x: Tensor, draws: list[float]) -> Tensor:
        """Two noisy layers: equation 9 of arXiv:1706.10295 with the whole matrices."""
        means, scales = tensors[:4], tensors[4:8]
        del tensors[:8]
        for layer in (0, 1):
            w, b = means[2 * layer : 2 * layer + 2]
            w_scale, b_scale = scales[2 * layer : 2 * layer + 2]
            into = torch.tensor([draws.pop(0) for _ in range(len(w))])
            out = torch.tensor([draws.pop(0) for _ in range(len(b))])
            into, out = (z.sign() * z.abs().sqrt() for z in (into.double(), out.double()))
            x = x @ (w + w_scale * torch.outer(into, out)) + (b + b_scale * out)
            x = self.between(x) if layer == 0 else x
        return x

    def z(self, tensors: list[Tensor], x: Tensor, draws: Tensor | None) -> Tensor:
        """[B, A, K]"""
        rest, numbers = list(tensors), [] if draws is None else draws.tolist()
        if "hidden_sizes" not in self.parts:
            x = self.linear(rest, x)
        streams = []
        for _ in range(2 if self.parts.get("dueling") else 1):
            if self.parts.get("noisy"):
                streams.append(self.noisy(rest, x, numbers))
            else:
                streams.append(self.linear(rest, self.linear(rest, x), last=True))
        assert not rest and not numbers
        advantage = streams.pop().reshape(SIZE, ACTIONS, self.size)
        for value in streams:
            advantage = value.reshape(SIZE, 1, self.size) + (advantage - advantage.mean(1)[:, None])
        return advantage

    def q(self, z: Tensor) -> Tensor:
        if self.head == "categorical":
            return (F.softmax(z, -1) * torch.linspace(V_MIN, V_MAX, ATOMS)).sum(-1)
        return z.mean(-1)

    def loss(self, b: Batch, draws: list[Tensor] | list[None]) -> tuple[Tensor, Tensor]:
        """The loss, and what a replay ranks by, [B]."""
        obs, next_obs = b.obs.double(), b.next_obs.double()
        rows = torch.arange(SIZE)
        z = self.z(self.online, obs, draws[0])[rows, b.action]
        with torch.no_grad():
            next_z = self.z(self.target, next_obs, draws[2])
            chooser = (
                self.z(self.online, next_obs, draws[1]) if self.parts.get("double") else next_z
            )
            next_z = next_z[rows, self.q(chooser).argmax(1)]
        losses, errors = zip(
            *(
                getattr(self, self.head)(z[i], next_z[i], float(b.reward[i]), float(b.discount[i]))
                for i in range(SIZE)
            ),
            strict=True,
        )
        return (b.weight.double() * torch.stack(losses)).mean(), torch.stack(errors).detach()

    def value(self, z: Tensor, next_z: Tensor, reward: float, discount: float) -> Any:
        error = reward + discount * next_z[0] - z[0]
        small = error.abs() <= 1
        return torch.where(small, error**2 / 2, error.abs() - 0.5), error.abs()

    def categorical(self, z: Tensor, next_z: Tensor, reward: float, discount: float) -> Any:
        """Algorithm 1 of arXiv:1707.06887, atom by atom."""
        probs, target, width = F.softmax(next_z, 0), torch.zeros(ATOMS).double(), 1.0
        for j in range(ATOMS):
            at = min(max(reward + discount * (V_MIN + j * width), V_MIN), V_MAX)
            place = (at - V_MIN) / width
            low = min(int(place), ATOMS - 2)
            target[low] += probs[j] * (1 - (place - low))
            target[low + 1] += probs[j] * (place - low)
        loss = -(target * F.log_softmax(z, 0)).sum()
        return loss, F.kl_div(F.log_softmax(z, 0), target, reduction="sum")

    def quantile(self, z: Tensor, next_z: Tensor, reward: float, discount: float) -> Any:
        """Equation 10 of arXiv:1710.10044, pair by pair."""
        target = reward + discount * next_z
        loss = torch.zeros(()).double()
        for i in range(ATOMS):
            tau = (i + 0.5) / ATOMS
            for j in range(ATOMS):
                u = target[j] - z[i]
                huber = u**2 / 2 if abs(u) <= 1 else abs(u) - 0.5
                loss = loss + abs(tau - float(u < 0)) * huber / ATOMS
        return loss, (target.mean() - z.mean()).abs()


def noises(agent: DQN, number: int) -> list[Tensor] | list[None]:
    """The draws of an update: for online(s), online(s') and target(s')."""
    if not any(agent.online.widths):
        return [None, None, None]
    shape = (3, sum(agent.online.widths))
    return list(torch.randn(shape, generator=torch.Generator().manual_seed(number)))


@HEADS
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_losses_and_gradients_are_the_papers(parts: dict[str, Any], head: str) -> None:
    agent = make(head=head, **parts)
    agent.optim = still = Still()
    reference = Reference(agent, head, **parts)
    data = batch()
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)

    loss, error = reference.loss(data, noises(agent, 7))
    assert learned.updates == 1
    assert float(learned.metrics["loss/q"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert learned.priority is not None
    assert_allclose(learned.priority, error, rtol=1e-4, atol=1e-5)
    grads = torch.autograd.grad(loss, reference.online)
    for mine, theirs in zip(still.grads, grads, strict=True):
        assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@ADAMS
@HEADS
def test_ten_updates_are_the_references_with_torchs_adam(head: str, fused: bool) -> None:
    parts = PARTS["everything"]
    agent = make(head=head, tau=0.05, average=0.2, fused=fused, **parts)
    reference = Reference(agent, head, **parts)
    adam = torch.optim.Adam(reference.online, lr=1e-3)
    averaged = [t.detach().clone() for t in reference.online]
    for number in range(10):
        agent.rng.learn.manual_seed(number)
        agent.learn(batch(number))
        adam.zero_grad()
        reference.loss(batch(number), noises(agent, number))[0].backward()
        adam.step()
        with torch.no_grad():
            for target, mean, online in zip(
                reference.target, averaged, reference.online, strict=True
            ):
                target.mul_(0.95).add_(0.05 * online)
                mean.mul_(0.8).add_(0.2 * online)
    for mine, theirs in (
        (agent.online.tensors, reference.online),
        (agent.target.tensors, reference.target),
        (agent.slow["average"], averaged),
    ):
        for one, two in zip(mine, theirs, strict=True):
            assert_allclose(one.detach(), two.detach(), atol=1e-5)


def test_double_values_the_online_choice_with_the_target() -> None:
    """Online prefers action 0, the target action 2: single takes the target's 3, double its 1."""
    for double, wanted in ((False, 3.0), (True, 1.0)):
        agent = make(double=double, hidden_sizes=(4,))
        agent.optim = Still()
        with torch.no_grad():
            for net, best in ((agent.online, [9.0, 0.0, 0.0]), (agent.target, [1.0, 2.0, 3.0])):
                for tensor in net.tensors:
                    tensor.zero_()
                net.tensors[-1].copy_(torch.tensor(best))
        data = batch()
        data["action"], data["reward"] = torch.ones_like(data.action), torch.zeros(SIZE)
        data["discount"] = torch.ones(SIZE)
        error = agent.learn(data).priority
        assert error is not None and error.unique().tolist() == [wanted]


@HEADS
def test_dueling_advantages_have_mean_zero(head: str) -> None:
    agent = make(dueling=True, head=head)
    z = agent.online(batch().obs)
    value = agent.online.streams[0](agent.online.trunk(batch().obs))
    assert z.shape == (SIZE, ACTIONS, agent.head.size)
    assert_allclose(z.mean(1).detach(), value.detach(), atol=1e-5)
    assert (z - value[:, None]).abs().max() > 0.01


@HEADS
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_the_numpy_forward_is_the_torch_forward(parts: dict[str, Any], head: str) -> None:
    agent, obs = make(head=head, **parts), batch().obs
    noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
    for drawn in (None, noise):
        z = agent.online(obs, drawn).detach()
        fast = agent.online.forward_numpy(obs.numpy(), None if drawn is None else drawn.numpy())
        assert_allclose(fast, z, atol=1e-5)
        assert_allclose(agent.head.value_numpy(fast), agent.head.value(z), atol=1e-5)


def test_noise_is_one_draw_a_row_or_one_for_all() -> None:
    agent, obs = make(**PARTS["everything"]), batch().obs
    noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
    assert noise is not None
    every = agent.online(obs, noise)
    for row in (0, 5):
        alone = agent.online(obs, noise[row : row + 1])
        assert_allclose(alone[row].detach(), every[row].detach(), atol=1e-5)
    assert (alone[0] - every[0]).abs().max() > 1e-3


def test_noisy_greedy_actions_are_still_and_exploring_rows_and_steps_differ() -> None:
    agent = make(noisy=True, dueling=True)
    obs = np.zeros((200, 3), np.float32)
    before = agent.rng.act.get_state()
    greedy = [agent.act(obs, {}, None).action for _ in range(2)]
    assert len(np.unique(greedy)) == 1
    assert torch.equal(agent.rng.act.get_state(), before), "a greedy action draws nothing"
    one, two = (agent.act(obs, {}, 0.0).action for _ in range(2))
    assert len(np.unique(one)) > 1 and len(np.unique(two)) > 1
    assert (one != two).any()


def test_an_update_draws_three_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    """D5: for online(s), online(s') and target(s') it must not be the same one."""
    agent, seen = make(**PARTS["everything"]), []
    call = type(agent.online).__call__

    def spy(net: Any, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        assert noise is not None
        seen.append((net is agent.target, noise))
        return call(net, obs, noise)

    monkeypatch.setattr(type(agent.online), "__call__", spy)
    agent.learn(batch())
    assert [target for target, _ in seen] == [True, False, False]
    assert len({float(noise[0, 0]) for _, noise in seen}) == 3


@pytest.mark.parametrize("noisy", [False, True])
def test_acting_follows_weights_that_have_moved_to_other_storage(noisy: bool) -> None:
    """Hogwild binds an agent that may have acted already to one shared vector."""
    agent, obs = make(noisy=noisy, dueling=True), batch().obs
    noise = agent.online.draw(SIZE, torch.Generator().manual_seed(1))
    drawn = None if noise is None else noise.numpy()
    before = agent.online.forward_numpy(obs.numpy(), drawn)
    agent.vector.bind(2 * agent.vector.floats, agent.vector.counts.clone())
    after = agent.online.forward_numpy(obs.numpy(), drawn)
    assert_allclose(after, agent.online(obs, noise).detach(), atol=1e-4)
    assert np.abs(after - before).max() > 0.1


def test_epsilon_may_differ_from_env_to_env() -> None:
    agent, obs = make(), batch().obs[:1].repeat(9000, 1).numpy()
    explore = np.repeat(np.array([0.0, 0.3, 1.0], np.float32), 3000)
    action = agent.act(obs, {}, explore).action
    best = agent.act(obs[:1], {}, None).action[0]
    share = (action == best).reshape(3, 3000).mean(1)
    assert_allclose(share, [1.0, 0.8, 1 / 3], atol=0.03)
    assert action.dtype == np.int64


@pytest.mark.parametrize("period", [1, 4])
def test_a_hard_target_is_copied_every_period(period: int) -> None:
    agent = make(period=period)
    for number in range(1, 13):
        agent.learn(batch(number))
        same = torch.equal(agent.vector.flat("target"), agent.vector.flat("q"))
        assert same == (number % period == 0)


def test_a_shared_count_that_jumps_past_a_multiple_still_copies() -> None:
    """Hogwild: another process counts on while this one descends."""
    agent = make(period=10)

    class Racing(Local):
        def apply(self, group: Group) -> None:
            super().apply(group)
            group.count += 1

    agent.optim = Racing()
    agent.groups["q"].count[0] = 9
    agent.learn(batch())  # 9 to 11
    assert torch.equal(agent.vector.flat("target"), agent.vector.flat("q"))
    assert agent.follows["target"] == ("q", 2 / 11)


def test_targets_carry_no_gradient() -> None:
    agent = make(average=0.1)
    agent.optim = still = Still()
    before = agent.vector.floats.clone()
    agent.learn(batch())
    assert torch.equal(agent.vector.floats, before) and still.followed == 2
    assert not any(t.requires_grad for name in agent.slow for t in agent.slow[name])


def test_an_evaluator_uses_the_average_where_there_is_one() -> None:
    agent, plain = make(average=0.1), make()
    for each in (agent, plain):
        each.learn(batch())
        before = each.vector.flat("q").clone()
        each.use_average()
        assert torch.equal(each.vector.flat("q"), before) == (each is plain)
    assert torch.equal(agent.vector.flat("q"), agent.vector.flat("average"))


def test_a_column_of_rewards_is_refused() -> None:
    """[B, 1] against [B] would broadcast, and blind the network to its own reward."""
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"reward \(32, 1\) is not \[B\]"):
        make().learn(wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"head": "mean"}, "choose value, categorical or quantile"),
        ({"head": "categorical", "v_min": 3.0, "v_max": 3.0}, "agent.v_min=3 must be below"),
        ({"hidden_sizes": ()}, "agent.hidden_sizes"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dqn(SPEC, 0, **wrong)


def learner(env_steps: int = 600, **options: Any) -> Any:
    return job(
        WORLD,
        functools.partial(dqn, **{"lr": 3e-3, "gamma": 0.0, **options}),
        explore=Warmup(200, min_random=0.1),
        env_steps=env_steps,
        warmup=100,
        num_envs=4,
        batch_size=32,
    )


LEARNING: dict[str, dict[str, Any]] = {
    "value": {},
    "plain Adam": {"fused": False},
    "hard target": {"period": 20},
    "quantile": {"head": "quantile"},
    "everything, plain Adam": {"head": "categorical", "fused": False, **PARTS["everything"]},
}


@pytest.mark.parametrize("options", LEARNING.values(), ids=LEARNING)
def test_it_learns_to_name_what_it_sees(options: dict[str, Any]) -> None:
    """Discrete identity: the best return is 0. A second or two."""
    ended = run(Sequential(), learner(**options))
    learned: Agent = laid(ended.job.make_agent(ended.job.spec, seed=0, device="cpu"))
    learned.vector.load("all", ended.floats)
    answers = learned.act(np.eye(3, dtype=np.float32), {}, None).action
    assert answers.tolist() == [0, 1, 2]


def test_the_same_seed_gives_the_same_bits() -> None:
    """Law 1, with everything switched on."""
    plan = learner(250, head="categorical", gamma=0.9, n_step=3, period=7, **PARTS["everything"])
    one, two = (run(Sequential(), plan) for _ in range(2))
    assert one.totals["updates"] > 100
    one.same_as(two)


@pytest.mark.parametrize(
    ("v_min", "v_max", "reward", "atoms", "share"),
    [(0.0, 100.0, -1.0, 1, 1.0), (-100.0, 0.0, -1.0, 0, 0.0), (-1.0, 1.0, -9.0, 11, 1.0)],
    ids=["one atom holds it all", "the support covers the returns", "every atom"],
)
def test_what_a_support_that_misses_the_returns_clips_is_counted(
    v_min: float, v_max: float, reward: float, atoms: int, share: float
) -> None:
    """Eleven atoms, all probability on a next value of 0, a discount of 0.95."""
    head = Categorical(11, v_min, v_max)
    z = torch.where(head.support.abs() < 1e-6, 30.0, -30.0).expand(4, -1)
    metrics = head.loss(z, z, torch.full((4,), reward), torch.full((4,), 0.95)).metrics
    assert_allclose(metrics["q/clipped_atoms"], [atoms] * 4)
    assert_allclose(metrics["q/clipped_share"], [share] * 4, atol=1e-6)


def test_the_agent_tells_what_its_support_clips_and_other_heads_do_not() -> None:
    told = {head: make(head=head).learn(batch()).metrics for head in ("categorical", "quantile")}
    assert told["categorical"]["q/clipped_share"].shape == (SIZE,)
    assert "q/clipped_share" not in told["quantile"]
