"""Deep Q-networks: Mnih et al. 2015, Human-level control through deep reinforcement learning, and
what Rainbow (Hessel et al. 2018, arXiv:1710.02298) puts together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from agents.base import Acted, Agent, Batch, Group, Key, Learned, Spec, State, at_least, within
from agents.encoders.make import Encoder, Pretrained, add_own, make_encoder, train_own
from agents.parts import spaces
from agents.parts.bounds import (
    Atoms,
    Betas,
    Count,
    Deviation,
    EncoderName,
    Epsilon,
    Features,
    Few,
    NonNegative,
    Positive,
    Rate,
    Return,
    Unit,
    Widths,
)
from agents.parts.draws import reseed
from agents.parts.heads import Head, make_head
from agents.parts.networks import MLP
from agents.parts.noisy import NoisyMLP, factorised
from agents.parts.optim import Local

# B batch, A actions, K numbers a head needs for an action


class DQN(Agent):
    """One Q-network, regressed on its own maximum under a target network that lags behind.

    `double` lets the online network choose the action that the target values (van Hasselt et al.
    2016, arXiv:1509.06461); `dueling` splits value and advantage (Wang et al. 2016,
    arXiv:1511.06581); `head` is a value, or C51's `categorical` or QR-DQN's `quantile` distribution
    of `atoms` numbers (see parts/heads.py). `explore` is epsilon, None is greedy.

    `noisy` explores by noise in the weights (Fortunato et al. 2018, arXiv:1706.10295): drawn anew
    every step for every env slot, independently for the three evaluations of an update; greedy
    actions use the means. It needs no epsilon, but one that is given applies too.

    The target follows by `tau` an update or, with `period`, is copied whole each time the count of
    updates passes a multiple of it. If several workers share the counter, every worker that
    observes the crossing copies the target. A paradigm that merges vectors moves it with the rate
    of the same mean age, 2 / (period + 1).

    Deviations from the papers:
    - Adam, and soft targets by default, instead of RMSProp and hard ones;
    - action repeat, reward clipping and stacks of frames are the env's;
    - `encoder="nature"` with `features=0` and `hidden_sizes=[512]` is the paper's network; other
      encoders have other convolutions, with a layer of `features` units behind them (encoders/);
    - the gradient's norm is clipped only with `clip` (10 in the dueling paper and in Rainbow);
    - the layers before the last hidden one, which for vectors stand for the convolutions, are
      shared by both streams of `dueling` and have no noise; their gradient is not scaled by
      1/sqrt(2);
    - `layer_norm` normalises hidden layers (Ba et al. 2016, arXiv:1607.06450);
    - `average` > 0 keeps an exponential average of the weights from the first, random ones on, for
      evaluation alone (Izmailov et al. 2018, arXiv:1803.05407, average late weights equally).

    With `store_q` each transition has the value of its action and of the best one, as the actor
    computed them: a prioritized replay's first priorities (Horgan et al. 2018, arXiv:1803.00933).
    """

    needs = frozenset({"discrete", "vector"})
    offers = frozenset({"explore"})
    replays = frozenset({"uniform", "prioritized", "elite"})

    def __init__(
        self,
        spec: Spec,
        seed: int,
        device: str | torch.device = "cpu",
        *,
        encoder: EncoderName | None = None,
        features: Features | None = None,
        pretrained: Pretrained = None,
        frozen: bool = False,
        hidden_sizes: Widths = (64, 64),
        lr: NonNegative = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: Epsilon = 1e-8,
        clip: Positive | None = None,
        gamma: Unit = 0.99,
        n_step: Few = 1,
        tau: Rate = 0.005,
        period: Count | None = None,
        double: bool = False,
        dueling: bool = False,
        head: Literal["value", "categorical", "quantile"] = "value",
        atoms: Atoms = 51,
        v_min: Return = 0.0,
        v_max: Return = 100.0,
        huber: Positive = 1.0,
        noisy: bool = False,
        sigma: Deviation = 0.5,
        layer_norm: bool = False,
        average: Unit = 0.0,
        store_q: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        within(0, 1, tau=tau, average=average)
        at_least(1, period=period)
        if not hidden_sizes:
            raise ValueError("agent.hidden_sizes=[] must name one layer or more, such as [64, 64]")
        self.actions = spaces.choices(self)
        self.gamma, self.n_step, self.period, self.double = gamma, n_step, period, double
        self.average, self.store_q = average, store_q
        self.extras = {"q": Key(), "value": Key()} if store_q else {}
        self.head: Head = make_head(
            head, atoms=atoms, v_min=v_min, v_max=v_max, huber=huber, device=self.device
        )
        init = reseed(torch.Generator(), seed, "init")
        self.online = QNetwork(
            make_encoder(encoder, self, features, init, pretrained, frozen),
            hidden_sizes,
            actions=self.actions,
            size=self.head.size,
            dueling=dueling,
            sigma=sigma if noisy else None,
            generator=init,
            layer_norm=layer_norm,
            device=self.device,
        )
        self.target = self.online.copy()

        self.groups["q"] = Group(self.online.tensors, lr=lr, betas=betas, eps=eps, clip=clip)
        self.slow["target"] = self.target.tensors
        self.follows["target"] = ("q", 2 / (period + 1) if period else tau)
        self.parts = {"act": ["q"], "evaluate": ["q"]}
        if average:
            self.slow["average"] = self.online.copy().tensors
            self.follows["average"] = ("q", average)
            self.parts["evaluate"] = ["q", "average"]
        add_own(self, self.online.encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        if explore is None:
            return Acted(self.values(obs).argmax(-1), state, {})
        noise = self.online.draw(len(obs), self.rng.act)
        q = self.values(obs, None if noise is None else noise.numpy())
        wild = torch.rand(len(obs), generator=self.rng.act).numpy() < explore
        drawn = torch.randint(self.actions, (len(obs),), generator=self.rng.act).numpy()
        action = np.where(wild, drawn, q.argmax(-1))
        extras = {"q": q[np.arange(len(q)), action], "value": q.max(-1)} if self.store_q else {}
        return Acted(action, state, extras)

    def values(self, obs: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """Of every action, [B, A], for obs [B, ...]; noise [B, widths] or None: the means."""
        return np.asarray(self.head.value_numpy(self.online.forward_numpy(obs, noise)))

    def learn(self, batch: Batch) -> Learned:
        """One update of "q", then of the target and the average, from N drawn transitions: action
        [N] int64. Priorities are |TD error|, or the KL divergence of a categorical head. Raises
        AssertionError if reward, discount or weight is not [N]."""
        shape = batch.action.shape
        for name in ("reward", "discount", "weight"):
            assert batch[name].shape == shape, f"{name} {tuple(batch[name].shape)} is not [B]"
        noise = self.online.draw(3, self.rng.learn)
        own, choosing, valuing = (None,) * 3 if noise is None else torch.split(noise, 1)
        with torch.no_grad():
            next_z = self.target(batch.next_obs, valuing)
            chooser = self.online(batch.next_obs, choosing) if self.double else next_z
            next_z = taken(next_z, self.head.value(chooser).argmax(-1))
        z = taken(self.online(batch.obs, own), batch.action)
        loss_B, error_B, clipped = self.head.loss(z, next_z, batch.reward, batch.discount)
        loss = (batch.weight * loss_B).mean()
        q = self.head.value(z.detach())

        passed = self.copies()
        self.descend("q", loss)
        if self.period is None:
            self.follow("target")
        elif self.copies() != passed:
            self.optim.follow(self.vector.flat("target"), self.vector.flat("q"), 1.0)
        if self.average:
            self.follow("average")
        metrics = {"loss/q": loss.detach(), "q/mean": q, "q/error": error_B, **clipped}
        metrics |= train_own(self, self.online.encoder, batch.obs)
        return Learned(1, metrics, priority=error_B)

    def copies(self) -> int:
        """How often the count of updates has passed a multiple of `period`."""
        return int(self.groups["q"].count[0]) // (self.period or 1)

    def policy(self, obs: Tensor) -> Tensor:
        return self.head.value(self.online(obs)).argmax(-1)

    def use_average(self) -> None:
        if self.average:
            self.vector.flat("q").copy_(self.vector.flat("average"))

    def storage_moved(self) -> None:
        self.online.forget_arrays()


class QNetwork:
    """obs [B, ...] -> z [B, A, K]: the encoder, shared layers, then one stream, or `dueling`'s two
    (equation 9 of arXiv:1511.06581): z = value + advantage - mean of the advantages over actions.

    `sigma` is where the scales of the streams' noise start; None: there is no noise.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden_sizes: Sequence[int],
        *,
        actions: int,
        size: int,
        dueling: bool,
        sigma: float | None,
        **options: Any,
    ) -> None:
        self.encoder, self.actions, self.size, self.dueling = encoder, actions, size, dueling
        *shared, last = [encoder.size, *hidden_sizes]
        self.trunk = MLP(shared, hidden_only=True, **options)
        self.streams: list[Any] = []
        for answers in (1, actions) if dueling else (actions,):
            layers = [shared[-1], last, answers * size]
            self.streams.append(
                MLP(layers, **options)
                if sigma is None
                else NoisyMLP(layers, sigma=sigma, **options)
            )
        self.widths = [0 if sigma is None else stream.width for stream in self.streams]

    @property
    def tensors(self) -> list[Tensor]:
        """All that is learned."""
        return [t for net in (self.encoder, self.trunk, *self.streams) for t in net.tensors]

    def copy(self) -> QNetwork:
        """The same network on tensors of its own, without gradients."""
        other = object.__new__(QNetwork)
        other.__dict__ |= self.__dict__
        other.encoder = self.encoder.copy()
        other.trunk, other.streams = self.trunk.copy(), [s.copy() for s in self.streams]
        return other

    def draw(self, rows: int, generator: torch.Generator) -> Tensor | None:
        """Noise [rows, widths], one row a forward pass or an observation; None without noise."""
        if not any(self.widths):
            return None
        shape, device = (rows, sum(self.widths)), generator.device
        return factorised(torch.randn(shape, generator=generator, device=device))

    def __call__(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """noise [1, widths] for all observations alike, or [B, widths]; None: the means."""
        x = self.trunk(self.encoder(obs))
        if noise is None:
            answers = [stream(x) for stream in self.streams]
        else:
            draws = torch.split(noise, self.widths, -1)
            answers = [stream(x, own) for stream, own in zip(self.streams, draws, strict=True)]
        z = answers[-1].unflatten(-1, (self.actions, self.size))
        if self.dueling:
            z = answers[0].unsqueeze(1) + z - z.mean(1, keepdim=True)
        return z

    def forward_numpy(self, obs: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """The same forward in NumPy."""
        x = self.trunk.forward_numpy(self.encoder.forward_numpy(obs))
        if noise is None:
            answers = [stream.forward_numpy(x) for stream in self.streams]
        else:
            draws = np.split(noise, np.cumsum(self.widths[:-1]), -1)
            answers = [
                stream.forward_numpy(x, own)
                for stream, own in zip(self.streams, draws, strict=True)
            ]
        z = answers[-1].reshape(len(obs), self.actions, self.size)
        if self.dueling:
            z = answers[0][:, None] + z - z.mean(1, keepdims=True)
        return z

    def forget_arrays(self) -> None:
        """To be called when the tensors' storage has moved."""
        for net in (self.trunk, *self.streams):
            net.forget_arrays()


def taken(z_BAK: Tensor, action_B: Tensor) -> Tensor:
    """The K numbers of one action in each of B transitions, [B, K]."""
    index = action_B[:, None, None].expand(-1, 1, z_BAK.shape[-1])
    return z_BAK.gather(1, index).squeeze(1)
