"""What the user typed, composed and checked before anything heavy is imported or started.

    setup = check.command_line(sys.argv[1:])    # raises Wrong: one sentence, what is wrong and what there is

YAML is the source of values and the constructors' annotations are the schema (see `signature`).
"""

from __future__ import annotations

import difflib
import importlib.util
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from conf import signature
from conf.settings import SETTINGS, crossed

PARTS = ("paradigm", "agent", "env", "replay", "explore", "lr_schedule")
MOST_JOBS = 16  # of a multirun: so many combinations are checked whole, beyond that each value once


class Wrong(Exception):
    """What was typed cannot run; the text is one sentence that says what to change."""


@dataclass(frozen=True)
class Setup:
    """A composed run: plain values, and which choice each group has."""

    values: dict[str, Any]
    choices: dict[str, str]


def command_line(arguments: list[str]) -> list[str]:
    """Checks what was typed and returns what Hydra shall get: a resumed run's configuration is added.

    Raises Wrong. Flags that only ask for help are passed on unchecked.
    """
    ours()
    flags = get_args_parser().parse_args(arguments)
    if flags.help or flags.hydra_help or flags.shell_completion or flags.info:
        return arguments
    name, folder = flags.config_name or "config", flags.config_path
    overrides = [_parsed(text) for text in flags.overrides]
    resume = next((o for o in overrides if o.key_or_group == "resume" and o.value()), None)
    if resume is not None:
        folder = resumed(str(resume.value()), multirun=flags.multirun)
        name, home = "config", folder.parent if folder.name == ".hydra" else folder
        added = ["hydra/job_logging=none"]
        if not any(o.key_or_group == "hydra.run.dir" for o in overrides):
            added.append(f"hydra.run.dir='{home}'")
        arguments = [f"--config-path={folder}", "--config-name=config", *arguments, *added]
    searched = []
    if flags.config_dir:
        searched = [f"hydra.searchpath=['file://{Path(flags.config_dir).resolve()}']"]
    worlds: set[str] = set()
    for job in jobs(overrides) if flags.multirun else [flags.overrides]:
        setup = compose([*job, *searched], name, folder)
        values(setup)
        world = yaml.safe_dump([setup.values["env"], setup.choices.get("agent")])
        if world not in worlds and not flags.cfg:
            worlds.add(world)
            spaces(setup)
    return arguments


def ours() -> None:
    """Raises Wrong if Python would import another package of one of our names."""
    for package in (*signature.OURS, "conf"):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not any(Path(place).resolve() == signature.ROOT / package for place in places):
            found = places[0] if places else "nowhere"
            raise Wrong(
                f"the package {package!r} would be imported from {found} and not from"
                f" {signature.ROOT}; uninstall the other one, or start python in {signature.ROOT}"
            )


def jobs(overrides: list[Override]) -> Iterator[list[str]]:
    """The command lines that a multirun stands for, or where they are many, one for each value."""
    options: list[list[str]] = []
    for o in overrides:
        swept = o.is_choice_sweep() or o.is_range_sweep()
        if swept and o.is_discrete_sweep() and "glob(" not in str(o.input_line):
            key = o.get_key_element()
            options.append([f"{key}={v}" for v in itertools.islice(o.sweep_string_iterator(), 64)])
        elif not o.is_sweep_override():
            options.append([cast(str, o.input_line)])
    if math.prod(len(o) for o in options) <= MOST_JOBS:
        yield from (list(job) for job in itertools.product(*options))
        return
    for column, values in enumerate(options):
        for value in values if len(values) > 1 else ():
            yield [value if i == column else o[0] for i, o in enumerate(options)]


def resumed(folder: str, *, multirun: bool) -> Path:
    """Where the saved configuration of a run lies. Raises Wrong if it cannot be gone on with."""
    home = Path(folder).resolve()
    if multirun:
        raise Wrong("resume goes on with one run: leave out -m")
    if not home.is_dir():
        raise Wrong(
            f"resume={folder} is not a folder; give a run's, such as outputs/DATE/TIME_NAME"
        )
    where = next((p for p in (home / ".hydra", home) if (p / "config.yaml").is_file()), None)
    if where is None:
        raise Wrong(f"resume={folder} has no config.yaml, so it is not a run's folder")
    if not any(home.glob("checkpoints/*/manifest.json")):
        raise Wrong(f"resume={folder} has no whole checkpoint in checkpoints/, so start afresh")
    return where


