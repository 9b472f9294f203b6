"""Constructors as schemas: what a `_target_` takes, read from its source without importing it.

Importing an agent imports torch, which takes a second; a misspelt key deserves an answer at once.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = ("agents", "envs", "paradigms")


@dataclass(frozen=True)
class Signature:
    """Keyword -> annotation as an expression, or None; `attributes`: the class's own."""

    keywords: dict[str, ast.expr | None]
    required: frozenset[str] = frozenset()
    open: bool = False  # it takes any keyword, or we cannot tell
    attributes: dict[str, Any] = field(default_factory=dict)


def read(target: str) -> Signature:
    """The signature of `package.module.name` in one of our packages; of one elsewhere the
    attributes, any keyword.

    Raises LookupError, with what there is, if there is no such module or name in it.
    """
    module, _, name = target.rpartition(".")
    if module.partition(".")[0] not in OURS:
        return Signature({}, open=True, attributes=attributes(target))
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        there = sorted(p.stem for p in path.parent.glob("*.py") if p.stem != "__init__")
        raise LookupError(f"there is no module {module}; there are {', '.join(there) or 'none'}")
    defined = _definitions(path)
    if name not in defined:
        there = sorted(n for n in defined if not n.startswith("_"))
        raise LookupError(f"{module} has no {name}; it has {', '.join(there)}")
    node = defined[name]
    if isinstance(node, ast.FunctionDef):
        return _function(node, skip=0)
    constructor = next((d for d in _functions(node) if d.name == "__init__"), None)
    said = attributes(target)
    if constructor is not None:
        found = _function(constructor, skip=1)
        return Signature(found.keywords, found.required, found.open, said)
    if any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
        fields = [s for s in fields if "ClassVar" not in ast.unparse(s.annotation)]
        return Signature(
            {ast.unparse(s.target): s.annotation for s in fields},
            frozenset(ast.unparse(s.target) for s in fields if s.value is None),
            attributes=said,
        )
    return Signature({}, open=bool(node.bases), attributes=said)


def attributes(target: str) -> dict[str, Any]:
    """Attributes of a class, wherever it lives, that are literals or sets of names: its own and
    what its bases hand down. What is computed is not read, nor what is no Python source."""
    module, _, name = target.rpartition(".")
    path = located(module)
    node = _definitions(path).get(name) if path is not None else None
    if path is None or not isinstance(node, ast.ClassDef):
        return {}
    found: dict[str, Any] = {}
    for base in map(ast.unparse, reversed(node.bases)):
        found |= attributes(_imported(path).get(base, f"{module}.{base}"))
    return _attributes(node, found)


def located(module: str) -> Path | None:
    """Where a module's source lies; nothing is imported, not even the packages above it."""
    first, *others = module.split(".")
    try:
        spec, name = importlib.util.find_spec(first), first
    except ValueError:  # no name at all, or a script's
        return None
    for other in others:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{other}"
        spec = PathFinder.find_spec(name, [*spec.submodule_search_locations])
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None


def fits(value: Any, annotation: ast.expr | None) -> bool:
    """Whether a plain value is of an annotated type; other types take anything."""
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Constant(value=str(text)):
            return fits(value, parse(text))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return fits(value, left) or fits(value, right)
        case ast.Name(id="bool"):
            return isinstance(value, bool)
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="float"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.Name(id="str"):
            return isinstance(value, str)
        case ast.Name(id="list" | "tuple" | "Sequence"):
            return isinstance(value, list)
        case ast.Name(id="dict" | "Mapping"):
            return isinstance(value, dict)
        case ast.Subscript(value=ast.Name(id="list" | "Sequence"), slice=item):
            return isinstance(value, list) and all(fits(v, item) for v in value)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, end])) if (
            isinstance(end, ast.Constant) and end.value is ...
        ):
            return isinstance(value, list) and all(fits(v, item) for v in value)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
            whole = isinstance(value, list) and len(value) == len(items)
            return whole and all(fits(v, a) for v, a in zip(value, items, strict=True))
        case ast.Subscript(value=ast.Name(id="dict" | "Mapping")):
            return isinstance(value, dict)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return value in ast.literal_eval(f"[{ast.unparse(choices).strip('()')}]")
    return True


def words(annotation: ast.expr) -> str:
    """An annotation as it reads in a sentence: "a number or null"."""
    plain = {
        "float": "a number",
        "int": "a whole number",
        "bool": "true or false",
        "str": "a word",
        "None": "null",
    }
    match annotation:
        case ast.Constant(value=str(text)):
            return words(parse(text))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{words(left)} or {words(right)}"
        case ast.Subscript(value=ast.Name(id="list" | "Sequence" | "tuple"), slice=item):
            items = item.elts if isinstance(item, ast.Tuple) else [item]
            kinds = sorted({words(i) for i in items if ast.unparse(i) != "..."})
            return f"a list, each {' or '.join(kinds)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return "one of " + ast.unparse(choices).strip("()").replace("'", "")
    text = ast.unparse(annotation)
    return plain.get(text, text)


def parse(annotation: str) -> ast.expr:
    """An annotation given as text."""
    return ast.parse(annotation, mode="eval").body


@functools.cache
def _definitions(path: Path) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    return {n.name: n for n in _body(path) if isinstance(n, ast.ClassDef | ast.FunctionDef)}


@functools.cache
def _imported(path: Path) -> dict[str, str]:
    """name -> module.name, of what a module imports by `from module import name`."""
    froms = [n for n in _body(path) if isinstance(n, ast.ImportFrom) and not n.level]
    return {a.asname or a.name: f"{n.module}.{a.name}" for n in froms for a in n.names}


def _body(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_bytes()).body
    except SyntaxError as error:
        raise LookupError(f"line {error.lineno} of {path} is not Python: {error.msg}") from error


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [s for s in node.body if isinstance(s, ast.FunctionDef)]


def _function(node: ast.FunctionDef, skip: int) -> Signature:
    a = node.args
    positional = [*a.posonlyargs, *a.args][skip:]
    bare = positional[: len(positional) - min(len(a.defaults), len(positional))]
    needed = {p.arg for p in bare}
    needed |= {k.arg for k, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is None}
    keywords = {p.arg: p.annotation for p in (*positional, *a.kwonlyargs)}
    return Signature(keywords, frozenset(needed), open=a.kwarg is not None)


def _attributes(node: ast.ClassDef, inherited: dict[str, Any]) -> dict[str, Any]:
    """Class attributes that are literals, sets of names among them."""
    found = dict(inherited)
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        found.pop(name, None)
        if isinstance(value, ast.Call) and "frozenset" in ast.unparse(value.func):
            with contextlib.suppress(ValueError):  # it is computed
                found[name] = frozenset(ast.literal_eval(value.args[0]) if value.args else ())
        elif isinstance(value, ast.Constant):
            found[name] = value.value
    return found
