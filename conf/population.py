"""What is typed of a population: the paradigm of its members, by its word, and what it searches.
Everything here raises Wrong, or gives a ValueError on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from conf import schema
from conf.nodes import made
from conf.sentences import Wrong, and_, near, shown, words

HERE = Path(__file__).resolve().parent / "paradigm"
MORE = re.compile(r"# @package _global_|_target_: paradigms\.pbt\.PBT")  # than a member's paradigm


def typed(text: str) -> str:
    """`paradigm.of=hogwild` as Hydra chooses a YAML for a place; anything else as it is."""
    match = re.fullmatch(r"paradigm\.of=(\w+(,\w+)*)", text)
    if match is None:
        return text
    for word in match[1].split(","):
        if (HERE / f"{word}.yaml").exists() and word not in choices():
            raise Wrong(f"paradigm.of={word} sets more than a member runs: there are {of_those()}")
    return f"paradigm@paradigm.of={match[1]}"


def choices() -> list[str]:
    """The words of the paradigms that a member may run."""
    files = sorted(HERE.glob("*.yaml"))
    return [path.stem for path in files if not MORE.search(path.read_text("utf-8"))]


def of_those() -> str:
    return and_(choices())


def crossed(v: Mapping[str, Any]) -> None:
    """Checks what YAML alone shows."""
    of = v["paradigm"].get("of", {"_target_": ""})
    if not isinstance(of, dict) or "_target_" not in of:
        raise Wrong(f"paradigm.of={shown(of)} must be the word of a paradigm: {of_those()}")
    for name in v["paradigm"].get("search") or ():
        if name not in v["agent"] or name in schema.SPECIAL:
            known = [f"agent.{key}" for key in v["agent"]]
            raise Wrong(f"paradigm.search.{name} is no setting of the agent; {near(name, known)}")


def searched(v: Mapping[str, Any]) -> None:
    """Checks the ends of what is searched against the annotations of the agent's constructor. The
    form of it is right."""
    agent = v["agent"]
    hints = schema.takes(schema.found(agent["_target_"], "agent")).hints
    for name, said in (v["paradigm"].get("search") or {}).items():
        hint = hints.get(name, Any)
        for at, value in _ends(said):
            if not schema.fits(value, hint):
                raise Wrong(
                    f"paradigm.search.{name}.{at}={shown(value)} must be {words(hint, value)}"
                )
        numbers = isinstance(agent[name], float) or (
            schema.fits(0.5 + said.get("low", 0), hint) and not schema.fits("a word", hint)
        )
        if numbers and all(isinstance(said.get(end), int) for end in ("low", "high")):
            low, high = said["low"], said["high"]
            raise Wrong(
                f"paradigm.search.{name} between {low} and {high} gives whole numbers alone: write"
                f" low:{low:.1f} and high:{high:.1f}"
            )


def fits(v: Mapping[str, Any], make_agent: Callable[..., Any], spec: Any) -> None:
    """Builds the agents at the ends of what is searched. Raises ValueError where one cannot be
    built, or could not copy the others."""
    space = getattr(made(v["paradigm"], "paradigm"), "space", None)
    if space is not None:
        space().check(make_agent, spec)


def _ends(said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for choice in said.get("choices", ()):
        yield "choices", choice
    for end in ("low", "high"):
        if end in said:
            yield end, said[end]
