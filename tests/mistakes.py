"""Mistakes in the code that shares memory, each a line of it that is another one, and which
scenario of tests/interleavings.py must show it."""

from __future__ import annotations

import functools
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

from paradigms.experience.channel import Channel
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.rollout import Rollout
from paradigms.experience.uniform import Uniform
from paradigms.loop.tasks import Tasks
from paradigms.runtime.journal import JournalWriter
from paradigms.weights.gossip import Vectors
from paradigms.weights.population import Population
from paradigms.weights.published import Weights
from paradigms.weights.reduced import Rows
from paradigms.weights.sharded import Shards
from tests import replay_scenarios, scenarios
from tests.interleavings import Scenario

SCENARIOS: dict[str, tuple[Scenario, int]] = {  # and so many preemptions
    "weights": (scenarios.published, 2),
    "shards": (scenarios.shards, 2),
    "rows": (scenarios.rows, 1),
    "population": (scenarios.population, 1),
    "averages": (scenarios.averaged, 2),
    "tasks": (scenarios.tasks, 1),
    "journal": (scenarios.journalled, 3),
    "channel": (replay_scenarios.sent, 2),
    "rollout": (replay_scenarios.consumed, 2),
    "uniform": (replay_scenarios.drawn, 2),
    "uniform, an actor replaced": (replay_scenarios.replaced, 2),
    "uniform, saved": (replay_scenarios.kept, 2),
    "frames": (functools.partial(replay_scenarios.drawn, 2), 1),
    "frames, an actor replaced": (functools.partial(replay_scenarios.replaced, 2), 1),
    "prioritized": (replay_scenarios.learned, 1),
}


@dataclass(frozen=True)
class Mistake:
    """A line of `owner.name` is another one."""

    why: str
    scenario: str
    owner: type
    name: str
    lines: tuple[tuple[str, str], ...]

    def made(self) -> Any:
        """The function, or property, with the mistake."""
        there = inspect.getattr_static(self.owner, self.name)
        function = there.fget if isinstance(there, property) else there
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.lines:
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile(source, f"<{self.why}>", "exec"), function.__globals__, found)
        return found[self.name]


def earlier(line: str, before: str) -> tuple[tuple[str, str], ...]:
    """`line` moves up, to right before the line that begins with `before`."""
    return (line + "\n", "pass\n"), (before, f"{line}; {before}")


def later(line: str, after: str) -> tuple[tuple[str, str], ...]:
    """`line` moves down, to right after the whole line `after`."""
    return (line + "\n", "pass\n"), (after, f"{after}; {line}")


