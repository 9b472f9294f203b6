"""Advantage actor-critic, one update a fragment: A2C and A3C (Mnih et al. 2016, arXiv:1602.01783),
IMPALA's V-trace (Espeholt et al. 2018, arXiv:1802.01561) and REINFORCE (Williams 1992)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

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
from agents.parts.bounds import (
    Betas,
    Coefficient,
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
from agents.parts.normal import Normal, standardised
from agents.parts.optim import Local
from agents.parts.policies import LSTM, Net, make_head
from agents.parts.returns import end_known, gae, monte_carlo, n_step_return, vtrace

RETURNS = ("monte_carlo", "n_step", "gae", "vtrace")


class ActorCritic(Agent):
    """The policy gradient, with a choice of what stands for the return.

    returns: `monte_carlo`, to the end of the episode or of the fragment, where the critic's value
    is added; `n_step`; `gae` with `lam`; `vtrace`, which corrects for the policy having moved since
    it acted, by the log-probabilities recorded then. `lstm` > 0 units remember: actor and critic
    see [obs, h]; the state from before a fragment comes with it and is zero at an episode's start.
    `explore` matters only where it is None: then the most likely action.

    `encoder` reads images (see encoders/). Encoder and memory are the actor's, and the critic reads
    them without shaping them; with `critic_weight`, as in the papers, they move down the actor's
    loss and so much of the critic's together.

    critic=False is REINFORCE: it needs `monte_carlo` and has no baseline except the batch's mean,
    with `normalise_advantage`. It learns only from transitions whose episode ends within their
    fragment and drops the others: `policy/dropped_share` is their share in a batch,
    `policy/dropped_fragments` how many fragments of a slot without any end this copy of the agent
    has dropped so far. If there are many, raise `rollout_length`.

    Deviations from the papers:
    - the critic is a network of its own with its own learning rate;
    - Adam, not RMSprop; losses are means over the valid transitions, not sums;
    - A3C's n-step return begins anew at each fragment; here `n_step` slides;
    - A3C's workers act and differentiate on one snapshot; under hogwild the weights move meanwhile.
      `n_step`, `gae` and `monte_carlo` do not correct for experience that is older than the
      weights: one learn in a `rollout`, up to `replay.capacity` in a `fifo`;
    - the LSTM does not see the last action and reward, as A3C's and IMPALA's do, and rho_pg, the
      clip of the policy gradient's weight in V-trace, is rho_bar;
    - without a critic the gradient lacks the factor gamma^t, as is usual; an episode cut by a time
      limit counts as ended; and as only whole episodes count, a fragment should last several
      episodes, or short ones are favoured.
    """

    needs = frozenset({"vector"})
    offers = frozenset({"policy"})
    replays = frozenset({"rollout", "fifo"})

    def __init__(
        self,
        spec: Spec,
        seed: int,
        device: str | torch.device = "cpu",
        *,
        returns: Literal["monte_carlo", "n_step", "gae", "vtrace"] = "gae",
        critic: bool = True,
        encoder: EncoderName | None = None,
        features: Features | None = None,
        pretrained: Pretrained = None,
        frozen: bool = False,
        hidden_sizes: Widths = (64, 64),
        lstm: Features = 0,
        lr: NonNegative = 7e-4,
        critic_lr: NonNegative | None = None,
        critic_weight: Coefficient | None = None,
        betas: Betas = (0.9, 0.999),
        eps: Epsilon = 1e-5,
        clip: Positive | None = 0.5,
        gamma: Unit = 0.99,
        lam: Unit = 0.95,
        n: Few = 5,
        rho_bar: Positive = 1.0,
        c_bar: Positive = 1.0,
        entropy: Coefficient = 0.01,
        normalise_advantage: bool = False,
        normalise: bool = False,
        log_std: LogStd = 0.0,
        state_std: bool = False,
    ) -> None:
        super().__init__(spec, seed, device)
        if returns not in RETURNS:
            raise ValueError(f"agent.returns={returns} is unknown; choose {', '.join(RETURNS)}")
        if not critic and returns != "monte_carlo":
            raise ValueError(
                f"agent.returns={returns} needs agent.critic=true; choose agent.returns=monte_carlo"
            )
        if encoder and normalise:
            raise ValueError(
                f"agent.normalise=true is for vectors: with agent.encoder={encoder} set it to false"
            )
        if critic_weight is not None and not (critic and (encoder or lstm)):
            raise ValueError(
                f"agent.critic_weight={critic_weight} is of the critic's loss in an encoder or a"
                " memory: set agent.encoder or agent.lstm, and agent.critic=true"
            )
        at_least(0, critic_lr=critic_lr, critic_weight=critic_weight, lstm=lstm)
        at_least(1, n=n)
        above(0, rho_bar=rho_bar, c_bar=c_bar)
        within(0, 1, lam=lam)
        init = reseed(torch.Generator(), seed, "init")
        self.encoder = make_encoder(encoder, self, features, init, pretrained, frozen)
        obs_size, self.critic_weight = self.encoder.size, critic_weight
        self.returns, self.gamma, self.lam, self.n = returns, gamma, lam, n
        self.rho_bar, self.c_bar, self.entropy = rho_bar, c_bar, entropy
        self.normalise_advantage = normalise_advantage
        self.dropped = 0  # fragments of a slot, by this copy

        net: dict[str, Any] = {"generator": init, "device": self.device}
        seen = obs_size + lstm
        self.head = make_head(spec, log_std=log_std, state_std=state_std, device=self.device)
        self.actor = Net([seen, *hidden_sizes, self.head.size], gain=0.01, **net)
        self.critic = Net([seen, *hidden_sizes, 1], gain=1.0, **net) if critic else None
        self.memory = LSTM(obs_size, lstm, **net) if lstm else None
        self.normal = Normal(obs_size, device=self.device) if normalise else None

        adam: dict[str, Any] = {"betas": betas, "eps": eps, "clip": clip}
        acting = [*self.encoder.tensors, *self.actor.tensors, *self.head.tensors]
        self.extras = dict(self.head.extras)
        if self.memory is not None:
            acting += self.memory.tensors
            self.extras["memory"] = Key((2 * lstm,), per="fragment")
        self.groups["actor"] = Group(acting, lr=lr, **adam)
        if self.critic is not None:
            critic_lr = lr if critic_lr is None else critic_lr
            self.groups["critic"] = Group(self.critic.tensors, lr=critic_lr, **adam)
        self.parts = {"act": ["actor"], "evaluate": ["actor"]}
        if self.normal is not None:
            self.slow["normal"] = self.normal.tensors
            self.sums.add("normal")
            self.parts = {"act": ["actor", "normal"], "evaluate": ["actor", "normal"]}
        add_own(self, self.encoder, lr)
        self.optim = Local()

    def initial_state(self, n: int) -> State:
        if self.memory is None:
            return {}
        return {"memory": np.zeros((n, 2 * self.memory.units), np.float32)}

    def act(self, obs: np.ndarray, state: State, explore: np.ndarray | float | None) -> Acted:
        x = self.encoder.forward_numpy(obs)
        x = x if self.normal is None else self.normal.normalise_numpy(x)
        if self.memory is not None:
            state = {"memory": self.memory.step_numpy(x, state["memory"])}
            x = np.concatenate((x, state["memory"][:, : self.memory.units]), -1)
        x = self.actor.forward_numpy(x)
        if explore is None:
            return Acted(self.head.greedy(x), state, {})
        action, extras = self.head.draw(x, self.rng.act)
        return Acted(action, state, extras)

    def observe(self, obs: Tensor) -> None:
        if self.normal is not None:
            self.normal.update(obs)

    def policy(self, obs: Tensor) -> Tensor:
        if self.memory is not None:
            raise NotImplementedError("an agent with agent.lstm acts by what it remembers, too")
        seen = self.encoder(obs)
        return self.head.mode(self.actor(seen if self.normal is None else self.normal(seen)))

    def learn(self, batch: Batch) -> Learned:
        """One update each of "actor" and "critic", then of the statistics, from whole fragments
        [T, B, ...] with the extras `logp`, for Box actions `raw`, and with an LSTM `memory`. 0
        updates if no transition can be learned from. Raises AssertionError if log-probabilities,
        values and rewards differ in shape."""
        valid = batch.weight > 0
        cut = batch.terminated | batch.truncated | ~valid
        seen, next_seen = self.seen(batch)
        x = self.actor(seen)
        logp = self.head.logp(x, batch)
        value = next_value = torch.zeros_like(batch.reward)
        rows, metrics = valid, dict[str, Tensor]()
        if self.critic is not None:
            shown = seen if self.critic_weight is not None else seen.detach()
            value = self.critic(shown).squeeze(-1)
            with torch.no_grad():
                next_value = self.critic(next_seen).squeeze(-1)
        else:
            rows = valid & end_known(cut, batch.truncated & ~valid)
            metrics = self.count_dropped(valid, rows)
        if not rows.any():
            return Learned(0, metrics)
        assert logp.shape == value.shape == batch.reward.shape, f"log pi {tuple(logp.shape)}"
        log_ratio = (logp - batch.logp).detach().masked_fill(~valid, 0.0)
        advantage, target = self.estimate(batch, log_ratio, value.detach(), next_value, cut)
        advantage = advantage[rows]
        if self.normalise_advantage:
            advantage = standardised(advantage)
        if self.returns == "vtrace":  # not before, or what weighs 0 would have an advantage
            advantage = advantage * log_ratio[rows].exp().clamp(max=self.rho_bar)

        # Actor: supplementary algorithm S3 of arXiv:1602.01783, with the entropy of section 4
        gain, entropy = (logp[rows] * advantage).mean(), self.head.entropy(x)[rows].mean()
        actor_loss = -gain - self.entropy * entropy
        metrics |= {"loss/actor": -gain, "policy/entropy": entropy}
        if self.critic is not None:
            metrics["loss/critic"] = 0.5 * (value - target)[rows].square().mean()
        if self.critic_weight is not None:
            both = actor_loss + self.critic_weight * metrics["loss/critic"]
            self.descend("actor", both, "critic")
        else:
            self.descend("actor", actor_loss)
            if self.critic is not None:
                self.descend("critic", metrics["loss/critic"])
        if self.normal is not None:  # after the last use of what the actors normalised with
            self.normal.update(batch.obs[valid], self.optim.lr_factor)
        metrics |= train_own(self, self.encoder, batch.obs[valid])
        metrics |= {"policy/log_ratio": log_ratio[rows].abs(), "policy/learned_share": rows.float()}
        return Learned(1, {name: value.detach() for name, value in metrics.items()})

    def count_dropped(self, valid: Tensor, learned: Tensor) -> dict[str, Tensor]:
        """Metrics of the transitions that have no known end, from two masks [T, B]."""
        lost = (valid & ~learned).float().sum() / valid.sum().clamp(min=1)
        self.dropped += int((valid.any(0) & ~learned.any(0)).sum())
        fragments = torch.tensor(float(self.dropped))
        return {"policy/dropped_share": lost, "policy/dropped_fragments": fragments}

    def seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The networks' inputs at each step, and at its successor without gradient, [T, B, I]."""
        obs = self.encoder(batch.obs)
        with torch.no_grad():
            next_obs = self.encoder(batch.next_obs)
        if self.normal is not None:
            obs, next_obs = self.normal(obs), self.normal(next_obs)
        if self.memory is None:
            return obs, next_obs
        states = self.memory(obs, batch["memory"], batch.is_first)
        with torch.no_grad():
            after = self.memory.step(next_obs, states)
        h, next_h = (state[..., : self.memory.units] for state in (states, after))
        return torch.cat((obs, h), -1), torch.cat((next_obs, next_h), -1)

    def estimate(
        self, batch: Batch, log_ratio: Tensor, value: Tensor, next_value: Tensor, cut: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Advantage, before any importance weight, and value target, each [T, B]."""
        reward, discount = batch.reward, batch.discount
        if self.returns == "gae":
            return gae(reward, discount, value, next_value, cut, self.lam)
        if self.returns == "vtrace":
            limits: dict[str, Any] = {"rho_bar": self.rho_bar, "c_bar": self.c_bar, "rho_pg": None}
            target, advantage = vtrace(
                log_ratio, reward, discount, value, next_value, cut, lam=self.lam, **limits
            )
            return advantage, target
        if self.returns == "n_step":
            target = n_step_return(reward, discount, next_value, cut, self.n)
        else:
            target = monte_carlo(reward, discount, next_value, cut)
        return target - value, target
