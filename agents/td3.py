"""Twin Delayed Deep Deterministic policy gradient: Fujimoto et al. 2018, arXiv:1802.09477."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.base import Acted, Agent, Batch, Group, Key, Learned, Spec, State, at_least, within
from agents.encoders.make import Pretrained, add_own, make_encoder, train_own
from agents.parts import spaces
from agents.parts.bounds import (
    Deviation,
    EncoderName,
    Features,
    Few,
    Members,
    NoiseName,
    NonNegative,
    Rate,
    Unit,
    Widths,
)
from agents.parts.draws import reseed
from agents.parts.explore import HeldActions, Noise, make_noise
from agents.parts.networks import MLP
from agents.parts.optim import Local

# N transitions, O and A numbers in an observation (or its features) and an action, C critics


class TD3(Agent):
    """A deterministic actor, the minimum of `critics` critics as the target, smoothed target
    actions, and a delayed actor: actor and targets move at every `delay`-th update of the critics
    that this copy of the agent makes, counted from the vector's count at its first.

    Actions live in [-1, 1], so `noise_std`, `smoothing` and `smoothing_clip` are in units of half
    the action range, as in the paper. `explore` is the probability that a uniformly random action
    begins, which is then held for `action_hold` steps: 1 in the warm-up, 0 afterwards, where
    Gaussian noise is added to the actor's action; None is greedy.

    `encoder` reads images (see encoders/): it is trained by the critics' loss alone, the actor gets
    its features without gradient, and the targets share a copy of it that lags behind as they do
    (Yarats et al. 2021, arXiv:1910.01741). The actor learns from the features of before the
    critics' step.

    One critic without smoothing and delay is DDPG (Lillicrap et al. 2016, arXiv:1509.02971), with
    Gaussian noise in the place of an Ornstein-Uhlenbeck process.

    Deviations from the paper:
    - the warm-up's random actions may be held;
    - with replay=prioritized the weights correct the critics' loss only: the actor sees the
      prioritised distribution;
    - `noise="pink"` correlates the exploration in time (Eberhard et al. 2023), marginals unchanged;
    - `n_step` > 1 is biased off-policy;
    - `layer_norm` normalises the critics' hidden layers (Hiraoka et al. 2022, arXiv:2110.02034);
    - `store_q` stores the value of each action with it, which stands for that of its state, too: a
      prioritized replay's first priorities (Horgan et al. 2018, arXiv:1803.00933).
    """

    needs = frozenset({"box", "vector"})
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
        actor_lr: NonNegative | None = None,
        critic_lr: NonNegative | None = None,
        gamma: Unit = 0.99,
        tau: Rate = 0.005,
        critics: Members = 2,
        smoothing: Deviation = 0.2,
        smoothing_clip: Deviation = 0.5,
        delay: Few = 2,
        n_step: Few = 1,
        layer_norm: bool = False,
        noise: NoiseName = "white",
        noise_std: Deviation = 0.1,
        action_hold: Few = 1,
        store_q: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        at_least(0, actor_lr=actor_lr, critic_lr=critic_lr)
        at_least(1, delay=delay, critics=critics)
        at_least(0, smoothing=smoothing, smoothing_clip=smoothing_clip, noise_std=noise_std)
        within(0, 1, tau=tau)
        init = reseed(torch.Generator(), seed, "init")
        self.encoder = make_encoder(encoder, self, features, init, pretrained, frozen)
        self.action_size = spaces.action_size(self)
        self.gamma, self.n_step, self.tau, self.delay = gamma, n_step, tau, delay
        self.smoothing, self.smoothing_clip = smoothing, smoothing_clip
        self.noise_std = noise_std
        self.noise: Noise = make_noise(noise, self.action_size)
        self.held = HeldActions(self.action_size, action_hold)
        self.made: int | None = None  # updates, this copy's own: see `learn`

        net: dict[str, Any] = {"generator": init, "device": self.device}
        self.actor = MLP([self.encoder.size, *hidden_sizes, self.action_size], **net)
        self.critic = MLP(
            [self.encoder.size + self.action_size, *hidden_sizes, 1],
            members=critics,
            layer_norm=layer_norm,
            **net,
        )
        self.target, self.target_actor = self.critic.copy(), self.actor.copy()
        self.target_encoder = self.encoder.copy()
        moved = {
            "critic": (self.critic.tensors, critic_lr),
            "actor": (self.actor.tensors, actor_lr),
        }
        for name, (tensors, own) in moved.items():
            self.groups[name] = Group(tensors, lr=lr if own is None else own)
        self.slow = {"target": self.target.tensors, "target_actor": self.target_actor.tensors}
        per_update = 1 - (1 - tau) ** (1 / delay)
        self.follows = {"target": ("critic", per_update), "target_actor": ("actor", per_update)}
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}
        self.seeing = ["encoder"] if self.encoder.tensors else []  # groups that move with "critic"
        if self.seeing:
            own = lr if critic_lr is None else critic_lr
            self.groups["encoder"] = Group(self.encoder.tensors, lr=own)
            self.slow["target_encoder"] = self.target_encoder.tensors
            self.follows["target_encoder"] = ("encoder", per_update)
            self.parts = {"act": ["actor", "encoder"], "evaluate": ["actor", "encoder"]}
        if store_q:  # whoever acts needs the critics, too
            self.extras = {"q": Key(), "value": Key()}
            self.parts["act"] = [*self.parts["act"], "critic"]
        add_own(self, self.encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {**self.held.initial_state(n), **self.noise.initial_state(n)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        action = np.tanh(self.actor.forward_numpy(self.encoder.forward_numpy(obs)))
        if explore is None:
            return Acted(action, state, {})
        noise, noise_state = self.noise(state, len(obs), self.rng.act)
        noisy = np.clip(action + self.noise_std * noise, -1, 1)
        noisy, held_state = self.held(noisy, state, explore, self.rng.act)
        return Acted(noisy, {**held_state, **noise_state}, self.stored(obs, noisy))

    @torch.no_grad()
    def stored(self, obs: np.ndarray, action: np.ndarray) -> dict[str, np.ndarray]:
        """The extras [B] of actions [B, A], where there are any."""
        if not self.extras:
            return {}
        seen, chosen = (torch.from_numpy(x).to(self.device) for x in (obs, action))
        q = self.q(self.critic, self.encoder(seen), chosen).amin(0).cpu().numpy()
        return {"q": q, "value": q}

    def policy(self, obs: Tensor) -> Tensor:
        return torch.tanh(self.actor(self.encoder(obs)))

    def learn(self, batch: Batch) -> Learned:
        """One update of "critic" with the encoder and, at every `delay`-th, of "actor" and all
        targets, from N drawn transitions: action [N, A] in [-1, 1]. Priorities are the critics'
        mean |TD error|. Raises AssertionError if reward, discount or weight is not [N]."""
        if self.made is None:
            self.made = int(self.groups["critic"].count[0])

        # Critics: Algorithm 1, with the clipped double Q of equation 10
        with torch.no_grad():
            next_obs = self.target_encoder(batch.next_obs)
            next_action = self.smooth(torch.tanh(self.target_actor(next_obs)))
            next_q = self.q(self.target, next_obs, next_action).amin(0)
            y = batch.reward + batch.discount * next_q
        obs = self.encoder(batch.obs)
        q = self.q(self.critic, obs, batch.action)
        assert q.shape[1:] == y.shape == batch.weight.shape, (
            f"q {tuple(q.shape)}, y {tuple(y.shape)}"
        )
        td = q - y
        critic_loss = (batch.weight * td.square()).mean(1).sum()
        self.descend("critic", critic_loss, *self.seeing)
        metrics = {"loss/critic": critic_loss, "q/mean": q, "q/target": y}

        # Actor and all targets: every `delay`-th of its own updates, not of the vector's count,
        # because merging moves that count in steps of a task's updates, which could skip multiples
        self.made += 1
        if self.made % self.delay == 0:
            obs = obs.detach()
            action = torch.tanh(self.actor(obs))
            actor_loss = -self.first(torch.cat((obs, action), -1)).mean()
            self.descend("actor", actor_loss)
            metrics["loss/actor"] = actor_loss
            for lagging in self.follows:
                self.follow(lagging)
        metrics |= train_own(self, self.encoder, batch.obs)
        logged = {name: value.detach() for name, value in metrics.items()}
        return Learned(1, logged, priority=td.detach().abs().mean(0))

    def smooth(self, action: Tensor) -> Tensor:
        """Clipped noise around a target action [N, A], clipped again: equation 14."""
        if not self.smoothing:
            return action
        drawn = torch.randn(action.shape, generator=self.rng.learn, device=action.device)
        limit = self.smoothing_clip
        return (action + (self.smoothing * drawn).clamp_(-limit, limit)).clamp_(-1, 1)

    def q(self, critics: MLP, obs: Tensor, action: Tensor) -> Tensor:
        """Every critic's values, [C, N]."""
        return critics(torch.cat((obs, action), -1)).squeeze(-1)

    def follow(self, target: str) -> None:
        """One step of tau every `delay` updates. `follows` has the equivalent rate per update, for
        paradigms that merge any number of updates at once."""
        group, _ = self.follows[target]
        self.optim.follow(self.vector.flat(target), self.vector.flat(group), self.tau)

    def storage_moved(self) -> None:
        self.actor.forget_arrays()
        self.first = _first(self.critic)


def _first(critics: MLP) -> MLP:
    """Q1 alone, on views without gradient: the actor's gradient goes through it, not into it."""
    one = copy.copy(critics)
    one.weights = [w.detach()[0] for w in critics.weights]
    one.biases = [b.detach()[0] for b in critics.biases]
    return one