SHOWN = "self._heads.array[stream, HEAD] = head + len(valid)"
FLOOR = "self._floors.array[stream, 0] = max(floor, intact)"
MISTAKES = [
    Mistake(
        "a version is shown before it is there", "weights", Weights, "publish",
        earlier("self._serial.array[1] = serial", "slot = serial % self.slots"),
    ),
    Mistake(
        "a version is begun when it is there", "weights", Weights, "publish",
        later("self._serial.array[0] = serial", "self._versions.array[slot] = version"),
    ),
    Mistake(
        "whether a version was overwritten is not asked", "weights", Weights, "_whole",
        (("if self._serial.array[0] - serial < self.slots:", "if True:"),),
    ),
    Mistake(
        "the number of a version is not asked for again", "weights", Weights, "version",
        (
            (
                "self._whole(lambda slot: None)[1]",
                "int(self._versions.array[int(self._serial.array[1]) % self.slots])",
            ),
        ),
    ),
    Mistake(
        "a shard is not looked at again", "shards", Shards, "read",
        ((" if marks[BEGUN] == version else None", ""),),
    ),
    Mistake(
        "a shard is compared with its newest version", "shards", Shards, "read",
        (("if marks[BEGUN] == version else", "if marks[BEGUN] == marks[FINISHED] else"),),
    ),
    Mistake(
        "a row is shown before it is there", "rows", Rows, "put",
        earlier("self._met.array[rank, 0] = meeting + 1", "at = meeting % 2"),
    ),
    Mistake(
        "a meeting begins before the last has come", "rows", Rows, "whole",
        (("> meeting", ">= meeting"),),
    ),
    Mistake(
        "a policy is not looked at again", "population", Population, "snapshot",
        (("if self._complete() == number:", "if True:"),),
    ),
    Mistake(
        "a round is complete before all have ended it", "population", Population, "complete",
        (("(self._ended.array[:, 0] > number)", "(self._ended.array[:, 0] >= number)"),),
    ),
    Mistake(
        "one of two vectors is not locked", "averages", Vectors, "average",
        (("with self.held[first], self.held[second]:", "with self.held[first]:"),),
    ),
    Mistake(
        "locks are taken in any order", "averages", Vectors, "average",
        (("first, second = sorted((rank, other))", "first, second = rank, other"),),
    ),
    Mistake(
        "a task is given before it is there", "tasks", Tasks, "assign",
        (
            ("row = self._row.array[rank]", "row = self._row.array[rank]; row[ASSIGNED] += 1"),
            ("    row[ASSIGNED] += 1", "    pass"),
        ),
    ),
    Mistake(
        "a result is taken before it is there", "tasks", Tasks, "finished",
        (("row[:, DONE] > row[:, TAKEN]", "row[:, ASSIGNED] > row[:, TAKEN]"),),
    ),
    Mistake(
        "a record is written in two pieces", "journal", JournalWriter, "flush",
        (
            (
                "os.write(self._file, self._buffer)",
                "os.write(self._file, self._buffer[:9]) + os.write(self._file, self._buffer[9:])",
            ),
        ),
    ),
    Mistake(
        "a fragment is shown before it is there", "channel", Channel, "put",
        earlier(
            "self._put.array[fragment.rank, 0] = sent + 1",
            "self._slot(fragment.rank, sent)[...] = fragment.data",
        ),
    ),
    Mistake(
        "a fragment is put over one that waits", "channel", Channel, "has_space",
        (("< self.depth", "<= self.depth"),),
    ),
    Mistake(
        "what was consumed meanwhile is saved", "rollout", Rollout, "save",
        (("if (self.taken == taken).all():", "if True:"),),
    ),
    Mistake(
        "a transition is shown before it is there", "uniform", Uniform, "add",
        earlier(SHOWN, "ring.put(at[:-1], transitions[valid])"),
    ),
    Mistake(
        "what is overwritten is gone only afterwards", "uniform", Uniform, "add",
        later(FLOOR, SHOWN),
    ),
    Mistake(
        "the observation at the write position overwrites nothing", "uniform", Uniform, "add",
        (("head + len(valid) + 1 - self.length", "head + len(valid) - self.length"),),
    ),
    Mistake(
        "whether transitions were overwritten is not asked", "uniform", Uniform, "columns",
        (("there = (serial >= self._floors.array[stream, 0]).all()", "there = True"),),
    ),
    Mistake(
        "frames before a transition are overwritten", "frames", Uniform, "add",
        ((" - self.length + self.history", " - self.length"),),
    ),
    Mistake(
        "an episode goes on into another one", "uniform, an actor replaced", Uniform, "columns",
        ((" and (closed == self._heads.array[:, CLOSED])[stream].all()", ""),),
    ),
    Mistake(
        "an episode is closed before its last observation is there",
        "uniform, an actor replaced", Uniform, "_close",
        later(
            'self.ring.end(np.array([previous]), ring["obs"][[head]])',
            'ring["truncated"][previous] = True',
        ),
    ),
    Mistake(
        "an episode that is saved goes on into another", "uniform, saved", Uniform, "save",
        (("int(self._heads.array[stream, CLOSED])", "0"),),
    ),
    Mistake(
        "a priority goes to whoever has the place now", "prioritized", Prioritized, "update",
        (("if not held.all():", "if False:"),),
    ),
    Mistake(
        "what came meanwhile counts as known", "prioritized", Prioritized, "_follow",
        (("np.maximum(known[moved], heads[moved])", "self.heads()[moved]"),),
    ),
]  # fmt: skip
