"""A policy or a run folder that somebody else has written is data: it runs no code of its own
choosing, takes no memory that it does not have, and is refused in one sentence with exit code 2."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import evaluate
import train
from agents.parts.vector import Vector
from conf import trust
from conf.build import made
from conf.compose import compose
from envs.make import describe
from paradigms.base import Snapshot
from paradigms.session import policy as policies
from paradigms.session.policy import save_policy

ROOT = Path(__file__).resolve().parents[1]
RUN = compose(["env=identity", "agent.hidden_sizes=[8,8]"])
EVIL = "import pathlib\npathlib.Path('RAN').touch()\nclass Agent: ...\ndef f(*a, **k): ...\n"
Values = dict[str, Any]


def policy(folder: Path, values: Values) -> Path:
    """A policy as a run keeps it."""
    spec = describe(made(values["env"]["make"]))
    agent = made(values["agent"])(spec, seed=0, device="cpu")
    vector = Vector(agent)
    floats = vector.floats[: vector.size("evaluate")].detach().clone()
    path = folder / "final.safetensors"
    about = {name: values[name] for name in ("agent", "env", "seed")}
    whole = Snapshot("evaluate", floats, vector.counts.clone(), 0)
    save_policy(path, whole, {**about, "choices": RUN.choices, "which": "final"})
    return path


def sealed(path: Path, values: Values) -> Values:
    """Writes a policy's JSON with the digest that belongs to it: a stranger can compute it, too."""
    values = {name: value for name, value in values.items() if name != "sha256"}
    digest = policies._digest(load_file(path), values)
    path.with_suffix(".json").write_text(json.dumps({**values, "sha256": digest}))
    return values


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which a module `evil` leaves a file RAN if it is imported."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return tmp_path


