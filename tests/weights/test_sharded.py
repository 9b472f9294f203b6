"""A vector in shards: what lies where, what is read whole, and the mail to its servers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agents.base import Agent
from agents.parts.vector import ALIGN
from agents.ppo import PPO
from paradigms.weights.sharded import APPLY, Mail, Message, Shards, cut, names_of
from tests.jobs import job, laid, sac


def agent() -> Agent:
    return laid(sac(job().spec, 0, average=0.1))


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_every_number_lies_in_one_shard_cut_where_adam_may_be_cut(shards: int) -> None:
    vector = agent().vector
    owners = np.zeros(len(vector.floats), np.int64)
    for name in names_of(vector.agent):
        for shard in range(shards):
            here = cut(vector, name, shard, shards)
            owners[here] += 1
            assert (here.start - vector.span(name).start) % ALIGN == 0
        assert (owners[vector.span(name)] == 1).all()
        sizes = [cut(vector, name, n, shards) for n in range(shards)]
        widths = [span.stop - span.start for span in sizes]
        assert max(widths) - min(widths) <= ALIGN


def test_a_group_and_what_belongs_to_it_are_cut_alike() -> None:
    vector = agent().vector
    for names in (("critic", "critic.m", "critic.v", "target"), ("actor", "actor.m", "average")):
        for shard in range(3):
            spans = [cut(vector, name, shard, 3) for name in names]
            starts = {
                span.start - vector.span(name).start
                for span, name in zip(spans, names, strict=True)
            }
            assert len(starts) == 1
            assert len({span.stop - span.start for span in spans}) == 1


def test_sums_stay_together() -> None:
    vector = laid(PPO(job().spec, 0, normalise=True)).vector
    assert cut(vector, "normal", 0, 3) == vector.span("normal")
    for shard in (1, 2):
        here = cut(vector, "normal", shard, 3)
        assert here.start == here.stop


def test_a_shard_is_read_whole_or_not_at_all() -> None:
    vector, reader = agent().vector, agent().vector
    shards = Shards(vector, 2)
    shards.floats.add_(1)
    shards.counts[1] = 7
    names = names_of(vector.agent)
    shards.begin(1, 0)
    assert shards.read(1, reader, names) is None
    got = shards.read(0, reader, names)
    assert got is not None and got[0] == 0
    untouched = cut(vector, "critic", 1, 2)
    assert torch.equal(reader.floats[untouched], vector.floats[untouched])
    shards.finish(1)
    version, counts = shards.read(1, reader, names) or (-1, np.zeros(0))
    assert version == shards.version(1) == 1
    assert counts.tolist() == [7, 7, 7]
    size = vector.span("critic.m").start
    assert torch.equal(reader.floats[:size], vector.floats[:size] + 1)


def test_what_an_agent_has_is_what_shards_and_their_snapshots_have() -> None:
    vector = agent().vector
    vector.counts += 3
    for group in vector.agent.groups.values():
        group.step += 5
    shards = Shards(vector, 2)
    assert (shards.steps == 5).all()
    snapshot = shards.snapshot("all", len(vector.floats))
    assert torch.equal(snapshot.floats, vector.floats)
    assert torch.equal(snapshot.counts, vector.counts)
    assert snapshot.version == 3


def message(number: int, shards: int = 2) -> Message:
    versions = [number, 1][:shards]
    floats = torch.full((16,), float(number))
    return Message(APPLY, number % 3, 0, number / 2, number == 0, floats, versions)


def test_every_server_takes_a_workers_messages_in_their_order() -> None:
    mail = Mail(agent().vector, workers=2, shards=2, depth=3)
    assert mail.waiting(0) == mail.waiting(1) == [] and mail.all_done(1)
    for number in range(3):
        assert mail.has_space(1)
        mail.send(1, message(number))
    assert not mail.has_space(1) and mail.has_space(0)
    for shard in (0, 1):
        assert mail.waiting(shard) == [1]
        for number in range(3):
            assert mail.has_space(1) == (shard == 1 and number > 0), "the slowest server counts"
            got = mail.peek(shard, 1)
            assert got[:5] == message(number)[:5] and got.versions == message(number).versions
            assert torch.equal(got.floats, message(number).floats)
            assert not mail.all_done(1)
            mail.done(shard, 1)
        assert mail.waiting(shard) == []
    assert mail.all_done(1)
    assert mail.bytes_moved == 3 * 64


def test_a_server_is_over_when_all_have_ended_and_nothing_waits() -> None:
    mail = Mail(agent().vector, workers=2, shards=1, depth=3)
    mail.send(0, message(1, shards=1))
    mail.end(0)
    assert not mail.over(0)
    mail.end(1)
    assert not mail.over(0)
    mail.done(0, 0)
    assert mail.over(0)


def test_numbers_that_no_float32_holds_arrive() -> None:
    mail = Mail(agent().vector, workers=1, shards=2, depth=1)
    sent = Message(APPLY, 1, 2, math.pi, True, torch.zeros(16), [1 << 40, 3])
    mail.send(0, sent)
    assert mail.peek(0, 0)[:5] == sent[:5]
    assert mail.peek(0, 0).versions == [1 << 40, 3]
