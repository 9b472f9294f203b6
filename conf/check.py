"""What the user typed, checked before any process is started and any folder is made.

    typed = check.command_line(sys.argv[1:])    # raises Wrong, whose text is one sentence

First what needs YAML alone, then what needs the constructors, which import torch (a second).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conf import limits, population, rules, schema, trust, worlds
from conf.compose import PARTS, Setup, compose, flags_of, jobs, parsed, typed_for_hydra
from conf.nodes import made
from conf.sentences import Wrong, and_, or_
from conf.stored import resumed

ROOT = Path(__file__).resolve().parent.parent
MADE_OF = ("paradigm", "agent", "replay", "explore", "lr_schedule")  # parts with a constructor


@dataclass(frozen=True)
class Typed:
    """What shall be done: one run, or what Hydra does with its own arguments (several runs, help).

    folder: of a run that goes on; None where Hydra names it.
    """

    arguments: list[str]
    setup: Setup | None = None
    folder: Path | None = None


def command_line(
    arguments: list[str], *, plausible: Callable[[Setup], None] = lambda setup: None
) -> Typed:
    """Composes and checks what was typed. Raises Wrong.

    plausible: called with a run whose YAML is right, before its constructors are imported.
    """
    ours()
    trust.look_in(".")
    flags = flags_of(arguments)
    if flags.help or flags.hydra_help or flags.shell_completion or flags.info:
        return Typed(arguments)
    if flags.config_dir:
        trust.look_in(flags.config_dir)
    overrides = [parsed(text) for text in flags.overrides]
    said = {o.key_or_group: o for o in overrides}
    if "resume" in said and said["resume"].value() is not None:
        if flags.multirun:
            raise Wrong("resume goes on with one run: leave out -m")
        named: Any = said["trust"].value() if "trust" in said else ()
        trusted = trust.trusted(named)
        setup, folder = resumed(overrides, trusted)
        if flags.cfg:
            raise Wrong(f"--cfg shows a run that begins anew; see {folder / 'config.yaml'}")
        values(setup)
        spaces(setup, most=limits.room_of(Path(setup.values["resume"]), trusted))
        return Typed(arguments, setup, folder)
    if "trust" in said:
        raise Wrong("trust goes with resume=FOLDER: what you name yourself is run without it")
    searched = []
    if flags.config_dir:
        searched = [f"hydra.searchpath=['file://{Path(flags.config_dir).resolve()}']"]
    name, place, built = flags.config_name or "config", flags.config_path, set[str]()
    several = flags.multirun or flags.cfg
    given = [typed_for_hydra(text) for text in arguments]
    for job in jobs(overrides) if flags.multirun else [flags.overrides]:
        setup = compose([*job, *searched], name, place)
        settings(setup)
        if not several:
            plausible(setup)
        constructors(setup)
        effective(setup)
        world = yaml.safe_dump([setup.values[part] for part in ("env", "agent", "paradigm")])
        if world not in built and not flags.cfg:
            built.add(world)
            spaces(setup)
    return Typed(given) if several else Typed(given, setup)


def ours() -> None:
    """Raises Wrong if Python would import another package of one of our names."""
    for package in (*schema.OURS, "conf"):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not any(Path(place).resolve() == ROOT / package for place in places):
            found = places[0] if places else "nowhere"
            raise Wrong(
                f"the package {package!r} would be imported from {found} and not from"
                f" {ROOT}; uninstall the other one, or start python in {ROOT}"
            )


def values(setup: Setup) -> None:
    """Checks every value against the settings and constructors. Raises Wrong."""
    settings(setup)
    constructors(setup)


def settings(setup: Setup) -> None:
    """Checks what belongs to the run and its env, without importing a part. Raises Wrong."""
    v = setup.values
    schema.check(schema.Config, v, beside=(*PARTS, "logger"))
    for part in PARTS:
        if not isinstance(v.get(part), dict) or (part != "env" and "_target_" not in v[part]):
            raise Wrong(f"{part} is missing from the configuration: add {part}=CHOICE")
    schema.check(schema.Env, v["env"], "env", beside=["make"])
    if not isinstance(v["env"].get("make"), dict) or "_target_" not in v["env"]["make"]:
        raise Wrong("env.make is missing from the configuration: begin env's YAML with env_base")
    sizes = {k: n for k, n in v["replay"].items() if k == "batch_size"}
    schema.check(schema.Batches, sizes, "replay")
    rules.crossed(v)
    population.crossed(v)


def constructors(setup: Setup) -> None:
    """Checks every keyword of every constructor, and whether the parts go together."""
    for part in MADE_OF:
        node(part, setup.values[part], beside=["batch_size"] if part == "replay" else [])
    node("env.make", setup.values["env"]["make"])
    for part in ("paradigm", "explore", "lr_schedule"):  # refuse what annotations cannot say
        made(setup.values[part], part)
    population.searched(setup.values)
    rules.there(setup.values["device"])
    sinks(setup.values["logger"])
    fitting(setup)


def node(key: str, at: Mapping[str, Any], *, beside: Collection[str] = ()) -> None:
    """Checks a node with a `_target_`, and those below it."""
    if not isinstance(at["_target_"], str):
        raise Wrong(f"{key}._target_={at['_target_']} must be module.Name")
    partial = at.get("_partial_", False)
    if not isinstance(partial, bool):
        raise Wrong(f"{key}._partial_={partial} must be true or false")
    schema.check(schema.found(at["_target_"], key), at, key, beside=[*beside])
    for name, child in at.items():
        if isinstance(child, dict) and "_target_" in child:
            node(f"{key}.{name}", child)


def sinks(loggers: Any) -> None:
    """Checks the nodes of `logger`, and whether their packages are installed. Raises Wrong."""
    for name, sink in loggers.items() if isinstance(loggers, dict) else [("", loggers)]:
        if not schema.is_node(sink):
            raise Wrong(
                f"logger.{name} must be a mapping with a _target_: write logger=[NAME,...] with"
                " tensorboard, wandb or trackio, or logger=[]"
            )
        node(f"logger.{name}", sink)
        package = getattr(schema.found(sink["_target_"], f"logger.{name}"), "package", None)
        if package and importlib.util.find_spec(package) is None:
            raise Wrong(f"logger=[{name}] needs {package}: pip install 'paceline[{package}]'")


def attributes(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What the class behind `values[part]` says of itself: needs, offers, and so on."""
    what = schema.found(values[part]["_target_"], part)
    names = ("needs", "offers", "ignores", "replays", "kind", "once", "workers")
    return {name: getattr(what, name) for name in names if hasattr(what, name)}


