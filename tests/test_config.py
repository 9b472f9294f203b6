"""Every YAML composes, binds and instantiates; what cannot run is refused in one sentence."""

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

from conf import check, schema
from conf.build import made
from conf.compose import PARTS, compose, flatten, resolved
from conf.sentences import Wrong, words

ROOT = Path(__file__).resolve().parents[1]
GIVEN = {  # choices that leave a value to the user, or go with another choice
    "gym": ["env.id=Pendulum-v1"],
    "rollout": ["agent=ppo"],
    "fifo": ["agent=actor_critic"],
}
CHOICES = sorted(
    (path.parent.name, path.stem)
    for path in (ROOT / "conf").glob("*/*.yaml")
    if path.parent.name in PARTS
)

WRONG = [
    ("paradigm=nonsense", "there are dcollect, dupdate, hogwild, locked and sequential"),
    ("paradigm=sequental", "did you mean paradigm=sequential?"),
    ("env=landr", "did you mean env=lander?"),
    ("hydra/launcher=submitit", "there are basic"),
    ("paradigmm=dcollect", "did you mean paradigm?"),
    ("agent.lrr=1", "did you mean agent.lr?"),
    ("+agent.lrr=1", "did you mean agent.lr?"),
    ("lr=3", "did you mean agent.lr?"),
    ("env_steps=5", "did you mean budget.env_steps?"),
    ("+foo=1", "there are agent, budget"),
    ("paradigm.merge=mean", "paradigm has no settings"),
    ("+seed=3", "without the plus"),
    ("seed=1,2", "add -m"),
    ("-m seed=1,2 paradigm=sequential,nope", "paradigm=nope is not a choice"),
    ("agent.lr=[", "cannot be read"),
    ("foo", "cannot be read"),
    ("agent.lr=abc", "must be a number"),
    ("agent.hidden_sizes=256", "must be a list, each a whole number in [1, 65536]"),
    ("workers=abc", "must be a whole number"),
    ("workers=0", "must be a whole number of at least 1"),
    ("workers=1.5", "must be a whole number"),
    ("seed=true", "must be a whole number"),
    ("budget.env_steps=-3", "must be a whole number of at least 1"),
    ("evaluation.share=0.0", "must be a number above 0 and at most 1"),
    ("evaluation.share=2.0", "must be a number above 0 and at most 1"),
    ("budget.seconds=-1", "must be a number above 0 or null"),
    ("evaluation.where=moon", "one of process, inline"),
    ("updates_per_env_step=0", "must be a number above 0 or null"),
    ("replay.batch_size=0", "must be a whole number of at least 1 or null"),
    ("device=gpu", "must be cpu, cuda"),
    ("warmup=1000000", "nothing would be learned"),
    ("policy_lag=3 max_ahead=8", "add max_ahead=0"),
    ("updates_per_env_step=null", "replay=uniform needs a number"),
    ("replay=prioritized updates_per_env_step=null", "replay=prioritized needs a number"),
    ("replay.batch_size=null", "the number of transitions of a batch"),
    ("agent=ppo updates_per_env_step=1", "set updates_per_env_step=null"),
    ("agent=ppo replay=uniform", "works with replay rollout"),
    ("agent=ppo replay.batch_size=64", "set replay.batch_size=null"),
    ("agent=ppo warmup=10", "set warmup=0"),
    ("agent=ppo rollout_length=1", "set rollout_length=2"),
    ("agent=ppo replay.capacity=0", "replay.capacity=0 must be a whole number of at least 1"),
    ("agent=actor_critic replay=fifo replay.fragments=9", "replay.capacity=4 must hold a sample"),
    ("agent=ppo paradigm=hogwild paradigm.sample_from=all", "set paradigm.sample_from=own"),
    ("agent=ppo paradigm=dupdate paradigm.sample_from=learner", "set paradigm.sample_from=own"),
    ("agent=ppo paradigm=dupdate paradigm.tasks=by_shares", "set paradigm.tasks=by_pace"),
    ("warmup=${nope}", "'nope' not found"),
    ("env=gym", "env.id has no value yet"),
    ("env=gym env.id=LunarLandr-v3", "did you mean LunarLander-v3"),
    ("env=gym env.id=nowhere:Some-v0", "cannot be imported"),
    ("env=lander +env.kwargs.foo=3", "it takes"),
    ("env=lander env.per_worker=[{},{gravty:-8.0}]", "it takes"),
    ("env=cartpole", "agent=sac needs continuous actions, but env=cartpole has discrete"),
    ("env=gym env.id=CarRacing-v3", "agent=sac needs vectors as observations"),
    ("experiment=diverse_lander", "+experiment=diverse_lander"),
    ("+experiment=nope", "there are diverse_lander"),
    ("agent=null", "needs a choice"),
    ("agent._target_=agents.sac.Sack", "it has SAC"),
    ("agent._target_=agents.nothing.SAC", "there is no module 'agents.nothing'; there are"),
    ("resume=nowhere", "is not a folder"),
    ("resume=conf", "${agent}_${env} is more than another value's key"),
    ("-m seed=0,1 resume=conf", "leave out -m"),
]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_binds_and_instantiates(group: str, choice: str) -> None:
    setup = compose([f"{group}={choice}", *GIVEN.get(choice, [])])
    check.values(setup)
    node = dict(setup.values[group])
    node.pop("batch_size", None)
    what = made(node["make"] if group == "env" else node, group)
    assert callable(what) or hasattr(what, "run")


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "conf/tuned").glob("*.yaml")))
def test_a_pair_finds_its_tuned_values(name: str) -> None:
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


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "conf/experiment").glob("*.yaml")))
def test_every_experiment_passes_the_check(name: str) -> None:
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


