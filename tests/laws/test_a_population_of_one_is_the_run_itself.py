"""Law 23: a population of one member is the wrapped paradigm to the bit; a larger one ends with the
same bits inline and in processes; who copies takes the donor's whole vector, and keeps its own
transitions and counters, with settings of its own.

(That it goes on after a death or a resume with the same bits is in test_a_population_goes_on.py.)
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch

from agents.base import Agent, Spec
from agents.ppo import PPO
from conf import trust
from conf.compose import compose
from conf.sentences import Wrong
from paradigms.dcollect import DCollect
from paradigms.evolution import ES
from paradigms.hogwild import Hogwild
from paradigms.pbt import PBT, PBTMember
from paradigms.sequential import Sequential
from tests.jobs import AGENTS, Idler, job, run, sac, world

LR = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}


@pytest.mark.parametrize("agent", ["sac", "ppo", "reinforce, fifo"])
def test_one_member_is_the_run_itself(agent: str) -> None:
    few = AGENTS[agent].job(env_steps=112)
    for of in (Sequential(), DCollect(), Hogwild()):
        alone, one = run(of, few), run(PBT(of, members=1, ready=40), few)
        assert torch.equal(alone.floats, one.floats)
        assert torch.equal(alone.result.final.counts, one.result.final.counts)
        for key in ("env_steps", "updates", "episodes", "episode_length_mean"):
            assert alone.totals[key] == one.totals[key], key


def test_a_member_evolves_too() -> None:
    alone, one = run(ES(pairs=2), job(env_steps=300)), run(PBT(ES(pairs=2), 1), job(env_steps=300))
    assert torch.equal(alone.floats, one.floats)


def population(crew: str, **changes: Any) -> tuple[Any, list[str]]:
    notes: list[str] = []
    made = PBT(Sequential(), members=4, ready=60, search=LR)
    ended = run(
        made,
        job(env_steps=800, crew=crew, updates_per_env_step=0.1, **changes),
        lambda progress: notes.extend(words for words, _ in progress.notes),
    )
    return ended, notes


@pytest.mark.slow
def test_a_population_has_the_same_bits_inline_and_in_processes() -> None:
    (inline, said), (processes, also) = (population(crew) for crew in ("inline", "process"))
    assert torch.equal(inline.floats, processes.floats)
    assert inline.totals["env_steps"] == processes.totals["env_steps"] >= 800
    assert inline.totals["updates"] == processes.totals["updates"]
    assert sorted(said) == sorted(also)
    assert 1 <= len(said) <= 3 and "goes on from member-" in said[0] and "lr " in said[0]


class Noted:
    """A factory of agents that notes the learning rates and the weights they go on from."""

    def __init__(self) -> None:
        self.made: list[tuple[float, Agent]] = []

    def __call__(self, spec: Spec, seed: int, device: str = "cpu", *, lr: float = 1e-3) -> Agent:
        self.made.append((lr, sac(spec, seed, device, lr=lr)))
        return self.made[-1][1]


def test_who_copies_does_not_take_the_donors_learning_rate() -> None:
    factory = Noted()
    _, notes = population("inline", make_agent=factory)
    rates = [lr for lr, _ in factory.made]
    begun = rates[4:]  # three are tried before, and one is the run's own
    assert len({*begun}) == 4 + len(notes), "survivors go on with the agent that they have"
    for lr, agent in factory.made:
        assert all(group.lr == lr for group in agent.groups.values())
    assert all(1e-5 <= lr <= 1e-1 for lr in rates)


def test_a_score_is_of_the_episodes_since_the_selection_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, publish = [((0.0, 0), 0.0)], PBTMember.publish

    def noted(self: PBTMember, state: dict[str, Any], *, ended: bool) -> None:
        publish(self, state, ended=ended)
        said.append((self.returns, self.score))

    monkeypatch.setattr(PBTMember, "publish", noted)
    few = job(world("Counting"), Idler, env_steps=200)
    run(PBT(Sequential(), members=1, ready=60), few)
    assert len(said) == 5
    for ((before, first), _), ((returns, episodes), score) in itertools.pairwise(said):
        assert score == pytest.approx((returns - before) / (episodes - first))
    scores = [score for _, score in said[1:]]
    assert scores == sorted(scores), "a return of this env is larger than the one before"


def test_without_exploitation_nobody_copies() -> None:
    told: list[dict[str, float]] = []
    few = job(env_steps=800, updates_per_env_step=0.1)
    made = PBT(Sequential(), members=4, ready=60, search=LR, exploit=False)
    run(made, few, lambda progress: told.append(progress.metrics))
    for rank in range(4):
        at = f"member-{rank}"
        of_one = [metrics for metrics in told if f"{at}/parent" in metrics]
        assert len(of_one) >= 3 and all(one[f"{at}/parent"] == rank for one in of_one)
        assert len({one[f"{at}/lr"] for one in of_one}) == 1
        assert all(f"{at}/return" in one for one in of_one)


def test_a_normalisers_statistics_and_moments_are_copied() -> None:
    normal = functools.partial(PPO, hidden_sizes=(8,), normalise=True, epochs=1, minibatches=1)
    few = AGENTS["ppo"].job(make_agent=normal, env_steps=480)
    ended = run(PBT(Sequential(), members=2, ready=60, search=LR), few)
    assert ended.floats.isfinite().all() and ended.totals["env_steps"] >= 480


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"lr": {"low": 1.0}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": 2, "high": 1}}, r"paradigm\.search\.lr"),
        ({"lr": {"choices": []}}, r"paradigm\.search\.lr"),
        ({"lr": {"choices": 3}}, r"paradigm\.search\.lr"),
        ({"lr": {"choices": "word"}}, r"paradigm\.search\.lr"),
        ({"lr": {"choices": [{"_target_": "agents.parts.schedule.Factor"}]}}, "numbers and words"),
        ({"lr": {"low": 0.0, "high": float("inf")}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": False, "high": True}}, r"paradigm\.search\.lr"),
        ({"lr": {"low": 0.1, "high": 1.0, "log": "yes"}}, r"paradigm\.search\.lr"),
        ({"lr": 3}, r"paradigm\.search\.lr=3 must be"),
        ({"entropy": {"start": {"low": 0.0, "high": 1.0}}}, r"paradigm\.search\.entropy"),
    ],
)
def test_a_range_that_is_none_is_refused(search: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PBT(Sequential(), search=search)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"lrr": {"low": 0.1, "high": 1.0}}, r"not lrr=0\.1: .*unexpected keyword argument 'lrr'"),
        ({"gamma": {"low": 0.5, "high": 1.5}}, r"not gamma=1\.5: agent\.gamma=1\.5 must lie in"),
        ({"hidden_sizes": {"choices": [[16, 16], [32]]}}, r"hidden_sizes=\[32\] gives the agent"),
        ({"hidden_sizes": {"choices": [[32]]}}, r"leave it out, and compare such runs by -m agent"),
        ({"average": {"low": 0.0, "high": 0.1}}, r"search\.average=0\.1 gives the agent"),
        ({"store_q": {"choices": [False, True]}}, r"search\.store_q=True gives the agent"),
    ],
)
def test_a_setting_that_members_cannot_copy_is_refused(search: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run(PBT(Sequential(), search=search), job())


def test_any_other_setting_of_the_agent_is_searched() -> None:
    """Whole numbers, lists, words and truths; members copy each other and go on."""
    search: dict[str, Any] = {
        "n_step": {"low": 1, "high": 4},
        "betas": {"choices": [[0.5, 0.9], [0.9, 0.999]]},
        "noise": {"choices": ["white", "pink"]},
        "clip": {"choices": [None, 1.0]},
        "gamma": {"low": 0.9, "high": 0.999},
    }
    notes: list[str] = []
    made = PBT(Sequential(), members=2, ready=60, search=search)
    ended = run(
        made,
        job(env_steps=480, updates_per_env_step=0.1),
        lambda progress: notes.extend(words for words, _ in progress.notes),
    )
    assert ended.floats.isfinite().all() and ended.totals["env_steps"] >= 480
    assert notes and all(f"{name}_choice " in notes[0] for name in ("betas", "noise", "clip"))


def test_a_stored_run_names_a_paradigm_as_the_members_own() -> None:
    stored = compose(["paradigm=pbt"]).values
    trust.check(stored, ())
    stored["paradigm"]["of"]["_target_"] = "paradigms.runtime.crew.Crew"
    with pytest.raises(Wrong, match=r"paradigm\.of\._target_=paradigms\.runtime\.crew\.Crew"):
        trust.check(stored, ())
