"""Gorila: what servers do to a sharded vector, what is discarded, and when a worker pulls."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from agents.base import Batch, Learned, Spec
from agents.dqn import DQN
from agents.ppo import PPO
from agents.sac import SAC
from paradigms.gorila import Gorila, Server
from paradigms.loop.drive import Driver
from paradigms.runtime.event import Event
from paradigms.sequential import Sequential
from paradigms.weights.remote import LEAST_NORMS, Outliers
from paradigms.weights.sharded import APPLY, Mail, Message, Shards, names_of
from tests.jobs import AGENTS, DISCRETE, ONCE, Pupil, job, run, sac

ONE, THREE = Gorila(), Gorila(shards=3)
BOUNDED: dict[str, Any] = {
    "hidden_sizes": (16,), "epochs": 2, "minibatches": 2,
    "normalise": True, "scale_reward": True, "max_log_std": -0.5,
}  # fmt: skip
PUPILS = {
    "bounds and statistics": Pupil(
        functools.partial(PPO, **BOUNDED), replay=AGENTS["ppo"].replay, changes=ONCE
    ),
    "targets copied by count": Pupil(
        functools.partial(DQN, hidden_sizes=(16,), period=5), DISCRETE
    ),
    "clipped": Pupil(functools.partial(sac, clip=0.1)),
}


@pytest.mark.parametrize("pupil", PUPILS.values(), ids=PUPILS)
def test_one_worker_equals_sequential_whatever_is_moved(pupil: Pupil) -> None:
    alone = run(Sequential(), pupil.job())
    for paradigm in (ONE, THREE, Gorila(max_staleness=0)):
        ended = run(paradigm, pupil.job())
        alone.same_as(ended)
        assert ended.totals["lost"] == ended.totals["torn"] == 0


# What is discarded


class Shaken(SAC):
    """One gradient in a hundred, of the critic alone, is a thousand times what it is."""

    def __init__(self, spec: Spec, seed: int, device: str = "cpu") -> None:
        super().__init__(spec, seed, device, hidden_sizes=(16, 16))
        self.calls = 0

    def descend(self, group: str, loss: torch.Tensor, *others: str) -> None:
        self.calls += group == "critic"
        shaken = group == "critic" and self.calls % 100 == 99
        super().descend(group, 1000 * loss if shaken else loss, *others)


def test_a_gradient_a_thousand_times_too_large_is_discarded_and_counted() -> None:
    shaken = job(agent=Shaken, env_steps=352)
    ended = run(Gorila(outlier_deviations=30.0), shaken)
    counts = dict(zip(("critic", "actor", "temperature"), ended.result.final.counts, strict=True))
    assert ended.totals["lost"] == 3
    assert ended.totals["updates"] == counts["critic"] == counts["actor"] - 3 > 300
    assert run(Gorila(), shaken).totals["lost"] == 0


def test_a_norm_is_judged_by_those_before_it_and_a_lasting_change_is_followed() -> None:
    outliers = Outliers(4.0)
    generator = torch.Generator().manual_seed(0)

    def judged(scale: float) -> bool:
        return outliers(scale * torch.randn(64, generator=generator))

    assert not outliers(torch.full((4,), 1e6)), "there is nothing to judge the first ones by"
    outliers = Outliers(4.0)
    assert not any(judged(1.0) for _ in range(LEAST_NORMS + 200))
    assert judged(1000.0)
    assert not judged(1.0)
    assert sum(judged(3.0) for _ in range(1000)) < 500
    assert not any(judged(3.0) for _ in range(100))
    assert Outliers(None)(torch.full((4,), torch.inf)) is False


def server(max_staleness: int | None, shards: int = 1) -> tuple[Server, Shards, Mail, Driver]:
    begun = Driver(job(), workers=1)
    vector = begun.vector
    held, mail = Shards(vector, shards), Mail(vector, workers=1, shards=shards, depth=4)
    return Server(begun.components, 0, held, mail, max_staleness), held, mail, begun


class Alone:
    """A link of nobody else, which stops when nothing waits."""

    stopping, life = False, 0

    def __init__(self, mail: Mail) -> None:
        self.mail = mail

    def go(self, until: Any) -> bool:
        return bool(self.mail.waiting(0))

    def wait(self, what: str, ready: Any, **options: Any) -> bool:
        return bool(ready())

    def pick(self, kind: str, ready: Any) -> int | None:
        return next(iter(ready()), None)

    def event(self, kind: str, **fields: int) -> Any:
        return Event(None, kind, **fields)


def gradient(vector: Any, name: str, version: int) -> Message:
    number = names_of(vector.agent).index(name)
    size = vector.span(name).stop - vector.span(name).start
    return Message(APPLY, number, 0, 1.0, True, torch.ones(size), [version])


def test_a_message_that_a_server_died_at_is_done_as_far_as_it_came_and_lost() -> None:
    dead, shards, mail, begun = server(None)
    for _ in range(2):
        mail.send(0, gradient(begun.vector, "critic", 0))
    shards.begin(0, 0)
    assert shards.read(0, begun.vector, names_of(begun.agent)) is None
    link: Any = Alone(mail)
    link.life = 1
    dead.run(link)
    assert mail.all_done(0)
    assert shards.read(0, begun.vector, names_of(begun.agent)) is not None
    ledger = begun.ledger
    assert ledger.total("learns") == 2
    assert ledger.total("updates") == ledger.total("lost") == 1


@pytest.mark.parametrize(("max_staleness", "taken"), [(None, 3), (2, 3), (1, 2), (0, 1)])
def test_a_gradient_that_is_too_old_is_discarded_and_counted(
    max_staleness: int | None, taken: int
) -> None:
    """Three gradients that were computed at the same version."""
    role, shards, mail, begun = server(max_staleness)
    before = shards.floats.clone()
    for _ in range(3):
        mail.send(0, gradient(begun.vector, "critic", version=0))
    role.run(Alone(mail))  # type: ignore[arg-type]
    assert shards.counts[0].tolist() == [taken, 0, 0]
    assert begun.ledger.total("updates") == taken
    assert begun.ledger.total("lost") == 3 - taken
    assert shards.version(0) == taken
    assert not torch.equal(shards.floats, before)
    mail.send(0, gradient(begun.vector, "critic", version=taken))
    mail.send(0, gradient(begun.vector, "actor", version=0))
    role.run(Alone(mail))  # type: ignore[arg-type]
    assert shards.counts[0].tolist() == [taken + 1, 1, 0], "each group has a count of its own"


def test_a_worker_sends_the_version_that_it_has_pulled() -> None:
    """Else nothing would ever be too old: two workers in turn make each other's gradients old."""
    held = dataclasses.replace(ONE, max_staleness=0)
    ended = run(held, job(workers=3))
    assert ended.totals["lost"] > 0
    counted = int(ended.result.final.counts[0])
    assert 8 < counted == ended.totals["updates"] < ended.totals["env_steps"] - 32
    assert run(ONE, job(workers=3)).totals["lost"] == 0


