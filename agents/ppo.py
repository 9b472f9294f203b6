"""Proximal Policy Optimization: Schulman et al. 2017, arXiv:1707.06347."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.base import (
    Acted,
    Agent,
    Batch,
    Group,
    Learned,
    Spec,
    State,
    above,
    at_least,
    within,
)
from agents.encoders.make import Pretrained, add_own, make_encoder, train_own
from agents.parts.bounds import (
    Coefficient,
    Count,
    EncoderName,
    Epsilon,
    Features,
    Few,
    LogStd,
    NonNegative,
    Positive,
    Unit,
    Widths,
)
from agents.parts.draws import reseed
from agents.parts.normal import Normal, ReturnScale, standardised
from agents.parts.optim import Local
from agents.parts.policies import LOG_STD_MAX, LOG_STD_MIN, Net, make_head
from agents.parts.returns import gae
from agents.parts.schedule import Schedule, at, ends


class PPO(Agent):
    """The clipped surrogate, for a few epochs of minibatches over each fragment of experience.

    Actions are continuous (a Gaussian, whose draws are clipped for the env alone) or discrete. The
    probability in the ratio's denominator is the one recorded when acting. `explore` matters only
    where it is None: then the most likely action. One batch is `epochs` x `minibatches` updates.

    Deviations from the paper:
    - actor and critic are two networks, each with an encoder of its own where `encoder` reads
    images (see encoders/), with a loss and a gradient norm each, so that the critic's coefficient
    c_1 is its learning rate; with `critic_weight` they share the encoder, and c_1 is that;
    - advantages are normalised in each minibatch by the population's standard deviation (that of
      openai/baselines; stable-baselines3 takes the sample's, so gradients differ by (n - 1) / n);
      weights begin orthogonal, the norm of a gradient is clipped and Adam's eps is 1e-5;
    - `clip_value` limits how far a value moves as the ratio is limited (openai/baselines);
    - `target_kl` ends the epochs when the policy has gone that far (Spinning Up);
    - `max_log_std` is an upper bound of a Gaussian's log std, applied after each learn. It is
    annealed so that the deterministic policy, which is what is evaluated, sees a useful gradient:
    with noise larger than the action, action costs vanish from the gradient;
    - `normalise` divides observations, and `scale_reward` rewards, by running deviations, and
    `clip_reward` limits what a reward then is (Engstrom et al. 2020, arXiv:2005.12729). The returns
    behind the scale begin at 0 with each fragment, so that short fragments underestimate it. A
    batch of observations counts in their statistics as much as the learning rate's factor;
    - `gamma`, `clip_reward`, `entropy` and `max_log_std` may be schedules (parts/schedule.py). The
    scale of rewards is then computed with the discount at the start.
    Experience of older policies is corrected by the ratio alone, hence only a `rollout`, in which
    none is more than `replay.capacity` learns old (1 by default), besides what other workers
    learned. In dcollect a batch holds a fragment of every worker, so W workers make 1 / W of the
    updates, on batches W times as large: divide `envs` or `rollout_length` by W for the same
    algorithm. Where deltas of workers are added (dupdate), the policy may move further than each
    clip allows.
    """

    needs = frozenset({"vector"})
    offers = frozenset({"policy"})
    replays = frozenset({"rollout"})

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
        lr: NonNegative = 3e-4,
        critic_lr: NonNegative | None = None,
        critic_weight: Coefficient | None = None,
        eps: Epsilon = 1e-5,
        clip: Positive | None = 0.5,
        gamma: Unit | Schedule = 0.99,
        lam: Unit = 0.95,
        epochs: Few = 10,
        minibatches: Count = 16,
        clip_ratio: Positive = 0.2,
        clip_value: Positive | None = None,
        entropy: Coefficient | Schedule = 0.0,
        target_kl: Positive | None = None,
        normalise: bool = False,
        scale_reward: bool = False,
        clip_reward: Positive | Schedule | None = None,
        log_std: LogStd = 0.0,
        max_log_std: float | Schedule | None = None,
        state_std: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        at_least(0, critic_lr=critic_lr, critic_weight=critic_weight)
        at_least(1, epochs=epochs, minibatches=minibatches)
        above(0, clip_ratio=clip_ratio, clip_value=clip_value, target_kl=target_kl)
        above(0, **ends(clip_reward=clip_reward))
        at_least(0, **ends(entropy=entropy))
        within(0, 1e6, **ends(entropy=entropy))
        within(0, 1, lam=lam, **ends(gamma=gamma))
        within(LOG_STD_MIN, LOG_STD_MAX, **ends(max_log_std=max_log_std))
        if encoder and normalise:
            raise ValueError(
                f"agent.normalise=true is for vectors: with agent.encoder={encoder} set it to false"
            )
        if critic_weight is not None and not encoder:
            raise ValueError(
                f"agent.critic_weight={critic_weight} is of the critic's loss in an encoder that it"
                " shares: set agent.encoder, or agent.critic_weight=null"
            )
        self.critic_weight = critic_weight
        self.gamma, self.discount, self.lam = at(gamma, 0.0), gamma, lam
        self.epochs, self.minibatches = epochs, minibatches
        self.clip_ratio, self.clip_value, self.entropy = clip_ratio, clip_value, entropy
        self.clip_reward, self.max_log_std = clip_reward, max_log_std
        self.target_kl = target_kl

        init = reseed(torch.Generator(), seed, "init")
        net: dict[str, Any] = {"generator": init, "device": self.device}
        self.actor_encoder = make_encoder(encoder, self, features, init, pretrained, frozen)
        apart = critic_weight is None and bool(self.actor_encoder.tensors)
        self.critic_encoder = (
            make_encoder(encoder, self, features, init) if apart else self.actor_encoder
        )
        obs_size = self.actor_encoder.size
        self.head = make_head(spec, log_std=log_std, state_std=state_std, device=self.device)
        if max_log_std is not None and not self.head.tensors:
            raise ValueError(
                f"agent.max_log_std={max_log_std} bounds a log std that is a parameter: it needs"
                " actions in Box(n,) and agent.state_std=false"
            )
        self.actor = Net([obs_size, *hidden_sizes, self.head.size], gain=0.01, **net)
        self.critic = Net([obs_size, *hidden_sizes, 1], gain=1.0, **net)
        self.normal = Normal(obs_size, device=self.device) if normalise else None
        self.scale = ReturnScale(self.gamma, device=self.device) if scale_reward else None

        adam: dict[str, Any] = {"eps": eps, "clip": clip}
        self.groups["actor"] = Group(
            [*self.actor_encoder.tensors, *self.actor.tensors, *self.head.tensors], lr=lr, **adam
        )
        critic_lr = lr if critic_lr is None else critic_lr
        self.groups["critic"] = Group(
            [*(self.critic_encoder.tensors if apart else ()), *self.critic.tensors],
            lr=critic_lr,
            **adam,
        )
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}
        if self.normal is not None:
            self.slow["normal"] = self.normal.tensors
            self.sums.add("normal")
            self.parts = {"act": ["actor", "normal"], "evaluate": ["actor", "normal"]}
        if self.scale is not None:
            self.slow["scale"] = self.scale.tensors
            self.sums.add("scale")
        self.extras = self.head.extras
        add_own(self, self.actor_encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        return {}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        seen = obs if self.normal is None else self.normal.normalise_numpy(obs)
        x = self.actor.forward_numpy(self.actor_encoder.forward_numpy(seen))
        if explore is None:
            return Acted(self.head.greedy(x), state, {})
        action, extras = self.head.draw(x, self.rng.act)
        return Acted(action, state, extras)

    def observe(self, obs: Tensor) -> None:
        if self.normal is not None:
            self.normal.update(obs)

    def policy(self, obs: Tensor) -> Tensor:
        seen = obs if self.normal is None else self.normal(obs)
        return self.head.mode(self.actor(self.actor_encoder(seen)))

    def learn(self, batch: Batch) -> Learned:
        """`epochs` x `minibatches` updates each of "actor" and "critic" (fewer with `target_kl` or
        fewer transitions), then of the statistics, from whole fragments [T, B, ...] with the extras
        `logp` and, for Box actions, `raw`. 0 updates if no transition is valid. Reads `progress`.
        Raises AssertionError if log-probabilities and advantages differ in shape."""
        rows = self.prepare(batch)
        updates, metrics = 0, dict[str, Tensor]()
        for _ in range(self.epochs if len(rows.value) else 0):
            divergences = []
            for part in self.shuffled(rows):
                metrics = self.improve(part)
                divergences.append(metrics["policy/kl"])
                updates += 1
            if self.target_kl and float(torch.stack(divergences).mean()) > 1.5 * self.target_kl:
                break
        for part in self.shuffled(rows) if self.actor_encoder.own else ():
            metrics |= train_own(self, self.actor_encoder, part.obs)
        if self.max_log_std is not None:
            self.head.limit(at(self.max_log_std, self.progress))
        if self.normal is not None:  # after the last use of what the actors normalised with
            self.normal.update(batch.obs[batch.weight > 0], self.optim.lr_factor)
        return Learned(updates, metrics)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Batch:
        """The valid transitions [N, ...]: normalised obs, advantage, target and value [N] by the
        critic as it is before the epochs, action and extras."""
        valid = batch.weight > 0
        cut = batch.terminated | batch.truncated | ~valid
        reward = batch.reward
        if self.scale is not None:
            self.scale.update(reward, cut, valid)  # nobody acts on it: it may come first
            reward = self.scale(reward)
        if self.clip_reward is not None:
            most = at(self.clip_reward, self.progress)
            reward = reward.clamp(-most, most)
        obs, next_obs = batch.obs, batch.next_obs
        if self.normal is not None:
            obs, next_obs = self.normal(obs), self.normal(next_obs)
        value, next_value = (self.value(x) for x in (obs, next_obs))
        discount = at(self.discount, self.progress) * ~batch.terminated
        advantage, target = gae(reward, discount, value, next_value, cut, self.lam)
        columns = {"obs": obs, "advantage": advantage, "target": target, "value": value}
        columns |= {name: batch[name] for name in ("action", *self.extras)}
        return Batch({name: column[valid] for name, column in columns.items()})

    def value(self, obs: Tensor) -> Tensor:
        """The critic's values [...] of normalised observations."""
        return self.critic(self.critic_encoder(obs)).squeeze(-1)

    def shuffled(self, rows: Batch) -> Iterator[Batch]:
        """All N transitions once, in minibatches whose sizes differ by one at most."""
        n = len(rows.value)
        order = torch.randperm(n, generator=self.rng.learn, device=self.device)
        for part in order.tensor_split(min(n, self.minibatches)) if n else ():
            yield Batch({name: column[part] for name, column in rows.items()})

    def improve(self, rows: Batch) -> dict[str, Tensor]:
        """One update each of actor and critic on a minibatch of `prepare`'s transitions."""
        # Actor: equations 6 and 7, and the entropy of equation 9
        seen = self.actor_encoder(rows.obs)
        x = self.actor(seen)
        log_ratio = self.head.logp(x, rows) - rows.logp
        assert log_ratio.shape == rows.advantage.shape, f"log ratio {tuple(log_ratio.shape)}"
        ratio = log_ratio.exp()
        advantage = standardised(rows.advantage)
        limited = ratio.clamp(1 - self.clip_ratio, 1 + self.clip_ratio)
        surrogate = torch.minimum(ratio * advantage, limited * advantage).mean()
        entropy = self.head.entropy(x).mean()
        actor_loss = -surrogate - at(self.entropy, self.progress) * entropy
        if self.critic_weight is None:
            self.descend("actor", actor_loss)
            seen = self.critic_encoder(rows.obs)

        # Critic: the squared error of equation 9
        value = self.critic(seen).squeeze(-1)
        error = (value - rows.target).square()
        if self.clip_value is not None:
            near = rows.value + (value - rows.value).clamp(-self.clip_value, self.clip_value)
            error = torch.maximum(error, (near - rows.target).square())
        critic_loss = 0.5 * error.mean()
        if self.critic_weight is None:
            self.descend("critic", critic_loss)
        else:
            self.descend("actor", actor_loss + self.critic_weight * critic_loss, "critic")

        outside = (ratio - 1).abs() > self.clip_ratio
        metrics = {"loss/actor": -surrogate, "loss/critic": critic_loss, "policy/entropy": entropy}
        metrics |= {"policy/kl": (ratio - 1 - log_ratio).mean(), "policy/clipped": outside.float()}
        return {name: value.detach() for name, value in metrics.items()}
