"""What a file may be that somebody else has written: plain data that names our own classes.

A policy's JSON and a run's config.yaml are such files. They may choose among the agents, replays
and paradigms of this library and give them numbers; any other code runs only if the user names its
top-level module on the command line (`trust=`). Everything here raises Wrong in one sentence.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import yaml

from conf import schema
from conf.sentences import Wrong, line

HERE = Path(__file__).resolve().parent
MAKE_ENV = "envs.make.make_env"
MOST_BYTES, MOST_VALUES, MOST_DEPTH, MOST_CHARACTERS = 2**18, 10_000, 20, 2_000
REFERENCE = re.compile(r"\$\{\.*[A-Za-z_]\w*(\.\w+)*\}")  # ${seed} or ${..id}: another value's key


class _Loader(yaml.SafeLoader):
    """YAML without aliases, by which ten lines become gigabytes; 1e-3 is a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file: plain values, few, not deep, not long."""
    try:
        if not path.is_file():
            raise Wrong(f"{path} is not a file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Wrong(f"{path} is larger than {MOST_BYTES // 1024} KiB, so it is not read")
        text = data.decode()
        value = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise Wrong(f"{path} cannot be read: {type(error).__name__}: {line(error)}") from error
    if not isinstance(value, dict):
        raise Wrong(f"{path} holds a {type(value).__name__} where a mapping is expected")
    plain(value, str(path))
    return value


def plain(value: Any, source: str) -> None:
    """Refuses what is no plain data, or too much of it."""
    count, waiting = 0, [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES or depth > MOST_DEPTH:
            raise Wrong(f"{source} has more than {MOST_VALUES} values, or {MOST_DEPTH} levels")
        match node:
            case dict():
                if not all(isinstance(k, str) for k in node):
                    raise Wrong(f"{source} has a key that is not a word")
                waiting += [(child, depth + 1) for pair in node.items() for child in pair]
            case list():
                waiting += [(child, depth + 1) for child in node]
            case str():
                if len(node) > MOST_CHARACTERS or not node.replace("\n", " ").isprintable():
                    raise Wrong(f"{source} has a text that is too long or cannot be printed")
            case None | bool() | float():
                continue
            case int() if abs(node) < 2**63:
                continue
            case _:
                raise Wrong(f"{source} has a {type(node).__name__} that no setting can be")


def trusted(given: str | Collection[str]) -> frozenset[str]:
    """The top-level modules that `trust=NAME` or `trust=FOLDER/NAME` names; FOLDER, as the current
    one, is where Python looks for it after all other places."""
    names = set()
    for text in [given] if isinstance(given, str) else given:
        folder, _, name = text.removesuffix(".py").rpartition("/")
        if not name.isidentifier() or name in sys.stdlib_module_names:
            raise Wrong(
                f"trust={text or repr(text)} names no module of yours: write trust=NAME, or"
                " trust=FOLDER/NAME where it lies elsewhere"
            )
        if folder and not Path(folder).is_dir():
            raise Wrong(f"trust={text}: {folder} is not a folder")
        look_in(folder or ".")
        names.add(name)
    return frozenset(names)


def look_in(folder: str | Path) -> None:
    """Lets Python look for modules in a folder, after all other places; child processes too."""
    if (place := str(Path(folder).resolve())) not in sys.path:
        sys.path.append(place)


def foreign(values: Mapping[str, Any]) -> list[str]:
    """The top-level modules outside this library whose code a configuration runs, in order."""
    targets = [str(node["_target_"]) for _, node in nodes(values)]
    targets += [module for _, module in _env_modules(values)]
    tops = [target.partition(".")[0] for target in targets]
    tops += [top for _, top in _env_packages(values)]
    return list(dict.fromkeys(top for top in tops if top not in {*schema.OURS, "gymnasium"}))


def nodes(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, node) of every dict with a `_target_`, in dicts and in lists."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield key, value
        for name, child in value.items():
            yield from nodes(child, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from nodes(child, f"{key}.{index}")


def check(values: Mapping[str, Any], trust: Collection[str]) -> None:
    """Refuses a configuration that would run code which is neither ours nor trusted.

    values: the whole of a run, or a policy's `agent` and `env`.
    """
    _no_words_of_hydra(values)
    for key, node in nodes(values):
        target = node["_target_"]
        top = str(target).partition(".")[0]
        if top not in schema.OURS and top not in trust:
            raise Wrong(_refusal(f"{key}._target_={target}", top))
        if node.get("_partial_", True) is not True:
            raise Wrong(f"{key}._partial_={node['_partial_']} must be true or absent")
        if not _may_be(key, str(target), trusted=top in trust):
            raise Wrong(f"{key}._target_={target} is nothing that {key} can be, so it is not run")
    for key, module in _env_modules(values):
        if (top := module.partition(".")[0]) not in trust:
            raise Wrong(_refusal(f"{key}={values['env']['id']}", top))
    for name, top in _env_packages(values):
        if top not in {"gymnasium", "envs", *trust}:
            raise Wrong(_refusal(f"env.id={name}", top))


def _may_be(key: str, target: str, *, trusted: bool) -> bool:
    """Whether a target is of the kind that belongs at a key. Imports it."""
    if key == "env.make":
        return trusted or target == MAKE_ENV
    if key in ("replay", "paradigm", "paradigm.of") and not trusted:
        return target in _named_in_our_yaml()
    if not trusted and not target.startswith("agents.") and target not in _named_in_our_yaml():
        return False
    what = schema.found(target, key)
    if not isinstance(what, type):
        return False
    if key.startswith("logger."):
        return hasattr(what, "scalars")
    if key == "agent":
        from agents.base import Agent

        return issubclass(what, Agent)
    if key in ("replay", "paradigm", "paradigm.of"):
        return hasattr(what, "kind" if key == "replay" else "run")
    # what is left is a schedule: a function of a number with settings of its own
    return is_dataclass(what) and any("__call__" in vars(c) for c in what.__mro__)


def _no_words_of_hydra(value: Any, key: str = "") -> None:
    """`_args_` and the like have no place in a stored file."""
    for name, child in value.items() if isinstance(value, dict) else ():
        if name.startswith("_") and name not in schema.SPECIAL:
            raise Wrong(f"{key}{name} is not a setting, so it is not run")
        _no_words_of_hydra(child, f"{key}{name}.")
    for index, child in enumerate(value) if isinstance(value, list) else ():
        _no_words_of_hydra(child, f"{key}{index}.")


def _env_modules(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, module) of `module:EnvId`, which imports the module."""
    env = values.get("env")
    for key, place in (("env.id", env), ("env.make.id", env and env.get("make"))):
        if isinstance(place, dict) and ":" in str(place.get("id")):
            yield key, str(place["id"]).rpartition(":")[0]


