"""What goes with what: agents with paradigms and with envs, by the checks of the command line.

    python -m conf.matrix               # two tables, and a sentence for every pair that is refused
    python -m conf.matrix --markdown    # the tables for README.md; --write puts them there

Nothing is listed here: every YAML is composed, and what its class says that it needs, offers and
learns from is compared as `conf.check` does before a run.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conf import check
from conf.compose import Setup, compose
from conf.sentences import Wrong

HERE = Path(__file__).parent
README, BEGIN, END = HERE.parent / "README.md", "<!-- matrix -->", "<!-- end of matrix -->"
NO = "-"
Pair = tuple[str, str]


@dataclass
class Matrix:
    """`replay` of (agent, paradigm), and `fits`, the (agent, env) that go together; `refused`:
    pairs of both kinds that do not, each with the sentence that says why."""

    agents: list[str]
    paradigms: list[str]
    envs: list[str]
    replay: dict[Pair, str] = field(default_factory=dict)
    fits: set[Pair] = field(default_factory=set)
    refused: dict[Pair, str] = field(default_factory=dict)

    def tables(self) -> list[list[list[str]]]:
        """Two tables, the header first; agents that agree share a row."""
        ways = {a: tuple(self.replay.get((a, p), NO) for p in self.paradigms) for a in self.agents}
        worlds = {a: (" ".join(e for e in self.envs if (a, e) in self.fits),) for a in self.agents}
        return [
            [["agents", *self.paradigms], *together(ways)],
            [["agents", "envs"], *together(worlds)],
        ]


def matrix() -> Matrix:
    """Composes and checks every pair: some seconds."""
    worlds: dict[str, Setup] = {}
    for env in choices("env"):
        with contextlib.suppress(Wrong):  # env=gym leaves its id to the user
            worlds[env] = compose([f"env={env}"])
    found = Matrix(choices("agent"), choices("paradigm"), list(worlds))
    for agent, paradigm in itertools.product(found.agents, found.paradigms):
        try:
            setup = compose([f"agent={agent}", f"paradigm={paradigm}"])
            check.values(setup)
            found.replay[agent, paradigm] = setup.choices["replay"]
        except Wrong as error:
            found.refused[agent, paradigm] = str(error)
    for agent in found.agents:
        own = compose([f"agent={agent}"]).values
        for env, world in worlds.items():
            try:
                check.spaces(
                    Setup({**own, "env": world.values["env"]}, {"agent": agent, "env": env})
                )
                found.fits.add((agent, env))
            except Wrong as error:
                found.refused[agent, env] = str(error)
    return found


def choices(group: str) -> list[str]:
    """The YAML files of a group."""
    return sorted(path.stem for path in (HERE / group).glob("*.yaml"))


def together(rows: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """Layout of cells; those that are alike are one, with all their names."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, cells in rows.items():
        alike.setdefault(cells, []).append(name)
    return [[" ".join(names), *cells] for cells, names in alike.items()]


def plain(table: Sequence[Sequence[str]]) -> Iterable[str]:
    """The lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def markdown(table: Sequence[Sequence[str]]) -> Iterable[str]:
    """The lines of a GitHub table; names stand as code."""
    for number, row in enumerate(table):
        cells = (" ".join(f"`{word}`" if word != NO else NO for word in c.split()) for c in row)
        yield f"| {' | '.join(cells if number else row)} |"
        if number == 0:
            yield f"|{' --- |' * len(row)}"


def printed(found: Matrix) -> str:
    """The tables, and every pair that is refused with its reason."""
    blocks = ["\n".join(plain(table)) for table in found.tables()]
    reasons = [f"{agent}, {other}: {why}" for (agent, other), why in found.refused.items()]
    return "\n\n".join([*blocks, *(["\n".join(reasons)] if reasons else [])]) + "\n"


def for_readme(found: Matrix) -> str:
    """The tables, and the reasons of paradigms; those of envs are plain from their names."""
    blocks = ["\n".join(markdown(table)) for table in found.tables()]
    pairs = {pair: why for pair, why in found.refused.items() if pair[1] in found.paradigms}
    reasons = [f"- `{agent}`, `{paradigm}`: {why}." for (agent, paradigm), why in pairs.items()]
    return "\n\n".join([*blocks, *(["\n".join(reasons)] if reasons else [])]) + "\n"


def main(arguments: Sequence[str]) -> None:
    found = matrix()
    if "--write" in arguments:
        before, _, rest = README.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text(f"{before}{BEGIN}\n{for_readme(found)}{END}{after}", "utf-8")
    else:
        sys.stdout.write(for_readme(found) if "--markdown" in arguments else printed(found))


if __name__ == "__main__":
    main(sys.argv[1:])
