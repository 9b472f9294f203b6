"""What the user typed, checked before anything heavy is imported or started.

    arguments = check.command_line(sys.argv[1:])    # raises Wrong, whose text is one sentence

YAML is the source of values and the constructors' annotations are the schema (see `signature`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.utils import get_args_parser

from conf import signature
from conf.compose import PARTS, Setup, compose, flatten, jobs, parsed
from conf.sentences import Wrong, and_, line, near, or_
from conf.settings import SETTINGS, crossed, of_rows_handed_out_once, of_rows_kept


def command_line(arguments: list[str]) -> list[str]:
    """Checks what was typed and returns what Hydra shall get.

    A resumed run's configuration is added; flags that ask for help pass unchecked. Raises Wrong.
    """
    ours()
    flags = get_args_parser().parse_args(arguments)
    if flags.help or flags.hydra_help or flags.shell_completion or flags.info:
        return arguments
    name, folder = flags.config_name or "config", flags.config_path
    overrides = [parsed(text) for text in flags.overrides]
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


def values(setup: Setup) -> None:
    """Checks every value against the settings and constructors. Raises Wrong."""
    flat = dict(flatten(setup.values))
    own = [k for k in flat if k.partition(".")[0] not in PARTS]
    for key in own:
        if key not in SETTINGS:
            raise Wrong(f"{key} is not a setting; {near(key, flat)}")
        SETTINGS[key].check(key, flat[key])
    missing = next((k for k in SETTINGS if k not in flat), None)
    if missing is not None:
        raise Wrong(f"{missing} is missing from the configuration: add {missing}=VALUE")
    for part in PARTS:
        if not isinstance(setup.values.get(part), dict):
            raise Wrong(f"{part} is missing from the configuration: add {part}=CHOICE")
        nodes(part, setup.values[part])
    crossed(setup.values)
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
            meant = near(f"{key}.{name}", [f"{key}.{k}" for k in takes.keywords])
            raise Wrong(f"{key}.{name} is not a setting; {meant}")
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
            f"{chosen['paradigm']} needs an agent that offers {and_(lacking)},"
            f" which {chosen['agent']} does not"
        )
    kind = replay.get("kind")
    for part, says in (("agent", agent), ("paradigm", paradigm)):
        kinds = says.get("replays")
        if kind and kinds and kind not in kinds:
            works = or_(sorted(kinds))
            raise Wrong(f"{chosen[part]} works with replay {works}, not {chosen['replay']}")
    check = of_rows_handed_out_once if replay.get("once") else of_rows_kept
    check(setup.values, chosen["replay"])


def spaces(setup: Setup) -> None:
    """Builds the reference env and those that workers step, and compares what they are with what
    the agent needs. Raises Wrong."""
    from gymnasium.spaces import Box
    from hydra.utils import instantiate

    node = setup.values["env"]
    try:
        make = instantiate(node["make"], _convert_="all")
        for rank in (None, *range(max(1, len(node.get("per_worker") or ())))):
            env = make(num_envs=1, seed=0, rank=rank)
            env.close()
    except ValueError as error:
        raise Wrong(line(error)) from error
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
