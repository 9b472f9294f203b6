"""What is said to a user who typed something that cannot run."""

from __future__ import annotations

import difflib
import json
import math
import os
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt


class Wrong(Exception):
    """What was typed cannot run; the text is one sentence that says what to change."""


def refuse(error: Wrong) -> NoReturn:
    """One sentence on stderr, and exit code 2; HYDRA_FULL_ERROR=1 adds where it comes from."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    text = "".join(c if c.isprintable() else "?" for c in str(error))
    sys.stderr.write(f"{text}\n")
    sys.exit(2)


def command(text: str | None, work: Callable[[list[str]], int | None]) -> NoReturn:
    """A console command: prints its module's `text` without arguments or with --help, else leaves
    with what `work` returns, or, where it raises Wrong, with 2 and one sentence. SIGTERM stops
    `work` as Ctrl-C does, with a KeyboardInterrupt."""
    arguments = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not arguments or {"-h", "--help"} & set(arguments):
        sys.stdout.write(f"{(text or '').strip()}\n")
        sys.exit(0)
    try:
        sys.exit(work(arguments))
    except Wrong as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.exit("stopped")


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


def shown(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    word = value is None or isinstance(value, bool)
    text = json.dumps(value) if word else " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def words(annotation: Any, value: Any = None) -> str:
    """An annotation as it reads in a sentence: "a number above 0 or null"."""
    nouns = {float: "number", int: "whole number", str: "word"}
    finite = isinstance(value, float) and not math.isfinite(value)
    annotation = plain(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return "null"
    if annotation is bool:
        return "true or false"
    if annotation in nouns:
        return f"a {'finite ' if finite and annotation is float else ''}{nouns[annotation]}"
    if origin is Annotated:
        return " ".join(filter(None, (words(arguments[0], value), _bounds(arguments[1:]))))
    if origin in (types.UnionType, typing.Union):
        return " or ".join(words(a, value) for a in arguments)
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(shown, arguments))
    if origin in (Mapping, dict) or annotation in (Mapping, dict):
        each = arguments[1] if arguments and arguments[1] is not Any else None
        given = list(value.values()) if isinstance(value, dict) else []
        odd = next((v for v in given if isinstance(v, float) and not math.isfinite(v)), None)
        return "a mapping such as {key: value}" + (f", each {words(each, odd)}" if each else "")
    if origin in (Sequence, list, tuple):
        kinds = dict.fromkeys(words(a) for a in arguments if a is not ...)
        return f"a list, each {' or '.join(kinds)}"
    return "a list" if annotation in (Sequence, list, tuple) else "another value"


def plain(annotation: Any) -> Any:
    """The annotation if plain values can be of it, else Any."""
    arguments = [a for a in get_args(annotation) if a is not ...]
    match get_origin(annotation):
        case None:
            known = (None, types.NoneType, bool, int, float, str, list, dict, Sequence, Mapping)
            return annotation if annotation in known else Any
        case origin if origin is Literal:
            return annotation
        case origin if origin is Annotated:
            return annotation if plain(arguments[0]) is not Any else Any
        case origin if origin in (types.UnionType, typing.Union):
            return Any if any(plain(a) is Any for a in arguments) else annotation
        case origin if origin in (list, tuple, dict, Sequence, Mapping):
            odd = (a for a in arguments if a is not Any and plain(a) is Any)
            return annotation if not any(True for _ in odd) else origin
    return Any


def _bounds(marks: Sequence[Any]) -> str:
    said, least, most = [], None, None
    for mark in marks:
        match mark:
            case Ge(ge=bound):
                least = bound
            case Le(le=bound):
                most = bound
            case Gt(gt=bound):
                said.append(f"above {_number(bound)}")
            case Lt(lt=bound):
                said.append(f"{'and ' if least is not None else ''}below {_number(bound)}")
            case Len(min_length=low, max_length=high) if low == high:
                said.append(f"and {low} of them")
            case Len(min_length=low, max_length=None):
                said.append(f"and at least {low} of them")
            case Len(max_length=high):
                said.append(f"and at most {high} of them")
    if least is not None and most is not None:
        said.insert(0, f"in [{_number(least)}, {_number(most)}]")
    elif least is not None:
        said.insert(0, f"of at least {_number(least)}")
    elif most is not None:
        said.append(f"{'and ' if said else 'of '}at most {_number(most)}")
    return " ".join(said)


def _number(bound: Any) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