def fitting(setup: Setup) -> None:
    """Whether agent, replay, paradigm and engine go together: set inclusion over what they list."""
    v = setup.values
    paradigm, agent, replay = (attributes(v, p) for p in ("paradigm", "agent", "replay"))
    chosen = {part: f"{part}={setup.choices.get(part, '?')}" for part in PARTS}
    lacking = paradigm.get("needs", frozenset()) - agent.get("offers", frozenset())
    if lacking:
        raise Wrong(
            f"{chosen['paradigm']} needs an agent that offers {and_(lacking)},"
            f" which {chosen['agent']} does not"
        )
    ignores = paradigm.get("ignores", frozenset())
    offers = paradigm.get("offers", frozenset())
    if v["evaluation"]["where"] == "worker" and "evaluation.where=worker" not in offers:
        raise Wrong(
            f"evaluation.where=worker is a task of {_that_offer('evaluation.where=worker')}, not of"
            f" {chosen['paradigm']}; choose process or inline"
        )
    if v["policy_lag"] and "policy_lag" not in offers:
        raise Wrong(
            f"policy_lag={v['policy_lag']} is how old the weights are on which workers act, and"
            f" {chosen['paradigm']} has one copy of them: set policy_lag=0, or choose"
            f" {_that_offer('policy_lag')}"
        )
    rules.one_car(v, paradigm.get("workers") or v["workers"])
    if "warmup" not in ignores:
        rules.learns(v)
    if "replay" in ignores:
        return
    kind = replay.get("kind")
    for part, says in (("agent", agent), ("paradigm", paradigm)):
        kinds = says.get("replays")
        if kind and kinds and kind not in kinds:
            works = or_(sorted(kinds))
            raise Wrong(f"{chosen[part]} works with replay {works}, not {chosen['replay']}")
    rules.divided(v, v["workers"])
    (rules.consumed_once if replay.get("once") else rules.kept)(v, chosen["replay"])


def effective(setup: Setup) -> None:
    """Whether what was typed means something to the paradigm. Raises Wrong."""
    ignores = attributes(setup.values, "paradigm").get("ignores", frozenset())
    rules.without_effect(setup.typed, ignores, f"paradigm={setup.choices.get('paradigm')}")


def _that_offer(what: str) -> str:
    """The paradigms that have a setting."""
    found = []
    for path in sorted((ROOT / "conf" / "paradigm").glob("*.yaml")):
        target = (yaml.safe_load(path.read_text("utf-8")) or {}).get("_target_")
        if target and what in getattr(schema.found(target, "paradigm"), "offers", ()):
            found.append(f"paradigm={path.stem}")
    return or_(found)


def spaces(setup: Setup, *, most: int | None = None) -> None:
    """Builds the reference env, those that workers step and the agent, in `most` bytes or in those
    that are free, and compares what they are with what the agent needs. Raises Wrong."""
    needs = attributes(setup.values, "agent").get("needs", frozenset())
    with limits.memory(most or limits.usual(), "agent and env together take"):
        worlds.build(setup, needs)
