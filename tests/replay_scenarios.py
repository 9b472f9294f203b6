"""What processes do at once to channels and replays, and what must hold: scenarios for
tests/interleavings.py.

There is one stream, and fragments have one transition, all of whose columns follow from its
`content`: every third one ends its episode. Until an actor is replaced, contents are the serial
numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box

from agents.base import ROW, Batch, Key, Spec
from paradigms.experience.channel import Channel
from paradigms.experience.layout import Fragment
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from tests.interleavings import wait
from tests.scenarios import Made

SIZE = {"writers": 1, "num_envs": 1, "rollout_length": 1}
WINDOW, HEAD = 2, 4  # transitions that may be drawn, and how many there have been at the beginning
REPLACED = 51  # the first content of an actor that replaces another one at HEAD


def spec(stack: int) -> Spec:
    """Observations of two numbers, or stacks of two frames of one."""
    obs = Key((2,)) if stack == 1 else Key((1, 1, 2), "uint8")
    keys = {**ROW, "obs": obs, "action": Key((1,)), "note": Key(dtype="int64")}
    box = Box(0, 255, obs.shape, np.dtype(obs.dtype).type)
    return Spec(box, Box(-1, 1, (1,), np.float32), stack=stack, keys=keys)


SPECS = {stack: spec(stack) for stack in (1, 2)}


@functools.cache
def fragment(number: int, content: int | None = None, stack: int = 1) -> Fragment:
    """The fragment of this number; it is only read."""
    content = number if content is None else content
    layout = Uniform(SPECS[stack], capacity=1, **SIZE).layout
    made = layout.empty(0)
    row = made.transitions
    row["is_first"], row["terminated"], row["valid"] = content % 3 == 0, content % 3 == 2, True
    row["action"], row["reward"], row["note"], row["version"] = -content, *[content] * 3
    row["obs"] = layout.kept(shown(before(content), content, stack))
    made.final_obs[...] = layout.kept(shown(content, 100 + content, stack))
    made.next_obs[...] = layout.kept(shown(content, content + 1, stack))
    made.number, made.n_valid = number, 1
    return made


def before(content: int) -> int:
    return content - (content % 3 > 0)


def shown(older: int, newer: int, stack: int) -> np.ndarray:
    key = SPECS[stack].keys["obs"]
    return np.array([older, newer], key.dtype).reshape(key.shape)


def whole(got: Fragment, number: int) -> None:
    assert (got.data.copy() == fragment(number).data).all(), f"fragment {number} is whole"


def agree(batch: Batch, contents: dict[int, int] | None = None) -> None:
    """Every transition of a batch is one that there was, all of it."""
    for at, serial in enumerate(batch.index.tolist()):  # of one stream
        content = (contents or {}).get(serial, serial)
        columns = ("note", "version", "reward", "action", "obs", "next_obs")
        read = [batch[name][at].flatten().tolist() for name in columns]
        later = 100 + content if content % 3 == 2 else content + 1
        pairs = [before(content), content], [content, later]
        assert read == [[content], [content], [content], [-content], *map(list, pairs)]


def sent() -> Made:
    """A worker that puts fragments into its channel, and the learner that gets them."""
    channel = Channel(fragment_layout(), 1, depth=2)

    def put() -> None:
        for number in range(3):
            wait(lambda: channel.has_space(0))
            channel.put(fragment(number))

    def get() -> None:
        for number in range(3):
            wait(channel.filled)
            whole(channel.get(0), number)
            channel.free(0)

    def check() -> None:
        assert channel.waiting() == 0, "nothing is left, or taken twice"

    return [put, get], check


@functools.cache
def fragment_layout() -> Any:
    return Uniform(SPECS[1], capacity=1, **SIZE).layout


class Peeked(Channel):
    """A channel whose fragments are read when they are looked at: what NumPy copies from a watched
    array to a plain one by itself, nobody sees."""

    def peek(self, rank: int, number: int) -> Fragment:
        return Fragment(rank, super().peek(rank, number).data.copy())


def consumed() -> Made:
    """A worker that consumes its own fragments, and the main process, which saves them."""
    replay = Rollout(SPECS[1], capacity=2, **SIZE)
    replay._ring = Peeked(replay.layout, 1, 2)

    def work() -> None:
        for number in range(3):
            replay.add(fragment(number))
            if number:
                batch = replay.sample(0, torch.Generator())
                assert batch.note.item() == number - 1, "each once, in order"

    def save() -> None:
        state = replay.save()
        records = np.asarray(state["fragments"]).reshape(-1).view(replay.layout.fragment)
        numbers = records["number"].tolist()
        for at, number in enumerate(numbers):
            whole(Fragment(0, records[at : at + 1].reshape(())), number)
        assert numbers == [*range(int(state["heads"][0]))][-len(numbers) or HEAD :]

    return [work, save], lambda: None


def made(kind: type[Uniform] = Uniform, stack: int = 1, **options: Any) -> Any:
    """A replay whose ring has place for little more than may be drawn, with HEAD transitions."""
    replay = near(kind(SPECS[stack], capacity=WINDOW, **SIZE, **options))
    replay.load(state(kind, stack))
    return replay


def near(replay: Any) -> Any:
    """The replay with a shorter ring, in which the writer soon comes round."""
    replay.length = WINDOW + 2 + replay.history
    replay.ring = type(replay.ring)(replay.layout, streams=1, length=replay.length)
    return replay


@functools.cache
def state(kind: type[Uniform], stack: int) -> dict[str, Any]:
    replay = near(kind(SPECS[stack], capacity=WINDOW, **SIZE))
    for number in range(HEAD):
        replay.add(fragment(number, stack=stack))
    return replay.save()


def drawn(stack: int = 1) -> Made:
    """A writer that comes round, and a reader."""
    replay = made(stack=stack)

    def write() -> None:
        for number in (HEAD, HEAD + 1):
            replay.add(fragment(number, stack=stack))

    def read() -> None:
        agree(replay.sample(4, torch.Generator().manual_seed(0)))

    return [write, read], lambda: None


def replaced(stack: int = 1) -> Made:
    """The first fragment of an actor that replaces another one, and a reader."""
    replay = made(stack=stack)

    def write() -> None:
        replay.add(fragment(HEAD, REPLACED, stack))

    def read() -> None:
        agree(replay.sample(4, torch.Generator().manual_seed(0)), {HEAD: REPLACED})

    return [write, read], lambda: None


def kept() -> Made:
    """The first fragment of an actor that replaces another one, and a checkpoint."""
    replay = made()

    def write() -> None:
        replay.add(fragment(HEAD, REPLACED))

    def save() -> None:
        again = near(Uniform(SPECS[1], capacity=WINDOW, **SIZE))
        again.load(replay.save())
        agree(again.sample(4, torch.Generator().manual_seed(0)), {HEAD: REPLACED})

    return [write, save], lambda: None


def learned() -> Made:
    """A writer, and a learner whose priorities come a batch late, as in dupdate."""
    replay, given = made(Prioritized, alpha=1.0, epsilon=1e-9), dict[int, float]()

    def write() -> None:
        for number in (HEAD, HEAD + 1):
            replay.add(fragment(number))

    def learn() -> None:
        generator = torch.Generator().manual_seed(0)
        batches = [replay.sample(4, generator) for _ in range(2)]
        for batch in batches:
            agree(batch)
            priority = batch.index / 64
            given.update(zip(batch.index.tolist(), priority.tolist(), strict=True))
            replay.update(batch.index, priority)
            look()
        replay.sample(4, generator)
        look()

    def look() -> None:
        windows = replay._own_windows()
        for serial in range(int(windows.first[0]), int(windows.head[0])):
            power = windows.trees.values(np.array([0]), np.array([serial % WINDOW]))[0]
            expected = given.get(serial, 1.0)  # the largest that there was
            assert abs(power - expected) < 1e-6, f"the priority of {serial} is its own"

    return [write, learn], lambda: None
