"""What is said to a user who typed something that cannot run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Wrong(Exception):
    """What was typed cannot run; the text is one sentence that says what to change."""


def near(key: str, known: Iterable[str]) -> str:
    """The keys that may have been meant, else those beside it."""
    everything = [k for k in known if k != key]
    parent, _, last = key.rpartition(".")
    depth = parent.count(".") + 1 if parent else 0
    beside = {k.split(".")[depth] for k in everything if not parent or k.startswith(f"{parent}.")}
    beside = {name for name in beside if not name.startswith("_")}
    close = [k for k in everything if k.split(".")[-1] == last]
    if not close:
        path = f"{parent}." if parent else ""
        close = [path + n for n in difflib.get_close_matches(last, beside, n=2, cutoff=0.7)]
    if not close and not parent:
        names = {k.split(".")[-1]: k for k in reversed(everything)}
        close = [names[n] for n in difflib.get_close_matches(last, names, n=2, cutoff=0.7)]
    if close:
        return f"did you mean {or_(close)}?"
    return f"there are {and_(beside)}" if beside else f"{parent} has no settings"


def line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def and_(names: Iterable[str]) -> str:
    return " and ".join(", ".join(sorted(names)).rsplit(", ", 1))


def or_(names: Iterable[str]) -> str:
    return " or ".join(", ".join(names).rsplit(", ", 1))
