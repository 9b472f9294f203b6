"""What may be said: keys, types and bounds, read from annotations and checked by pydantic.

    schema.check(Config, values)                        # a dataclass: every field, nested ones too
    schema.check(found("agents.sac.SAC"), node, "agent")  # a constructor: every keyword of the node

A setting has one name, one annotation and one value: the annotation stands in a dataclass below, in
`paradigms.settings` or in the constructor that gets the value; the value stands in a YAML.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from conf.sentences import Wrong, near, plain, shown, words
from paradigms.settings import Budget, Checkpointing, Evaluation

OURS = ("agents", "envs", "paradigms")
SPECIAL = ("_target_", "_partial_")  # keys of a node that are no keywords
GIVEN: Mapping[str, Sequence[str]] = {  # what the run gives to a constructor, so that no YAML does
    "agent": "spec seed device".split(),
    "replay": "spec writers num_envs rollout_length n_step gamma device".split(),
    "env.make": "num_envs seed rank threads autoreset copy reference_engine".split(),
}
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Config:
    """The settings of a run that belong to no part, as conf/config.yaml has them."""

    seed: Annotated[int, Ge(0), Lt(2**63)]
    device: str
    workers: Annotated[int, Ge(1)]
    num_envs: Annotated[int, Ge(1)]
    rollout_length: Annotated[int, Ge(1)]
    warmup: Annotated[int, Ge(0)]
    updates_per_env_step: Annotated[float, Gt(0)] | None
    max_ahead: Annotated[int, Ge(0)]
    policy_lag: Annotated[int, Ge(0)]
    budget: Budget
    stop_when_solved: bool
    evaluation: Evaluation
    checkpoint: Checkpointing
    resume: str | None
    journal: bool
    crew: Literal["process", "inline"]
    score: Literal["return", "seconds"]


@dataclass(frozen=True)
class Env:
    """What a YAML of the group `env` says, beside `make`, which builds it."""

    name: str
    id: str
    kwargs: Mapping[str, Any]
    threshold: float | None
    random_return: float | None
    max_episode_steps: Annotated[int, Ge(1)] | None
    reference: Mapping[str, Any]
    per_worker: Annotated[Sequence[Mapping[str, Any]], Len(1)] | None
    action_repeat: Annotated[int, Ge(1), Le(1000)]
    stack: Annotated[int, Ge(1), Le(64)]
    sign_rewards: bool
    engine: Literal["gymnasium", "envpool", "vector", "arrival"]
    encoder: str | None


@dataclass(frozen=True)
class Batches:
    """What a YAML of the group `replay` says beside the keywords of its class."""

    batch_size: Annotated[int, Ge(1)] | None


@dataclass(frozen=True)
class Play:
    """The settings of evaluate.py, as conf/evaluate.yaml has them."""

    run: str
    policy: str
    episodes: Annotated[int, Ge(1), Le(1_000_000)]
    seed: Annotated[int, Ge(0), Lt(2**63)]
    kwargs: Mapping[str, Any]
    engine: Literal["gymnasium", "envpool", "vector", "arrival"] | None
    video: bool
    episode: Literal["other", "best", "worst", "both"]
    plot: bool
    picture: bool
    trust: str | Sequence[str]


@dataclass(frozen=True)
class Export:
    """The settings of export.py, as conf/export.yaml has them."""

    run: str
    policy: str
    format: Literal["onnx", "torch_export", "safetensors"]
    out: str | None
    trust: str | Sequence[str]


@dataclass(frozen=True)
class Takes:
    """The keywords of a constructor by annotation, and those without a default.

    open: it takes any keyword.
    """

    hints: Mapping[str, Any]
    required: frozenset[str]
    open: bool = False


def check(
    kind: Any, values: Mapping[str, Any], key: str = "", *, beside: Sequence[str] = ()
) -> None:
    """Checks plain values against a dataclass or a constructor. Raises Wrong.

    A node with `_target_` below is left to its own check. beside: keys that others answer for.
    """
    said, at = takes(kind), f"{key}." if key else ""
    others, given = {*SPECIAL, *beside}, GIVEN.get(key, ())
    for name, value in values.items():
        if name in others:
            continue
        if name not in said.hints or name in given:
            if said.open:
                continue
            known = [f"{at}{n}" for n in (*said.hints, *beside) if n not in given]
            raise Wrong(f"{at}{name} is not a setting; {near(f'{at}{name}', known)}")
        hint = said.hints[name]
        if is_dataclass(hint) and isinstance(value, dict):
            check(hint, value, f"{at}{name}")
        elif not is_node(value) and not fits(value, hint):
            raise Wrong(f"{at}{name}={shown(value)} must be {words(hint, value)}")
    if not values.get("_partial_"):
        for name in said.hints:
            if name in said.required and name not in values:
                raise Wrong(f"{at}{name} is missing: add {at}{name}=VALUE")


def build(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass, nested ones too, from checked values; keys that it does not have are left out.
    A whole number becomes a float where one is due."""
    hints = _hints(kind)
    given = {}
    for f in fields(kind):
        hint, value = hints[f.name], values[f.name]
        given[f.name] = (
            build(hint, value)
            if is_dataclass(hint)
            else _adapter(hint).validate_json(json.dumps(value))
        )
    return kind(**given)