def compose(overrides: list[str], name: str = "config", folder: str | Path | None = None) -> Setup:
    """The configuration that these overrides give, resolved. Raises Wrong."""
    if folder is None:
        start: Any = initialize_config_module("conf", version_base="1.3")
    else:
        start = initialize_config_dir(str(Path(folder).resolve()), version_base="1.3")
    try:
        with start:
            cfg = hydra_compose(name, overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Wrong(_sentence(error, overrides, name, folder)) from error
    choices = {k: v for k, v in cfg.hydra.runtime.choices.items() if not k.startswith("hydra/")}
    mine = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return Setup(resolved(mine), choices)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts, lists and numbers. Raises Wrong for a key without a value or a dangling `${...}`."""
    try:
        return cast(
            dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        )
    except MissingMandatoryValue as error:
        raise Wrong(f"{error.full_key} has no value yet: add {error.full_key}=VALUE") from error
    except InterpolationResolutionError as error:
        raise Wrong(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def values(setup: Setup) -> None:
    """Checks every value against the settings and constructors. Raises Wrong."""
    flat = dict(flatten(setup.values))
    own = [k for k in flat if k.partition(".")[0] not in PARTS]
    for key in own:
        if key not in SETTINGS:
            raise Wrong(f"{key} is not a setting; {_near(key, flat)}")
        SETTINGS[key].check(key, flat[key], Wrong)
    missing = next((k for k in SETTINGS if k not in flat), None)
    if missing is not None:
        raise Wrong(f"{missing} is missing from the configuration: add {missing}=VALUE")
    for part in PARTS:
        if not isinstance(setup.values.get(part), dict):
            raise Wrong(f"{part} is missing from the configuration: add {part}=CHOICE")
        nodes(part, setup.values[part])
    crossed(setup.values, Wrong)
    fitting(setup)


def nodes(key: str, node: Any) -> None:
    """Checks every `_target_` below a key: that it exists, its keywords and their types."""
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        nodes(f"{key}.{name}", value)
    if "_target_" not in node:
        return
    try:
        takes = signature.read(node["_target_"])
    except LookupError as error:
        raise Wrong(f"{key}._target_={node['_target_']} leads nowhere: {error}") from error
    for name, value in node.items():
        if name in ("_target_", "_partial_", "_convert_") or (key, name) == (
            "replay",
            "batch_size",
        ):
            continue
        if name not in takes.keywords and not takes.open:
            near = _near(f"{key}.{name}", [f"{key}.{k}" for k in takes.keywords])
            raise Wrong(f"{key}.{name} is not a setting; {near}")
        wanted = takes.keywords.get(name)
        nested = isinstance(value, dict) and "_target_" in value
        if wanted is not None and not nested and not signature.fits(value, wanted):
            shown = "null" if value is None else value
            raise Wrong(f"{key}.{name}={shown} must be {signature.words(wanted)}")
    absent = takes.required - node.keys()
    if absent and not node.get("_partial_"):
        raise Wrong(f"{key}.{min(absent)} is missing: add +{key}.{min(absent)}=VALUE")


def attributes(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What the class behind `values[part]` says of itself: needs, offers, replays ..."""
    return signature.read(values[part]["_target_"]).attributes


def fitting(setup: Setup) -> None:
    """Whether agent, replay and paradigm go together: set inclusion over the names they list."""
    paradigm, agent, replay = (attributes(setup.values, p) for p in ("paradigm", "agent", "replay"))
    chosen = {part: f"{part}={setup.choices.get(part, '?')}" for part in PARTS}
    lacking = paradigm.get("needs", frozenset()) - agent.get("offers", frozenset())
    if lacking:
        raise Wrong(
            f"{chosen['paradigm']} needs an agent that offers {_and(lacking)},"
            f" which {chosen['agent']} does not"
        )
    kind = replay.get("kind")
    for part, says in (("agent", agent), ("paradigm", paradigm)):
        kinds = says.get("replays")
        if kind and kinds and kind not in kinds:
            raise Wrong(f"{chosen[part]} works with replay {_or(kinds)}, not {chosen['replay']}")


def spaces(setup: Setup) -> None:
    """Builds the envs once and compares what they are with what the agent needs. Raises Wrong."""
    from gymnasium.spaces import Box
    from hydra.utils import instantiate

    node = setup.values["env"]
    try:
        make = instantiate(node["make"], _convert_="all")
        for rank in (None, *range(len(node.get("per_worker") or ()))):
            env = make(num_envs=1, seed=0, rank=rank)
            env.close()
    except ValueError as error:
        raise Wrong(_line(error)) from error
    obs, action = env.single_observation_space, env.single_action_space
    kinds = {
        "image" if len(obs.shape or ()) > 1 else "vector": obs,
        "box" if isinstance(action, Box) else "discrete": action,
    }
    said = {"vector": "vectors as observations", "image": "images as observations"}
    said |= {"box": "continuous actions", "discrete": "discrete actions"}
    for need in sorted(attributes(setup.values, "agent").get("needs", frozenset()) - kinds.keys()):
        has = obs if need in ("vector", "image") else action
        kind = next(k for k, space in kinds.items() if space is has)
        examples = {"box": "lander", "discrete": "cartpole", "vector": "pendulum"}
        raise Wrong(
            f"agent={setup.choices.get('agent')} needs {said[need]}, but"
            f" env={setup.choices.get('env')} has {said[kind]} ({has});"
            f" try env={examples.get(need, 'gym')}"
        )


def flatten(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf; lists and empty dicts are leaves."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from flatten(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _parsed(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise Wrong(f"{text!r} cannot be read: write key=value, and quote special signs") from error


def _sentence(error: Exception, overrides: list[str], name: str, folder: str | Path | None) -> str:
    """Hydra's message as one sentence with the choices."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if error.options:
            note = (
                "; pip install 'paceline[sweep]' adds joblib" if group == "hydra/launcher" else ""
            )
            close = difflib.get_close_matches(choice, error.options, n=1)
            there = f"; did you mean {group}={close[0]}?" if close else ""
            return f"{group}={choice} is not a choice: there are {_and(error.options)}{there}{note}"
        return f"there is no configuration {error.missing_cfg_file}"
    if match := re.search(r"Ambiguous value for argument '(.+?)'", text):
        return f"{match[1]} lists several values: add -m to run one after another"
    if match := re.search(r"Could not append.*already at '(.+?)'", text, re.DOTALL):
        return f"{match[1]} is there already: write {match[1]}=VALUE without the plus"
    if match := re.search(r"Could not override '(.+?)'", text):
        return _unknown(match[1], getattr(error, "__cause__", None), overrides, name, folder)
    if "possible interpolation keys" in text or "override must be a string" in text:
        return f"{' '.join(overrides)}: each group needs a choice, such as agent=sac"
    return _line(error)


def _unknown(
    key: str, cause: Any, overrides: list[str], name: str, folder: str | Path | None
) -> str:
    if folder is None and key == "experiment":
        given = next((o for o in overrides if o.startswith("experiment=")), "experiment=NAME")
        return f"an experiment is added with a plus: +{given}"
    full = str(getattr(cause, "full_key", None) or key)
    rest = [o for o in overrides if not o.lstrip("+~").startswith(f"{key}=")]
    known: list[str] = list(PARTS)
    if len(rest) < len(overrides):
        known += [k for k, _ in flatten(compose(rest, name, folder).values)]
    if folder is not None and full in PARTS:
        return f"{full} cannot be changed in a resumed run: start afresh"
    return f"{full} is not a setting; {_near(full, known)}"


def _near(key: str, known: Iterable[str]) -> str:
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
        return f"did you mean {_or(close)}?"
    return f"there are {_and(beside)}" if beside else f"{parent} has no settings"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _and(names: Iterable[str]) -> str:
    return " and ".join(", ".join(sorted(names)).rsplit(", ", 1))


def _or(names: Iterable[str]) -> str:
    return " or ".join(", ".join(names).rsplit(", ", 1))
