"""Soft Actor-Critic for discrete actions: Christodoulou 2019, arXiv:1910.07207."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.base import Acted, Agent, Batch, Group, Learned, Spec, State, within
from agents.encoders.make import Pretrained, add_own, make_encoder, train_own
from agents.parts import spaces
from agents.parts.bounds import (
    EncoderName,
    Features,
    Few,
    NonNegative,
    Rate,
    Scale,
    Temperature,
    Unit,
    Widths,
)
from agents.parts.draws import reseed
from agents.parts.networks import MLP
from agents.parts.optim import Local
from agents.sac import log_temperature


class DiscreteSAC(Agent):
    """SAC with a softmax policy: expectations over actions are exact sums, and each of the twin
    critics has an output for every action.

    `explore` is the probability that an action is drawn uniformly instead of from the policy; None
    is greedy: the most probable action.

    `encoder` reads images (see encoders/) as in SAC: the critics' loss alone trains it, and the
    targets have a copy that lags behind.

    Deviations from the paper:
    - the target entropy is `entropy_share` of the largest, log |A|: the paper's 0.98 asks two
      actions for probabilities 0.58 and 0.42, with which no pole is balanced;
    - the temperature's loss is linear in log alpha, not in alpha (stable-baselines3);
    - with replay=prioritized the weights correct the critics' loss only: actor and temperature see
      the prioritised distribution;
    - `n_step` > 1 leaves out the entropy of the steps in between and is biased off-policy;
    - `layer_norm` normalises the critics' hidden layers (Hiraoka et al. 2022, arXiv:2110.02034).
    """

    needs = frozenset({"discrete", "vector"})
    offers = frozenset({"explore", "policy"})
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
        hidden_sizes: Widths = (256, 256),
        lr: NonNegative = 3e-4,
        gamma: Unit = 0.99,
        tau: Rate = 0.005,
        temperature: Temperature = "auto",
        initial_temperature: Scale = 1.0,
        entropy_share: Unit = 0.5,
        n_step: Few = 1,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        within(0, 1, tau=tau, entropy_share=entropy_share)
        init = reseed(torch.Generator(), seed, "init")
        self.encoder = make_encoder(encoder, self, features, init, pretrained, frozen)
        actions = spaces.choices(self)
        self.gamma, self.n_step = gamma, n_step
        self.automatic = temperature == "auto"
        self.target_entropy = entropy_share * math.log(actions)

        net: dict[str, Any] = {"generator": init, "device": self.device}
        sizes = [self.encoder.size, *hidden_sizes, actions]
        self.actor = MLP(sizes, **net)
        self.critic = MLP(sizes, members=2, layer_norm=layer_norm, **net)
        self.target, self.target_encoder = self.critic.copy(), self.encoder.copy()
        start = log_temperature(temperature, initial_temperature)
        self.log_alpha = torch.full((1,), start, device=self.device, requires_grad=True)

        self.groups["critic"] = Group(self.critic.tensors, lr=lr)
        self.groups["actor"] = Group(self.actor.tensors, lr=lr)
        if self.automatic:
            self.groups["temperature"] = Group([self.log_alpha], lr=lr)
        self.slow["target"] = self.target.tensors
        self.follows["target"] = ("critic", tau)
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}
        self.seeing = ["encoder"] if self.encoder.tensors else []  # groups that move with "critic"
        if self.seeing:
            self.groups["encoder"] = Group(self.encoder.tensors, lr=lr)
            self.slow["target_encoder"] = self.target_encoder.tensors
            self.follows["target_encoder"] = ("encoder", tau)
            self.parts = {"act": ["actor", "encoder"], "evaluate": ["actor", "encoder"]}
        add_own(self, self.encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        logits = self.actor.forward_numpy(self.encoder.forward_numpy(obs))
        if explore is None:
            return Acted(logits.argmax(-1), state, {})
        probs = np.exp(logits - logits.max(-1, keepdims=True))
        probs /= probs.sum(-1, keepdims=True)
        chance = np.broadcast_to(np.asarray(explore, np.float32), (len(obs),))[:, None]
        below = np.cumsum((1 - chance) * probs + chance / probs.shape[-1], -1)
        drawn = torch.rand((len(obs), 1), generator=self.rng.act).numpy()
        return Acted((drawn >= below[:, :-1]).sum(-1), state, {})

    def policy(self, obs: Tensor) -> Tensor:
        return self.actor(self.encoder(obs)).argmax(-1)

    def learn(self, batch: Batch) -> Learned:
        """One update each of "critic" with the encoder, "actor" and "temperature" (unless it is
        fixed), then of the targets, from N drawn transitions: action [N] int64. Priorities are the
        critics' mean |TD error|. Raises AssertionError if reward, discount or weight is not [N]."""
        alpha = self.log_alpha.detach().exp()

        # Critics: the soft value of equation 10 in equation 3 of arXiv:1812.05905
        with torch.no_grad():
            next_logp = self.actor(self.encoder(batch.next_obs)).log_softmax(-1)
            next_q = self.target(self.target_encoder(batch.next_obs)).amin(0)
            y = batch.reward + batch.discount * expected(next_logp, next_q - alpha * next_logp)
        taken = batch.action.view(1, -1, 1).expand(2, -1, 1)
        obs = self.encoder(batch.obs)
        q = self.critic(obs).gather(-1, taken).squeeze(-1)
        assert q.shape[1:] == y.shape == batch.weight.shape, (
            f"q {tuple(q.shape)}, y {tuple(y.shape)}"
        )
        td = q - y
        critic_loss = (0.5 * batch.weight * td.square()).mean(1).sum()
        self.descend("critic", critic_loss, *self.seeing)

        # Actor: equation 12
        obs = obs.detach()
        with torch.no_grad():
            trusted = self.critic(obs).amin(0)
        logp = self.actor(obs).log_softmax(-1)
        actor_loss = expected(logp, alpha * logp - trusted).mean()
        self.descend("actor", actor_loss)

        # Temperature: equation 11
        entropy = -expected(logp.detach(), logp.detach())
        if self.automatic:
            gap = (self.target_entropy - entropy).mean()
            self.descend("temperature", -(self.log_alpha * gap).sum())

        for lagging in self.follows:
            self.follow(lagging)
        metrics = {"loss/critic": critic_loss, "loss/actor": actor_loss, "q/mean": q, "q/target": y}
        metrics |= {"policy/entropy": entropy, "policy/temperature": alpha}
        metrics |= train_own(self, self.encoder, batch.obs)
        logged = {name: tensor.detach() for name, tensor in metrics.items()}
        return Learned(1, logged, priority=td.detach().abs().mean(0))

    def storage_moved(self) -> None:
        self.actor.forget_arrays()


def expected(logp: Tensor, values: Tensor) -> Tensor:
    """The mean of values [B, A] under a policy's log-probabilities [B, A]: [B]."""
    return (logp.exp() * values).sum(-1)
