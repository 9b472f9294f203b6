"""Which agents run with which paradigms, replays and environments, by the command line's checks.

    python -m conf.matrix               # the tables, and a sentence for every pair that is refused
    python -m conf.matrix --markdown    # as docs/combinations.md has them; --write puts them there

No pair is listed here: every YAML is composed, and what its class declares in `needs`, `offers` and
`replays` is compared by `conf.check`, as before a run.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from conf import check
from conf.compose import Setup, compose
from conf.sentences import Wrong

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "combinations.md"
BEGIN, END = "<!-- begin: matrix -->", "<!-- end: matrix -->"
NO = "-"
Pair = tuple[str, str]


@dataclass
class Matrix:
    """replay: the replay that an agent's YAML chooses, for each (agent, paradigm) that can run.
    replays: all that an agent can learn from. fits: the (agent, env) that can run. refused:
    the pairs of an agent and a paradigm, replay or env that cannot, each with the reason."""

    agents: list[str]
    paradigms: list[str]
    envs: list[str]
    replay: dict[Pair, str] = field(default_factory=dict)
    replays: dict[str, list[str]] = field(default_factory=dict)
    fits: set[Pair] = field(default_factory=set)
    refused: dict[Pair, str] = field(default_factory=dict)

    def tables(self) -> list[list[list[str]]]:
        """Three tables, the header first: paradigms, replays, envs. Agents with equal cells share a
        line."""
        ways = {a: tuple(self.replay.get((a, p), NO) for p in self.paradigms) for a in self.agents}
        kept = {a: (" ".join(self.replays.get(a, ())),) for a in self.agents}
        worlds = {a: (" ".join(e for e in self.envs if (a, e) in self.fits),) for a in self.agents}
        return [
            [["agents", *self.paradigms], *together(ways)],
            [["agents", "replays"], *together(kept)],
            [["agents", "envs"], *together(worlds)],
        ]


def matrix() -> Matrix:
    """Composes and checks every pair; takes about ten seconds."""
    worlds: dict[str, Setup] = {}
    for env in choices("env"):
        with contextlib.suppress(Wrong):  # env=gym leaves its id to the user
            worlds[env] = compose([f"env={env}"])
    found = Matrix(choices("agent"), choices("paradigm"), list(worlds))
    for agent, paradigm in itertools.product(found.agents, found.paradigms):
        try:
            setup = compose([f"agent={agent}", f"paradigm={paradigm}"])
            check.values(setup)
            ignores = check.attributes(setup.values, "paradigm").get("ignores", ())
            found.replay[agent, paradigm] = (
                "none" if "replay" in ignores else setup.choices["replay"]
            )
        except Wrong as error:
            found.refused[agent, paradigm] = str(error)
    for agent, replay in itertools.product(found.agents, choices("replay")):
        try:
            check.values(compose([f"agent={agent}", f"replay={replay}", *whole_fragments(replay)]))
            found.replays.setdefault(agent, []).append(replay)
        except Wrong as error:
            found.refused[agent, replay] = str(error)
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


def whole_fragments(replay: str) -> tuple[str, ...]:
    """The settings that a replay needs which consumes whole fragments once; none for another."""
    values = yaml.safe_load((HERE / "replay" / f"{replay}.yaml").read_text("utf-8"))
    once = check.attributes({"replay": values}, "replay")["once"]
    return ("replay.batch_size=null", "updates_per_env_step=null", "warmup=0") if once else ()


def choices(group: str) -> list[str]:
    """The YAML files of a group."""
    return sorted(path.stem for path in (HERE / group).glob("*.yaml"))


def together(rows: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """The lines of a table: names with equal cells share one."""
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
    """The lines of a Markdown table, its names as code."""
    for number, row in enumerate(table):
        cells = (" ".join(f"`{word}`" if word != NO else NO for word in c.split()) for c in row)
        yield f"| {' | '.join(cells if number else row)} |"
        if number == 0:
            yield f"|{' --- |' * len(row)}"


def printed(found: Matrix) -> str:
    """The tables, and the reason for every pair that is refused."""
    blocks = ["\n".join(plain(table)) for table in found.tables()]
    reasons = [f"{agent}, {other}: {why}" for (agent, other), why in found.refused.items()]
    return "\n\n".join([*blocks, *(["\n".join(reasons)] if reasons else [])]) + "\n"


def page(found: Matrix) -> str:
    """The tables in Markdown, and the reasons where a paradigm is refused."""
    blocks = ["\n".join(markdown(table)) for table in found.tables()]
    pairs = {pair: why for pair, why in found.refused.items() if pair[1] in found.paradigms}
    reasons = [f"- `{agent}`, `{paradigm}`: {why}." for (agent, paradigm), why in pairs.items()]
    return "\n\n".join([*blocks, *(["\n".join(reasons)] if reasons else [])]) + "\n"


def main(arguments: Sequence[str]) -> None:
    found = matrix()
    if "--write" in arguments:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{page(found)}\n{END}{after}", "utf-8")
    else:
        sys.stdout.write(page(found) if "--markdown" in arguments else printed(found))


if __name__ == "__main__":
    main(sys.argv[1:])
