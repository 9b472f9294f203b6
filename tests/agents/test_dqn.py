"""DQN against the papers' formulas written a second time, and on an env that it must learn.

The reference below keeps its own float64 copies of the parameters and uses torch.nn.functional and
plain loops, none of the agent's own parts.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn import functional as F

from agents.base import Batch, Group, Spec
from agents.dqn import DQN
from agents.parts.optim import Local
from envs.make import describe
from tests.agents.reference import SIZE, Still, assert_gradients, assert_tensors
from tests.jobs import laid, world

ENV = world("IdentityDiscrete", kwargs={"choices": 3})
SPEC = describe(ENV)
ACTIONS, ATOMS, V_MIN, V_MAX = 3, 11, -4.0, 6.0
HEADS = ("value", "categorical", "quantile")
PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "noisy": {"noisy": True},
    "one hidden layer": {"hidden_sizes": (16,)},
    "everything": {"double": True, "dueling": True, "noisy": True, "layer_norm": True},
}
# every part with one head, nothing and everything with all of them
CASES = [(part, "value") for part in PARTS]
CASES += [(part, head) for part in ("plain", "everything") for head in HEADS[1:]]


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


@pytest.mark.parametrize(("part", "head"), CASES)
def test_losses_and_gradients_are_the_papers(part: str, head: str) -> None:
    parts = PARTS[part]
    agent = make(head=head, **parts)
    agent.optim = still = Still(agent)
    reference = Reference(agent, head, **parts)
    data = batch()
    agent.rng.learn.manual_seed(7)
    learned = agent.learn(data)

    loss, error = reference.loss(data, noises(agent, 7))
    assert learned.updates == 1
    assert float(learned.metrics["loss/q"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert learned.priority is not None
    assert_allclose(learned.priority, error, rtol=1e-4, atol=1e-5)
    assert_gradients(still.grads, {"q": (loss, reference.online)})


@pytest.mark.parametrize(
    ("head", "fused"),
    [
        ("value", False),
        ("categorical", True),
        pytest.param("quantile", True, marks=pytest.mark.slow),
    ],
)
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
    assert_tensors(
        (agent.online.tensors, reference.online),
        (agent.target.tensors, reference.target),
        (agent.slow["average"], averaged),
    )


def test_double_values_the_online_choice_with_the_target() -> None:
    """Online prefers action 0, the target action 2: single takes the target's 3, double its 1."""
    for double, wanted in ((False, 3.0), (True, 1.0)):
        agent = make(double=double, hidden_sizes=(4,))
        agent.optim = Still(agent)
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


def test_a_hard_target_is_copied_every_period() -> None:
    for period in [1, 4]:
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
    agent.optim = still = Still(agent)
    before = agent.vector.floats.clone()
    agent.learn(batch())
    assert torch.equal(agent.vector.floats, before) and still.followed == 2
    assert not any(t.requires_grad for name in agent.slow for t in agent.slow[name])


def test_a_column_of_rewards_is_refused() -> None:
    """[B, 1] against [B] would broadcast, and blind the network to its own reward."""
    wrong = batch()
    wrong["reward"] = wrong["reward"][:, None]
    with pytest.raises(AssertionError, match=r"reward \(32, 1\) is not \[B\]"):
        make().learn(wrong)