# When a worker pulls


@pytest.mark.parametrize("sync_period", [1, 4])
def test_the_copy_moves_every_sync_period_learns(
    sync_period: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In between the agent learns from one and the same policy."""
    seen: list[bytes] = []
    learn = SAC.learn

    def noted(self: SAC, batch: Batch) -> Learned:
        seen.append(self.vector.flat("actor").numpy().tobytes())
        return learn(self, batch)

    monkeypatch.setattr(SAC, "learn", noted)
    ended = run(Gorila(sync_period=sync_period), job())
    assert ended.totals["updates"] == len(seen) > 64
    changes = sum(one != other for one, other in itertools.pairwise(seen))
    # a learn after a pull fetches its own steps, too
    expected = len(seen) - 1 if sync_period == 1 else 2 * (len(seen) // sync_period) - 1
    assert abs(changes - expected) <= 2


def test_shards_that_have_made_other_numbers_of_updates_count_as_torn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = [1, 2]
    read = Shards.read

    def uneven(self: Shards, shard: int, *args: Any) -> Any:
        version, made = read(self, shard, *args)  # type: ignore[misc]
        return version, made + counts[shard] if pulling else made

    monkeypatch.setattr(Shards, "read", uneven)
    pulling = False
    assert run(Gorila(shards=2), job(env_steps=64)).totals["torn"] == 0
    pulling = True
    ended = run(Gorila(shards=2), job(env_steps=64))
    assert ended.totals["torn"] > 8


def test_a_gradient_is_clipped_whole_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    send = Mail.send

    def noted(self: Mail, rank: int, message: Message) -> None:
        if message.kind == APPLY:
            norms.append(float(torch.linalg.vector_norm(message.floats)))
        send(self, rank, message)

    monkeypatch.setattr(Mail, "send", noted)
    run(THREE, job(agent=functools.partial(sac, clip=0.01)))
    np.testing.assert_array_less(norms, 0.0101)
    assert len(norms) > 100
