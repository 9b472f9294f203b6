"""Every YAML composes, binds and instantiates, and says what the constructor says."""

from __future__ import annotations

import importlib.util
import inspect
import math
import subprocess
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Ge, Gt, Le
from omegaconf import OmegaConf

from conf import check, matrix, schema
from conf.compose import PARTS, compose, flatten, resolved
from conf.nodes import made
from conf.sentences import Wrong, words

ROOT = Path(__file__).resolve().parents[1]
GIVEN = {  # choices that leave a value to the user, or go with another choice
    "gym": ["env.id=Pendulum-v1"],
    "atari": ["env.kwargs.game=pong"],
    "rollout": ["agent=ppo"],
    "fifo": ["agent=actor_critic"],
}
CHOICES = sorted(
    (path.parent.name, path.stem)
    for path in (ROOT / "conf").glob("*/*.yaml")
    if path.parent.name in PARTS
)


def assert_defaults(group: str, choice: str, node: dict[str, Any]) -> None:
    what = schema.found(node["_target_"], group)
    parameters = inspect.signature(what).parameters
    given = {*schema.GIVEN.get("env.make" if group == "env" else group, ())}
    assert parameters.keys() - given == node.keys() - {*schema.SPECIAL, "batch_size"}
    text: Any = OmegaConf.load(ROOT / f"conf/{group}/{choice}.yaml")
    text = OmegaConf.to_container(text)
    own = text.get("agent", text) if group == "agent" else text
    if group == "env" or "_target_" not in own:
        return  # a preset: it is there to differ
    for name, parameter in parameters.items():
        linked = isinstance(own.get(name), str) and "${" in own[name]
        if name in own and parameter.default is not parameter.empty and not linked:
            default = parameter.default
            if name in ("shares", "search"):  # a dataclass's mapping is made anew
                default = what.__dataclass_fields__[name].default_factory()
            default = [*default] if isinstance(default, tuple) else default
            assert own[name] == default, f"{group}.{name}"


def of_group(group: str) -> list[str]:
    return [choice for kind, choice in CHOICES if kind == group]


@pytest.mark.parametrize("group", sorted({group for group, _ in CHOICES}))
def test_every_choice_composes_binds_and_instantiates(
    group: str, subtests: pytest.Subtests
) -> None:
    """And has every keyword of its constructor, with the constructor's default."""
    for choice in of_group(group):
        with subtests.test(choice):
            setup = compose([f"{group}={choice}", *GIVEN.get(choice, [])])
            check.values(setup)
            node = dict(setup.values[group])
            node.pop("batch_size", None)
            node = node["make"] if group == "env" else node
            assert_defaults(group, choice, node)
            what = made(node, group)
            assert callable(what) or hasattr(what, "run")


def test_a_pair_finds_its_tuned_values(subtests: pytest.Subtests) -> None:
    for name in sorted(p.stem for p in (ROOT / "conf/tuned").glob("*.yaml")):
        with subtests.test(name):
            words = name.split("_")
            splits = [("_".join(words[:k]), "_".join(words[k:])) for k in range(1, len(words))]
            agent, env = next((a, e) for a, e in splits if {("agent", a), ("env", e)} <= {*CHOICES})
            setup = compose([f"agent={agent}", f"env={env}"])
            check.values(setup)
            assert setup.choices["tuned"] == name
            reached = dict(flatten(setup.values))
            tuned = resolved(OmegaConf.load(ROOT / f"conf/tuned/{name}.yaml"))
            tuned.pop("defaults", None)  # the pair whose values this one begins with
            assert {key: reached[key] for key, _ in flatten(tuned)} == dict(flatten(tuned))


def test_every_experiment_passes_the_check(subtests: pytest.Subtests) -> None:
    for name in sorted(p.stem for p in (ROOT / "conf/experiment").glob("*.yaml")):
        with subtests.test(name):
            check.command_line([f"+experiment={name}"])


def test_what_is_typed_wins_over_tuned_values() -> None:
    assert compose(["env=lander", "budget.env_steps=77000"]).values["budget"]["env_steps"] == 77000


def test_an_agent_brings_its_replay_and_what_is_typed_or_stored_wins() -> None:
    def composed(agent: str, *typed: str) -> tuple[str, int, float | None]:
        setup = compose([f"agent={agent}", "env=lander", *typed])
        check.values(setup)
        values = setup.values
        return setup.choices["replay"], values["rollout_length"], values["updates_per_env_step"]

    replay, _, pace = composed("ppo")
    assert (replay, pace) == ("rollout", None)
    assert composed("actor_critic", "replay=fifo", "rollout_length=7") == ("fifo", 7, None)
    assert compose(["agent=ppo", "+experiment=diverse_lander"]).values["workers"] == 3