@functools.cache
def takes(kind: Any) -> Takes:
    """What a class or a function takes, apart from what the run itself gives."""
    if is_dataclass(kind):
        hints = _hints(kind)
        named = {f.name: hints.get(f.name, Any) for f in fields(kind) if f.init}
    else:
        hints = _hints(kind.__init__ if isinstance(kind, type) else kind)  # type: ignore[misc]
        named = {}
    parameters = inspect.signature(kind).parameters.values()
    keywords = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return Takes(
        named or {p.name: hints.get(p.name, Any) for p in keywords},
        frozenset(p.name for p in keywords if p.default is p.empty),
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def accepts(kind: Any, name: str, type: Any) -> bool:
    """Whether a keyword of a constructor is annotated with that type, as one of several maybe."""
    hint = takes(kind).hints.get(name)
    return hint is Any or type in (hint, *typing.get_args(hint))


def found(target: Any, key: str) -> Any:
    """What `module.name` stands for; imports the module. Raises Wrong, with what there is."""
    where = f"{key}._target_={target} leads nowhere"
    module, _, name = str(target).rpartition(".")
    try:
        place = importlib.import_module(module)
    except (ModuleNotFoundError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise Wrong(f"{key}._target_={target}: {module} needs {error.name}") from error
        raise Wrong(f"{where}: there is no module {module!r}{_beside(module)}") from error
    except SyntaxError as error:
        raise Wrong(
            f"{where}: line {error.lineno} of {error.filename} is not Python: {error.msg}"
        ) from error
    if not callable(what := getattr(place, name, None)):
        own = [n for n, v in vars(place).items() if getattr(v, "__module__", "") == module]
        there = sorted(n for n in own if not n.startswith("_"))
        raise Wrong(f"{where}: {module} has no {name}; it has {', '.join(there) or 'nothing'}")
    return what


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value is of an annotated type and within its bounds; types that no YAML can
    write take anything. Numbers must be finite."""
    try:
        _adapter(plain(annotation)).validate_json(json.dumps(value))
    except ValidationError:
        return False
    return True


def _hints(what: Any) -> Mapping[str, Any]:
    """Annotations as objects; those that cannot be evaluated are left out."""
    try:
        return typing.get_type_hints(what, include_extras=True)
    except (NameError, AttributeError, TypeError):
        found, names = {}, {**vars(typing), **getattr(what, "__globals__", {})}
        for name, text in getattr(what, "__annotations__", {}).items():
            try:
                found[name] = eval(text, names) if isinstance(text, str) else text
            except (NameError, AttributeError, TypeError):
                continue
        return found


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=_STRICT)


def is_node(value: Any) -> bool:
    """Whether a value is a mapping with a `_target_`."""
    return isinstance(value, dict) and "_target_" in value


def _beside(module: str) -> str:
    """The modules that there are where one was looked for in vain."""
    parent = module.rpartition(".")[0]
    try:
        paths = list(importlib.import_module(parent).__path__) if parent else []
    except (ImportError, AttributeError, ValueError):
        paths = []
    there = sorted(found.name for found in pkgutil.iter_modules(paths))
    return f"; there are {', '.join(there)}" if there else ""
