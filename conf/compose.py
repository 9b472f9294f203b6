"""From what was typed to plain values: Hydra's composition, with its errors in one sentence. This
file, conf/stored.py and train.py are all that knows Hydra."""

from __future__ import annotations

import argparse
import difflib
import itertools
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import run_job
from hydra.errors import HydraException, MissingConfigException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from conf import population
from conf import trust as trusting
from conf.sentences import Wrong, and_, line, near

PARTS = ("paradigm", "agent", "env", "replay", "explore", "lr_schedule")
MOST_JOBS = 16  # of a multirun: so many combinations are checked whole, beyond that each value once


@dataclass(frozen=True)
class Setup:
    """A composed run: plain values, and which choice each group has.

    stored: the values as config.yaml keeps them, with `${key}` where one is another's, so that both
    change when the run is resumed. hydra: everything that Hydra composed, its own part too. auto:
    whether workers=auto was typed; `workers` is then one a core, until a trial settles it.
    """

    values: dict[str, Any]
    choices: dict[str, str]
    stored: dict[str, Any] = field(default_factory=dict)
    hydra: DictConfig | None = None
    auto: bool = False

    @property
    def typed(self) -> list[str]:
        """The keys and groups that were typed for this run; none where a run goes on."""
        if self.hydra is None:
            return []
        return [parsed(text).key_or_group for text in self.hydra.hydra.overrides.task]


def compose(overrides: list[str], name: str = "config", folder: str | Path | None = None) -> Setup:
    """The configuration that these overrides give, resolved. Raises Wrong."""
    if folder is None:
        start: Any = initialize_config_module("conf", job_name="train", version_base="1.3")
    else:
        start = initialize_config_dir(str(Path(folder).resolve()), version_base="1.3")
    try:
        with start:
            given = [typed_for_hydra(text) for text in overrides]
            cfg = hydra_compose(name, overrides=given, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Wrong(_sentence(error, overrides, name, folder)) from error
    return setup(cfg, cfg.hydra, cfg)


def setup(cfg: DictConfig, own: Any, hydra: DictConfig | None = None) -> Setup:
    """What Hydra has composed; own: the part that is its own. Raises Wrong."""
    chosen = own.runtime.choices.items()
    choices = {k: str(v) for k, v in chosen if not {"/", "@"} & {*k} and v is not None}
    mine = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    if "paradigm" in mine and mine.get("logger") is None:  # logger=[] leaves no key
        OmegaConf.update(mine, "logger", {}, force_add=True)
    if auto := mine.get("workers") == "auto":
        mine["workers"] = len(os.sched_getaffinity(0))
    values = resolved(mine)
    return Setup(values, choices, storable(OmegaConf.to_container(mine), values), hydra, auto)


def run(setup: Setup, task: Callable[[Path], float]) -> float:
    """Runs task(folder) as `@hydra.main` runs one job, with what is composed already: Hydra makes
    the folder and does what its own settings say. Raises Wrong if the folder cannot be made."""
    assert setup.hydra is not None
    cfg, loader = setup.hydra, ConfigLoaderImpl(create_config_search_path("pkg://conf"))
    callbacks = Callbacks(cfg)
    callbacks.on_run_start(config=cfg, config_name="config")
    try:
        done = run_job(
            task_function=lambda _: task(Path(HydraConfig.get().runtime.output_dir)),
            config=cfg,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(config_loader=loader, callbacks=callbacks),
        )
    except OSError as error:
        raise Wrong(f"hydra.run.dir={cfg.hydra.run.dir} cannot be made: {line(error)}") from error
    callbacks.on_run_end(config=cfg, config_name="config", job_return=done)
    score: float = done.return_value
    return score


def flags_of(arguments: list[str]) -> argparse.Namespace:
    """Hydra's own flags, and `overrides`. Raises Wrong."""
    parser = get_args_parser()

    def wrong(message: str) -> NoReturn:
        raise Wrong(f"{line(Exception(message))}; see --help")

    parser.error = wrong  # type: ignore[method-assign]
    flags = parser.parse_args(arguments)
    if flags.config_dir and not Path(flags.config_dir).is_dir():
        raise Wrong(f"--config-dir={flags.config_dir} is not a folder")
    return flags


def typed_for_hydra(text: str) -> str:
    """What an env's constructor takes is open, and so is what a population searches: such a key
    needs no plus. The paradigm of its members is chosen by a word. Raises Wrong."""
    keys = r"(env\.(kwargs|reference)|kwargs|paradigm\.search)[.=]"
    return f"++{text}" if re.match(keys, text) else population.typed(text)


def storable(raw: Any, values: dict[str, Any]) -> dict[str, Any]:
    """`raw` with only such interpolations as a stranger's file may have, else the values."""

    def kept(node: Any, value: Any) -> Any:
        if isinstance(node, dict):
            return {name: kept(child, value[name]) for name, child in node.items()}
        if isinstance(node, list):
            return [kept(*pair) for pair in zip(node, value, strict=True)]
        return node if isinstance(node, str) and trusting.REFERENCE.fullmatch(node) else value

    stored: dict[str, Any] = kept(raw, values)
    try:
        same = trusting.dereferenced(stored) == values
    except LookupError:
        same = False
    return stored if same else values


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts, lists and numbers. Raises Wrong for a missing value or a dangling `${...}`."""
    try:
        return cast(
            dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        )
    except MissingMandatoryValue as error:
        raise Wrong(f"{error.full_key} has no value yet: add {error.full_key}=VALUE") from error
    except InterpolationResolutionError as error:
        raise Wrong(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def parsed(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise Wrong(f"{text!r} cannot be read: write key=value, and quote special signs") from error


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


def flatten(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf; lists and empty dicts are leaves."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from flatten(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _sentence(error: Exception, overrides: list[str], name: str, folder: str | Path | None) -> str:
    """Hydra's message as one sentence with the choices."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if f"paradigm.of={choice}" in overrides:
            return f"paradigm.of={choice} is not a choice: there are {population.of_those()}"
        if error.options:
            note = (
                "; pip install 'paceline[sweep]' adds joblib" if group == "hydra/launcher" else ""
            )
            close = difflib.get_close_matches(choice, error.options, n=1)
            there = f"; did you mean {group}={close[0]}?" if close else ""
            return f"{group}={choice} is not a choice: there are {and_(error.options)}{there}{note}"
        return f"there is no configuration {error.missing_cfg_file}"
    if match := re.search(r"Ambiguous value for argument '(.+?)'", text):
        return f"{match[1]} lists several values: add -m to run one after another"
    if match := re.search(r"Could not append.*already at '(.+?)'", text, re.DOTALL):
        return f"{match[1]} is there already: write {match[1]}=VALUE without the plus"
    if match := re.search(r"Could not override '(.+?)'", text):
        return _unknown(
            match[1].rpartition("@")[2], getattr(error, "__cause__", None), overrides, name, folder
        )
    if "possible interpolation keys" in text or "override must be a string" in text:
        return f"{' '.join(overrides)}: each group needs a choice, such as agent=sac"
    return line(error)


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
    return f"{full} is not a setting; {near(full, known)}"