@pytest.mark.slow
def test_a_mistake_that_yaml_shows_is_refused_before_torch_is_imported() -> None:
    lines = ["env=landr", "agent.lrr=1", "workers=0", "policy_lag=3 max_ahead=8"]
    code = (
        "import sys; from conf import check; from conf.sentences import Wrong\n"
        f"for line in {lines}:\n"
        "    try: check.command_line(line.split())\n"
        "    except Wrong: print({'torch', 'agents.sac', 'paradigms.base'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == len(lines) * "set()\n", run.stderr


@pytest.mark.slow
def test_another_package_of_our_name_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import train; train.main()"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith(f"the package 'envs' would be imported from {tmp_path}")


def test_an_engine_must_have_the_env_that_workers_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module: Any = types.ModuleType("envpool")
    module.__spec__ = importlib.util.spec_from_loader("envpool", None)
    module.list_all_envs = lambda: ["CartPole-v1"]
    monkeypatch.setitem(sys.modules, "envpool", module)
    typed = ["env=gym", "env.id=MountainCarContinuous-v0", "env.engine=envpool"]
    with pytest.raises(Wrong, match="envpool has no MountainCarContinuous-v0; choose"):
        check.command_line(typed)
    check.command_line(typed[:2])


MINE = """
from agents.sac import SAC as Base

class Mine(Base):
    replays = frozenset({"elite"})

class Mixed(Base):
    needs = frozenset(Base.needs - {"box"})
"""


def test_an_agent_from_elsewhere_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    mine, mixed = "agent._target_=elsewhere.mine.Mine", "agent._target_=elsewhere.mine.Mixed"
    with pytest.raises(Wrong, match="works with replay elite, not replay=uniform"):
        check.command_line([mine])
    with pytest.raises(Wrong, match="needs continuous actions"):
        check.command_line([mine, "replay=elite", "env=cartpole"])
    check.command_line([mixed])
    check.command_line([mine, "replay=elite"])
    for nowhere in ("nowhere.to.be.Found", "Found", "math.Found", "elsewhere.mine.Found"):
        with pytest.raises(Wrong, match="leads nowhere"):
            check.command_line([f"agent._target_={nowhere}"])


@pytest.mark.slow
def test_cfg_job_prints_the_configuration_and_help_the_choices() -> None:
    shown = _train("--cfg", "job", "env=lander")
    assert yaml.safe_load(shown)["env"]["id"] == "LunarLander-v3"
    helped = _train("--help")
    paradigms = ", ".join(matrix.choices("paradigm"))
    for word in (f"paradigm: {paradigms}", "-m paradigm=", "budget.env_steps", "resume=FOLDER"):
        assert word in helped


def test_a_config_folder_of_the_users_own_adds_choices(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    text = (ROOT / "conf/env/pendulum.yaml").read_text().replace("name: pendulum", "name: mine")
    (tmp_path / "env" / "mine.yaml").write_text(text)
    check.command_line([f"--config-dir={tmp_path}", "env=mine"])


ANNOTATIONS = [
    (int, [3], [True, 1.5, "3", None], "a whole number"),
    (float | None, [3, 1.5, None], ["3", True, math.nan, math.inf], "a number or null"),
    (Sequence[int], [[1, 2]], [3, [1.5], "12"], "a list, each a whole number"),
    (tuple[float, float], [[0.9, 1]], [[0.9], [0.9, "x"]], "a list, each a number"),
    (tuple[int, ...], [[], [1, 2, 3]], [["a"]], "a list, each a whole number"),
    (Literal["a", "b"], ["a"], ["c", 1], "one of a, b"),
    (str | float, ["auto", 0.2], [None], "a word or a number"),
    (Mapping[str, int], [{}], [[]], "a mapping such as {key: value}, each a whole number"),
    (Callable[..., Any], ["anything"], [], "another value"),
    (Annotated[int, Ge(1)], [1], [0], "a whole number of at least 1"),
    (Annotated[float, Ge(0), Le(1)], [0, 1], [-0.1, 1.1], "a number in [0, 1]"),
    (Annotated[float, Gt(0)] | None, [1e-9, None], [0], "a number above 0 or null"),
]


def test_annotations_are_the_schema(subtests: pytest.Subtests) -> None:
    for annotation, good, bad, said in ANNOTATIONS:
        with subtests.test(said):
            assert all(schema.fits(value, annotation) for value in good)
            assert not any(schema.fits(value, annotation) for value in bad)
            assert words(annotation) == said


def _train(*arguments: str) -> str:
    command = [sys.executable, "train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