def refused(
    main: Callable[[], None],
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The sentence with which a script leaves."""
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, ""), err
    assert len(err.splitlines()) == 1, err
    assert not Path("RAN").exists(), err
    return err


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 1


SYSTEM = {"_target_": "os.system", "command": "touch RAN"}
GIT = {"_target_": "paradigms.session.origin.git", "_args_": ["-c", "alias.x=!touch RAN", "x"]}
WRITE = {"_target_": "paradigms.session.checkpoint.write_json", "path": "RAN", "value": 1}
PARTS: list[tuple[str, Any, str]] = [  # key, what it becomes, what is said
    ("agent._target_", "os.system", "neither of this library nor an agent"),
    ("agent._target_", "subprocess.Popen", "neither of this library nor an agent"),
    ("agent._target_", "evil.Agent", "add trust=evil"),
    ("agent._target_", "torch.load", "add trust=torch"),
    ("agent._target_", "paradigms.session.origin.git", "nothing that agent can be"),
    ("agent._target_", "agents.parts.networks.MLP", "nothing that agent can be"),
    ("agent._target_", "agents.sac.torch.load", "leads nowhere"),
    ("agent._target_", "envs.make.importlib.import_module", "nothing that agent can be"),
    ("agent._target_", "agents..sac", "leads nowhere"),
    ("agent._target_", ["agents.sac.SAC"], "neither of this library nor an agent"),
    ("agent.hidden_sizes", [SYSTEM], "agent.hidden_sizes.0._target_=os.system is neither"),
    ("agent.hidden_sizes", [[[GIT]]], "_args_ is not a setting"),
    ("agent.betas", {"deep": [0, {"in": SYSTEM}]}, "agent.betas.deep.1.in._target_=os.system"),
    ("agent.lr", WRITE, "nothing that agent.lr can be"),
    ("agent.lr", {"_target_": "agents.sac.SAC"}, "nothing that agent.lr can be"),
    ("agent._args_", [1], "_args_ is not a setting"),
    ("agent._partial_", SYSTEM, "must be true or absent"),
    ("agent._partial_", False, "_partial_=False must be true or absent"),
    ("agent._recursive_", True, "_recursive_ is not a setting"),
    ("env.make._target_", "evil.f", "add trust=evil"),
    ("env.make._target_", "gymnasium.register", "add trust=gymnasium"),
    ("env.make._target_", "envs.make.importlib.import_module", "nothing that env.make can be"),
    ("env.make._target_", "envs.uniform.main", "nothing that env.make can be"),
    ("env.make.id", "evil:Some-v0", "add trust=evil"),
    ("env.id", "evil:Some-v0", "add trust=evil"),
    ("env.make.kwargs", {"x": SYSTEM}, "env.make.kwargs.x._target_=os.system"),
    ("agent.hidden_sizes", [8] * 20_000, "more than 10000 values"),
    ("agent.hidden_sizes", [2**62], "must be a list, each a whole number in [1, 65536]"),
    ("agent.hidden_sizes", [60_000, 60_000], "too few for agent.hidden_sizes"),
    ("agent.critics", 10**9, "must be a whole number in [1, 1024]"),
    ("agent.lr", float("nan"), "must be a finite number"),
    ("agent.lr", "0" * 3000, "a text that is too long"),
    ("agent.noise", "\x1b]0;x\x07", "a text that is too long or cannot be printed"),
    ("agent.hidden_sizes", deep(40), "20 levels"),
    ("agent.seed", 10**30, "that no setting can be"),
    ("agent", None, "no agent"),
    ("env.make", [], "no env.make"),
]


def changed(values: Values, key: str, value: Any) -> Values:
    result = copy.deepcopy(values)
    *path, last = key.split(".")
    node = result
    for name in path:
        node = node[name]
    node[last] = value
    return result


def named(case: Any) -> str:
    return f"{case[0]}={str(case[1])[:30]}"


@pytest.mark.parametrize(("key", "value", "said"), PARTS, ids=map(named, PARTS))
def test_a_policy_is_data(
    key: str,
    value: Any,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = policy(here, RUN.values)
    sealed(path, changed(json.loads(path.with_suffix(".json").read_text()), key, value))
    assert said in refused(evaluate.main, ["run=.", "episodes=1"], capsys, monkeypatch)


def test_an_env_of_another_package_needs_trust(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gym.register("evil/Some-v0", "evil:f")
    path = policy(here, RUN.values)
    values = json.loads(path.with_suffix(".json").read_text())
    values = sealed(path, changed(values, "env.make.id", "evil/Some-v0"))
    said = refused(evaluate.main, ["run=.", "episodes=1"], capsys, monkeypatch)
    assert "env.id=evil/Some-v0" in said and "add trust=evil" in said
    assert trust.foreign(values) == ["evil"]
    assert trust.foreign(changed(values, "env.make.id", "mine.envs:Some-v0")) == ["mine"]
    assert trust.foreign(RUN.values) == []


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n"
FILES: list[tuple[str, Any, str]] = [
    ("not JSON", "{", "cannot be read"),
    ("no mapping", "[1, 2]", "holds a list"),
    ("empty", "", "cannot be read"),
    ("not text", b"\xff\xfe\x00", "cannot be read"),
    ("deep", "[" * 100_000, "cannot be read"),
    ("large", '"' + "x" * 2**20 + '"', "larger than 256 KiB"),
    ("too little", '{"agent": {}}', "cannot be read as a policy"),
]


@pytest.mark.parametrize(("name", "text", "said"), FILES, ids=[case[0] for case in FILES])
def test_a_file_that_is_no_policy_is_refused(
    name: str,
    text: str | bytes,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = policy(here, RUN.values).with_suffix(".json")
    about.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in refused(evaluate.main, ["run=.", "episodes=1"], capsys, monkeypatch)


def test_a_file_without_an_end_is_not_read(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    about = policy(here, RUN.values).with_suffix(".json")
    about.unlink()
    about.symlink_to("/dev/zero")
    assert "is not a file" in refused(evaluate.main, ["run=."], capsys, monkeypatch)


@pytest.mark.parametrize("count", [1, 10_000])
def test_weights_of_another_size_are_refused(
    count: int, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = policy(here, RUN.values)
    save_file({"floats": torch.zeros(count), "counts": torch.zeros(3)}, path)
    sealed(path, json.loads(path.with_suffix(".json").read_text()))
    said = refused(evaluate.main, ["run=.", "episodes=1"], capsys, monkeypatch)
    assert f"it has {count} numbers" in said


def test_an_honest_policy_is_played(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(here, RUN.values)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "run=.", "episodes=2"])
    evaluate.main()
    assert "over 2 episodes" in capsys.readouterr().out


def run_folder(home: Path, values: Values) -> Path:
    """What a resumed run is read from; its checkpoint is never reached."""
    folder = home / "run"
    (folder / "checkpoints" / "1").mkdir(parents=True)
    (folder / "checkpoints" / "1" / "manifest.json").write_text("{}")
    (folder / "run.json").write_text(json.dumps({"choices": RUN.choices}))
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


RUNS: list[tuple[str, Any, str]] = [
    ("hydra", {"callbacks": {"x": SYSTEM}}, "hydra.callbacks.x._target_=os.system"),
    ("hydra", {"searchpath": ["file:///tmp"]}, "hydra is not a setting"),
    ("defaults", ["/agent: sac"], "defaults is not a setting"),
    ("trust", ["evil"], "trust is not a setting"),
    ("explore", GIT, "_args_ is not a setting"),
    ("explore._target_", "paradigms.session.checkpoint.write_json", "nothing that explore can be"),
    ("explore._target_", "evil.Agent", "add trust=evil"),
    ("replay._target_", "paradigms.runtime.server.os", "nothing that replay can be"),
    ("replay._target_", "paradigms.session.checkpoint.Checkpoints", "nothing that replay can be"),
    ("paradigm._target_", "paradigms.runtime.crew.Crew", "nothing that paradigm can be"),
    ("lr_schedule._target_", "shutil.rmtree", "neither of this library nor an agent"),
    ("device", "${oc.env:HOME}", "more than another value's key"),
    ("device", "${nowhere.at.all}", "leads nowhere"),
    ("policy_lag", "${seed}${seed}", "more than another value's key"),
    ("agent.lr", "${explore.steps}", "leads to another reference"),
    ("more", {str(i): "${agent}" for i in range(900)}, "more than 10000 values"),
    ("workers", 0, "must be a whole number of at least 1"),
    ("env.id", "evil:Some-v0", "add trust=evil"),
]


@pytest.mark.parametrize(("key", "value", "said"), RUNS, ids=map(named, RUNS))
def test_a_run_folder_is_data(
    key: str,
    value: Any,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = run_folder(here, changed(RUN.stored, key, value))
    before = (folder / "config.yaml").read_bytes()
    assert said in refused(train.main, [f"resume={folder}"], capsys, monkeypatch)
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [(BOMB, "it has aliases"), ("a: !!python/object/apply:os.system [x]", "cannot be read")],
)
def test_yaml_that_does_more_than_say_values_is_refused(
    text: str,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = run_folder(here, RUN.stored)
    (folder / "config.yaml").write_text(text)
    assert said in refused(train.main, [f"resume={folder}"], capsys, monkeypatch)


@pytest.mark.parametrize("name", ["os", "a.b", "mine/os", "", "nowhere/at/all/mine"])
def test_trust_is_for_modules_of_ones_own(
    name: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(here, RUN.values)
    said = refused(evaluate.main, ["run=.", f"trust='{name}'"], capsys, monkeypatch)
    assert said.startswith(f"trust={name or repr(name)}")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("workers=3", "workers cannot be changed in a resumed run: leave it at 2"),
        ("agent.hidden_sizes=[4]", "leave it at [8, 8]"),
        ("num_envs=3", "num_envs cannot be changed"),
        ("rollout_length=3", "rollout_length cannot be changed"),
        ("env.kwargs.x=1", "env.kwargs cannot be changed"),
        ("replay.capacity=10", "replay.capacity cannot be changed"),
        ("agent=td3", "agent cannot be changed in a resumed run: start afresh"),
        ("agent.lrr=1", "did you mean agent.lr?"),
        ("warmup=0,1", "lists several values"),
        ("hydra.job.chdir=true", "hydra.job.chdir is not a setting"),
        ("agent.lr=abc", "agent.lr=abc must be a number"),
        ("~seed", "seed cannot be changed"),
    ],
)
def test_what_does_not_fit_a_resumed_run_is_refused(
    typed: str,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = run_folder(here, RUN.stored)
    before = (folder / "config.yaml").read_bytes()
    assert said in refused(train.main, [f"resume={folder}", typed], capsys, monkeypatch)
    assert (folder / "config.yaml").read_bytes() == before


def test_a_stored_value_that_is_anothers_follows_it(here: Path) -> None:
    assert RUN.stored["explore"]["steps"] == "${warmup}"
    assert trust.dereferenced(RUN.stored) == RUN.values
    assert trust.dereferenced({**RUN.stored, "warmup": 7})["explore"]["steps"] == 7


@pytest.mark.parametrize(
    "typed", ["env.kwargs.length=${warmup}", "device=${oc.env:NOWHERE,cpu}", "seed=${warmup}"]
)
def test_what_a_stored_file_may_not_refer_to_is_stored_as_its_value(typed: str) -> None:
    run = compose(["env=chain", typed])
    assert trust.dereferenced(run.stored) == run.values
    assert (run.stored == run.values) == ("kwargs" in typed)


MINE = "from agents.sac import SAC\n\nclass Mine(SAC):\n    pass\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_agent_of_ones_own_is_trained_evaluated_and_resumed(tmp_path: Path) -> None:
    """By the commands that the run prints, from the folder that it was started in."""
    (tmp_path / "mine" / "agent").mkdir(parents=True)
    (tmp_path / "mine" / "my_agent.py").write_text(MINE)
    yaml_of_sac = (ROOT / "conf/agent/sac.yaml").read_text()
    mine = yaml_of_sac.replace("agents.sac.SAC", "my_agent.Mine")
    (tmp_path / "mine" / "agent" / "mine.yaml").write_text(mine)

    def command(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(ROOT / script), *arguments]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    small = ["env=identity", "agent=mine", "agent.hidden_sizes=[8,8]", "warmup=32"]
    small += ["budget.env_steps=96", "evaluation.confirm_episodes=5", "tensorboard=false"]
    small += ["paradigm=dcollect", "workers=1", "hydra.run.dir=run"]
    done = command("train.py", "--config-dir=mine", *small)
    assert done.returncode == 0, done.stderr
    printed = dict(line.split(":", 1) for line in done.stdout.splitlines() if "python " in line)
    play, further = (printed[name].split()[2:] for name in ("  evaluate", "  go on"))
    assert "trust=mine/my_agent" in play and "trust=mine/my_agent" in further

    play = [word for word in play if word != "video=true"]
    assert command("evaluate.py", *play).returncode == 0
    untrusted = command("evaluate.py", "run=run")
    assert untrusted.returncode == 2 and "add trust=my_agent" in untrusted.stderr
    gone_on = command("train.py", *further)
    assert gone_on.returncode == 0, gone_on.stderr
    untrusted = command("train.py", *(word for word in further if "trust" not in word))
    assert untrusted.returncode == 2 and "add trust=my_agent" in untrusted.stderr