def _env_packages(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(id, top-level module) of the registered envs; any package may register some as Gymnasium is
    imported."""
    import gymnasium

    import envs.toys  # noqa: F401  (registers them)

    for place in (values["env"], values["env"]["make"]):
        spec = gymnasium.registry.get(str(place.get("id")).rpartition(":")[2])
        entry = spec.entry_point if spec is not None else None
        module = entry if isinstance(entry, str) else getattr(entry, "__module__", "gymnasium")
        yield str(place.get("id")), module.partition(":")[0].partition(".")[0]


def _refusal(what: str, top: str) -> str:
    if top in sys.stdlib_module_names or not top.isidentifier():
        return f"{what} is neither of this library nor an agent, so it is not run"
    return (
        f"{what} is not code of this library, so it is not run: if you know it, add trust={top},"
        f" or trust=FOLDER/{top} where it does not lie in the current folder"
    )


@functools.cache
def _named_in_our_yaml() -> frozenset[str]:
    texts = (path.read_text("utf-8") for path in HERE.rglob("*.yaml"))
    return frozenset(t for text in texts for t in re.findall(r"^ *_target_: (\S+)", text, re.M))


def dereferenced(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with every `${key}` replaced by the value there, which may not refer
    to another. Raises LookupError, with a sentence."""

    def at(path: tuple[str, ...]) -> Any:
        node: Any = stored
        for name in path:
            if not isinstance(node, Mapping) or name not in node:
                raise LookupError(f"${{{'.'.join(path)}}} leads nowhere")
            node = node[name]
        if "${" in json.dumps(node):
            raise LookupError(f"${{{'.'.join(path)}}} leads to another reference")
        return node

    def replaced(node: Any, path: tuple[str, ...]) -> Any:
        if isinstance(node, Mapping):
            return {name: replaced(child, (*path, name)) for name, child in node.items()}
        if isinstance(node, list):
            return [replaced(child, path) for child in node]
        if not isinstance(node, str) or "${" not in node:
            return node
        if not REFERENCE.fullmatch(node):
            raise LookupError(f"{node} is more than another value's key, so it is not followed")
        word = node[2:-1]
        name = word.lstrip(".")
        up = len(word) - len(name)
        return at((*path[: len(path) - up], *name.split(".")) if up else tuple(name.split(".")))

    found: dict[str, Any] = replaced(stored, ())
    return found