@pytest.mark.parametrize(
    "typed", ["sample_from=all", "sample_from=own", "sample_from=learner", "tasks=by_shares"]
)
def test_rows_that_stay_may_be_anybodys_and_come_at_random_times(typed: str) -> None:
    check.command_line(["replay=prioritized", "paradigm=dupdate", f"paradigm.{typed}"])


@pytest.mark.parametrize(("typed", "said"), WRONG)
def test_what_cannot_run_is_refused_in_one_sentence(typed: str, said: str) -> None:
    with pytest.raises(Wrong) as caught:
        check.command_line(typed.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refusal_is_one_line_on_stderr_and_exit_code_2() -> None:
    run = subprocess.run(
        [sys.executable, "train.py", "paradigm=nonsense"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "typed", ["env=landr", "agent.lrr=1", "workers=0", "policy_lag=3 max_ahead=8"]
)
def test_a_mistake_that_yaml_shows_is_refused_before_torch_is_imported(typed: str) -> None:
    code = (
        "import sys; from conf import check; from conf.sentences import Wrong\n"
        f"try: check.command_line({typed.split()})\n"
        "except Wrong: print(sorted({'torch', 'agents.sac', 'paradigms.base'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr


def test_another_package_of_our_name_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import train; train.main()"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith(f"the package 'envs' would be imported from {tmp_path}")


def test_an_engine_is_asked_for_the_world_that_workers_step(
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


def test_cfg_job_prints_the_configuration_and_help_the_choices() -> None:
    shown = _train("--cfg", "job", "env=lander")
    assert yaml.safe_load(shown)["env"]["id"] == "LunarLander-v3"
    helped = _train("--help")
    for word in ("paradigm: dcollect", "-m paradigm=", "budget.env_steps", "resume=FOLDER"):
        assert word in helped


def test_a_config_folder_of_the_users_own_adds_choices(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    text = (ROOT / "conf/env/pendulum.yaml").read_text().replace("name: pendulum", "name: mine")
    (tmp_path / "env" / "mine.yaml").write_text(text)
    check.command_line([f"--config-dir={tmp_path}", "env=mine"])


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "said"),
    [
        (int, [3], [True, 1.5, "3", None], "a whole number"),
        (float | None, [3, 1.5, None], ["3", True, math.nan, math.inf], "a number or null"),
        (Sequence[int], [[1, 2]], [3, [1.5], "12"], "a list, each a whole number"),
        (tuple[float, float], [[0.9, 1]], [[0.9], [0.9, "x"]], "a list, each a number"),
        (tuple[int, ...], [[], [1, 2, 3]], [["a"]], "a list, each a whole number"),
        (Literal["a", "b"], ["a"], ["c", 1], "one of a, b"),
        (str | float, ["auto", 0.2], [None], "a word or a number"),
        (Mapping[str, int], [{}], [[]], "a mapping such as {key: value}"),
        (Callable[..., Any], ["anything"], [], "another value"),
        (Annotated[int, Ge(1)], [1], [0], "a whole number of at least 1"),
        (Annotated[float, Ge(0), Le(1)], [0, 1], [-0.1, 1.1], "a number in [0, 1]"),
        (Annotated[float, Gt(0)] | None, [1e-9, None], [0], "a number above 0 or null"),
    ],
)
def test_annotations_are_the_schema(annotation: Any, good: list, bad: list, said: str) -> None:
    assert all(schema.fits(value, annotation) for value in good)
    assert not any(schema.fits(value, annotation) for value in bad)
    assert words(annotation) == said


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_default_of_a_constructor_is_what_its_yaml_says(group: str, choice: str) -> None:
    """And every keyword is there, so that a key on the command line is never unknown."""
    node = compose([f"{group}={choice}", *GIVEN.get(choice, [])]).values[group]
    node = node["make"] if group == "env" else node
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
            if name == "shares":  # a dataclass's mapping is made anew
                default = what.__dataclass_fields__[name].default_factory()
            default = [*default] if isinstance(default, tuple) else default
            assert own[name] == default, f"{group}.{name}"


def _train(*arguments: str) -> str:
    command = [sys.executable, "train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
