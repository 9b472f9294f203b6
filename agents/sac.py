"""Soft Actor-Critic with automatic temperature: Haarnoja et al. 2018, arXiv:1812.05905."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from agents.base import (
    Acted,
    Agent,
    Batch,
    Group,
    Key,
    Learned,
    Spec,
    State,
    above,
    at_least,
    within,
)
from agents.encoders.make import Pretrained, add_own, make_encoder, train_own
from agents.parts import spaces
from agents.parts.bounds import (
    Betas,
    EncoderName,
    Epsilon,
    Features,
    Few,
    Members,
    NoiseName,
    NonNegative,
    Positive,
    Quantiles,
    Rate,
    Scale,
    Temperature,
    Unit,
    WholeNumber,
    Widths,
)
from agents.parts.critics import Truncated, Values
from agents.parts.draws import reseed
from agents.parts.explore import HeldActions, Noise, make_noise
from agents.parts.networks import MLP
from agents.parts.optim import Local

# N transitions, O and A numbers in an observation (or its features) and an action, C critics

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # Appendix C of arXiv:1801.01290, as Spinning Up has it


class SAC(Agent):
    """Twin critics, a squashed Gaussian actor and a temperature that holds the entropy at a target.

    Actions and log-probabilities live in [-1, 1]. `explore` is the probability that a uniformly
    random action begins, which is then held for `action_hold` steps: 1 in the warm-up, 0 afterwards
    (the policy's own noise); None is greedy: tanh of the mean.

    `encoder` reads images (see encoders/): it is trained by the critics' loss alone, the actor gets
    its features without gradient, and the targets have a copy of it that lags behind as they do
    (Yarats et al. 2021, arXiv:1910.01741). The actor learns from the features of before the
    critics' step.

    Deviations from the paper:
    - the random actions of the warm-up are held for `action_hold` steps (1: as in the paper),
      because single ones cancel out where an action acts on a velocity;
    - the temperature's loss is linear in log alpha, not in alpha (stable-baselines3);
    - with replay=prioritized the weights correct the critics' loss only: actor and temperature see
      the prioritised distribution;
    - `pessimism` p takes mean(Q) - p |Q1 - Q2| / 2 of both critics: 1 is the paper's minimum;
    - `n_step` > 1 leaves out the entropy of the steps in between and is biased off-policy;
    - `noise="pink"` correlates the policy's noise in time (Eberhard et al. 2023), marginals
      unchanged;
    - `average` > 0 keeps an exponential average of the actor's weights from the first, random ones
      on, which only evaluation reads. (Izmailov et al. 2018, arXiv:1803.05407, average late weights
      equally.)
    - `layer_norm` normalises the critics' hidden layers (Hiraoka et al. 2022, arXiv:2110.02034);
    - `quantiles` > 0 is TQC (Kuznetsov et al. 2020, arXiv:2005.04269): each of `critics` critics
      predicts so many quantiles, and `drop` of each are left out of the targets, see `Truncated`;
    - `bf16` multiplies hidden matrices in bfloat16 while learning;
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
        critic_hidden_sizes: Widths | None = None,
        lr: NonNegative = 3e-4,
        actor_lr: NonNegative | None = None,
        critic_lr: NonNegative | None = None,
        temperature_lr: NonNegative | None = None,
        betas: Betas = (0.9, 0.999),
        eps: Epsilon = 1e-8,
        clip: Positive | None = None,
        gamma: Unit = 0.99,
        tau: Rate = 0.005,
        temperature: Temperature = "auto",
        initial_temperature: Scale = 1.0,
        target_entropy: float | None = None,
        n_step: Few = 1,
        pessimism: Unit = 1.0,
        critics: Members = 2,
        quantiles: Quantiles = 0,
        drop: WholeNumber = 2,
        layer_norm: bool = False,
        average: Unit = 0.0,
        noise: NoiseName = "white",
        action_hold: Few = 16,
        bf16: bool = False,
        store_q: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        at_least(0, actor_lr=actor_lr, critic_lr=critic_lr, temperature_lr=temperature_lr)
        at_least(1, critics=critics)
        at_least(0, quantiles=quantiles)
        within(0, 1, tau=tau, average=average)
        init = reseed(torch.Generator(), seed, "init")
        self.encoder = make_encoder(encoder, self, features, init, pretrained, frozen)
        self.action_size = spaces.action_size(self)
        self.gamma, self.n_step, self.average = gamma, n_step, average
        self.automatic = temperature == "auto"
        most = self.action_size * math.log(2)
        if target_entropy is not None and not -1e6 <= target_entropy < most:
            raise ValueError(
                f"agent.target_entropy={target_entropy:g} must lie in [-1e6, {most:.3g}), below the"
                " entropy of uniform actions, or be null"
            )
        self.target_entropy = -self.action_size if target_entropy is None else target_entropy
        self.held = HeldActions(self.action_size, action_hold)
        self.noise: Noise = make_noise(noise, self.action_size)

        net: dict[str, Any] = {"generator": init, "bf16": bf16, "device": self.device}
        self.actor = MLP([self.encoder.size, *hidden_sizes, 2 * self.action_size], **net)
        if quantiles and pessimism != 1:
            raise ValueError(
                f"agent.pessimism={pessimism} is for critics of values: set agent.quantiles=0, or"
                " choose by agent.drop how cautious quantiles are"
            )
        self.critics = (
            Truncated(critics, quantiles, drop, self.device)
            if quantiles
            else Values(critics, pessimism)
        )
        inner = hidden_sizes if critic_hidden_sizes is None else critic_hidden_sizes
        sizes = [self.encoder.size + self.action_size, *inner, self.critics.outputs]
        self.critic = MLP(sizes, members=critics, layer_norm=layer_norm, **net)
        self.target, self.target_encoder = self.critic.copy(), self.encoder.copy()
        start = log_temperature(temperature, initial_temperature)
        self.log_alpha = torch.full((1,), start, device=self.device, requires_grad=True)

        adam: dict[str, Any] = {"betas": betas, "eps": eps, "clip": clip}
        moved = {
            "critic": (self.critic.tensors, critic_lr),
            "actor": (self.actor.tensors, actor_lr),
        }
        if self.automatic:
            moved["temperature"] = ([self.log_alpha], temperature_lr)
        for name, (tensors, own) in moved.items():
            self.groups[name] = Group(tensors, lr=lr if own is None else own, **adam)
        self.slow["target"] = self.target.tensors
        self.follows["target"] = ("critic", tau)
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}
        self.seeing = ["encoder"] if self.encoder.tensors else []  # groups that move with "critic"
        if self.seeing:
            own = lr if critic_lr is None else critic_lr
            self.groups["encoder"] = Group(self.encoder.tensors, lr=own, **adam)
            self.slow["target_encoder"] = self.target_encoder.tensors
            self.follows["target_encoder"] = ("encoder", tau)
            self.parts = {"act": ["actor", "encoder"], "evaluate": ["actor", "encoder"]}
        if average:
            self.averaged = self.actor.copy()
            self.slow["average"] = self.averaged.tensors
            self.follows["average"] = ("actor", average)
            self.parts["evaluate"] = [*self.parts["act"], "average"]
        if store_q:  # whoever acts needs the critics, too
            self.extras = {"q": Key(), "value": Key()}
            self.parts["act"] = [*self.parts["act"], "critic"]
        add_own(self, self.encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {**self.held.initial_state(n), **self.noise.initial_state(n)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        mean, log_std = np.split(
            self.actor.forward_numpy(self.encoder.forward_numpy(obs)), 2, axis=-1
        )
        if explore is None:
            return Acted(np.tanh(mean), state, {})
        std = np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX))
        noise, noise_state = self.noise(state, len(obs), self.rng.act)
        action, held_state = self.held(np.tanh(mean + std * noise), state, explore, self.rng.act)
        return Acted(action, {**held_state, **noise_state}, self.stored(obs, action))

    @torch.no_grad()
    def stored(self, obs: np.ndarray, action: np.ndarray) -> dict[str, np.ndarray]:
        """The extras [B] of actions [B, A], where there are any."""
        if not self.extras:
            return {}
        seen, chosen = (torch.from_numpy(x).to(self.device) for x in (obs, action))
        q = self.critics.trusted(self.q(self.critic, self.encoder(seen), chosen)).cpu().numpy()
        return {"q": q, "value": q}

    def learn(self, batch: Batch) -> Learned:
        """One update each of "critic" with the encoder, "actor" and "temperature" (unless it is
        fixed), then of targets and average, from N drawn transitions: action [N, A] in [-1, 1].
        Priorities are the critics' mean |TD error|. Raises AssertionError if reward or weight is
        not [N]."""
        alpha = self.log_alpha.detach().exp()

        # Critics: equations 5 and 6
        with torch.no_grad():
            next_action, next_logp = self.sample(self.encoder(batch.next_obs))
            lagging_obs = self.target_encoder(batch.next_obs)
            next_q = self.critics.backed_up(self.q(self.target, lagging_obs, next_action))
            y = batch.reward + batch.discount * (next_q - alpha * next_logp)
        obs = self.encoder(batch.obs)
        q = self.q(self.critic, obs, batch.action)
        losses, td = self.critics.regress(q, y)
        assert batch.reward.shape == batch.weight.shape == losses.shape[1:]
        critic_loss = (batch.weight * losses).mean(1).sum()
        self.descend("critic", critic_loss, *self.seeing)

        # Actor: equation 7, through the critics but not into them
        obs = obs.detach()
        action, logp = self.sample(obs)
        value = self.critics.trusted(self.q(self.critic, obs, action))
        actor_loss = (alpha * logp - value).mean()
        self.descend("actor", actor_loss)

        # Temperature: equation 18
        if self.automatic:
            gap = (logp.detach() + self.target_entropy).mean()
            self.descend("temperature", -(self.log_alpha * gap).sum())

        for lagging in self.follows:
            self.follow(lagging)
        metrics = {"loss/critic": critic_loss, "loss/actor": actor_loss, "q/mean": q, "q/target": y}
        metrics |= {"policy/entropy": -logp, "policy/temperature": alpha}
        metrics |= train_own(self, self.encoder, batch.obs)
        logged = {name: tensor.detach() for name, tensor in metrics.items()}
        return Learned(1, logged, priority=td.detach().abs().mean(0))

    def sample(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """a = tanh(u), u ~ N(mean, std), and log pi(a|obs); obs [N, O] -> [N, A], [N].

        The correction log(1 - tanh(u)^2) is written as 2 (log 2 - u - softplus(-2u)), which does
        not lose digits at the edges (Appendix C; the form is Spinning Up's).
        """
        mean, log_std = self.actor(obs).chunk(2, dim=-1)
        log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        noise = torch.randn(mean.shape, generator=self.rng.learn, device=mean.device)
        u = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squash = 2 * (math.log(2) - u - softplus(-2 * u))
        return torch.tanh(u), (gaussian - squash).sum(-1)

    def q(self, critic: MLP, obs: Tensor, action: Tensor) -> Tensor:
        """Every critic's values [C, N], or quantiles of them [C, K, N]."""
        return self.critics.read(critic(torch.cat((obs, action), -1)))

    def policy(self, obs: Tensor) -> Tensor:
        return self.actor(self.encoder(obs)).chunk(2, -1)[0].tanh()

    def use_average(self) -> None:
        if self.average:
            self.vector.flat("actor").copy_(self.vector.flat("average"))

    def storage_moved(self) -> None:
        self.actor.forget_arrays()


def log_temperature(temperature: str | float, initial: float) -> float:
    """Where log alpha begins: the logarithm of a fixed temperature, or of the initial one."""
    above(0, initial_temperature=initial)
    if temperature == "auto":
        return math.log(initial)
    if isinstance(temperature, str) or not temperature > 0:
        raise ValueError(f"agent.temperature={temperature} must be auto or a number above 0")
    return math.log(temperature)
