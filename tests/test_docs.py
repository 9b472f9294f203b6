"""What the pages say is so: their commands can run, and their tables are those of the code."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import train
from agents.base import Agent
from conf import check, schema
from conf.compose import compose
from conf.sentences import words
from tests import commands, jobs, pages
from tests.commands import elsewhere
from tests.pages import PAGES, ROOT, Command

COMMANDS = [command for page in PAGES for command in pages.commands(page)]
EXAMPLE = [c for c in COMMANDS if "--config-dir=" in c.text]  # of the agent that README adds
QUICK = [
    "budget.env_steps=64",
    "warmup=0",
    "evaluation.every_seconds=0.1",
    "evaluation.episodes=1",
    "evaluation.confirm_episodes=1",
    "logger=[]",
]


# Commands, links and paths


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c not in EXAMPLE], ids=lambda command: command.text
)
def test_a_command_can_run(command: Command) -> None:
    commands.check_one(command)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str) -> None:
    for path in pages.paths(page):
        assert (ROOT / path).exists(), path
    for path, heading in pages.links(page):
        assert (ROOT / path).exists(), path
        assert not heading or heading in pages.anchors(path), f"{path}#{heading}"


def test_the_index_lists_every_page() -> None:
    listed = {path for path, _ in pages.links("docs/index.md")}
    assert {*PAGES} - {"docs/index.md"} <= listed


# Tables of keys


@pytest.mark.parametrize(("page", "file"), pages.KEY_TABLES)
def test_a_table_has_every_key_with_its_type_and_default(page: str, file: str) -> None:
    said = {row[0]: row[1:] for row in pages.rows(page, f"keys: {file}")}
    there = dict(keys(file))
    assert list(said) == list(there)
    for key, (hint, default) in there.items():
        kind, written, meaning = said[key]
        assert kind == words(hint), key
        assert OmegaConf.to_container(OmegaConf.create(f"v: {written}")) == {"v": default}, key
        assert meaning.endswith("."), key


@pytest.mark.parametrize("group", ["paradigm", "replay"])
def test_every_choice_with_settings_has_a_table(group: str) -> None:
    tables = {file for _, file in pages.KEY_TABLES}
    for path in (ROOT / "conf" / group).glob("*.yaml"):
        own = yaml_of(path)
        if {*own} - {"_target_", "_partial_", "defaults"} and "defaults" not in own:
            assert f"conf/{group}/{path.name}" in tables


def keys(file: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """(dotted key, (annotation, default)) of every setting in a YAML file, in the order of what
    takes them; references to other keys stay."""
    path = ROOT / file
    values, group = yaml_of(path), path.parent.name
    settings: Mapping[str, Any] = {
        "config": schema.Config,
        "env_base": schema.Env,
        "evaluate": schema.Play,
        "export": schema.Export,
    }
    if path.stem in settings:
        at = "env." if path.stem == "env_base" else ""
        yield from of(settings[path.stem], values, at, values)
        return
    if group == "replay":
        yield from of(schema.Batches, values, "replay.", values)
    if "defaults" in values:
        values = compose([f"{group}={path.stem}"]).values[group]
    yield from of(schema.found(values["_target_"], group), values, f"{group}.", values)


def of(kind: Any, values: Mapping[str, Any], at: str, root: Mapping[str, Any]) -> Any:
    """The keys of one class, those of its parts in their place."""
    for name, hint in schema.takes(kind).hints.items():
        if name in schema.GIVEN.get(at.rstrip("."), ()):
            continue
        if dataclasses.is_dataclass(hint):
            yield from of(hint, values[name], f"{at}{name}.", root)
        else:
            yield f"{at}{name}", (hint, values[name])
        if at == "" and name == "stop_when_solved":  # the one part that config.yaml itself has
            node = root["lr_schedule"]
            yield from of(schema.found(node["_target_"], "lr_schedule"), node, "lr_schedule.", root)


def yaml_of(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


# What README shows is really run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the commands and, below `mine`, the files that README shows."""
    for _, text in pages.blocks("README.md"):
        if named := re.match(r"# (mine/\S+)\n", text):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removeprefix(named[0]))
    for name in ("train.py", "evaluate.py", "reproduce.py", "export.py", "doctor.py", "laws.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def linear_q(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Agent]:
    monkeypatch.syspath_prepend(folder / "mine")
    made: type[Agent] = importlib.import_module("linear_q").LinearQ
    monkeypatch.delitem(sys.modules, "linear_q")
    return made


def run(arguments: list[str], folder: Path) -> str:
    """Runs a command of this repository in a folder and returns what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_one_file_one_yaml_and_one_command(folder: Path) -> None:
    files = [p.relative_to(folder) for p in sorted(folder.rglob("mine/**/*")) if p.is_file()]
    assert [str(path) for path in files] == ["mine/agent/linear_q.yaml", "mine/linear_q.py"]
    assert len((folder / "mine/linear_q.py").read_text().splitlines()) < 50
    command, judged = EXAMPLE
    assert judged.words[1] == "laws.py" and judged.words[2:4] == command.words[2:4]
    python, program, *arguments = command.words
    assert (python, program) == ("python", "train.py")
    check.command_line([word.replace("=mine", f"={folder}/mine") for word in arguments])


@pytest.mark.parametrize("paradigm", jobs.PARADIGMS)
def test_every_paradigm_runs_the_example_as_sequential_does(
    linear_q: type[Agent], paradigm: str
) -> None:
    job = jobs.job(jobs.world("Corridor", kwargs={"length": 4}), linear_q, env_steps=256)
    alone, ended = (jobs.run(jobs.PARADIGMS[name], job) for name in ("sequential", paradigm))
    assert ended.totals["updates"] > 128 and bool((ended.floats != 0).any())
    ended.same_as(alone)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_example_solves_its_task_and_is_evaluated_and_resumed_as_printed(folder: Path) -> None:
    frequent = ["hydra.run.dir=run", "evaluation.every_seconds=0", "evaluation.share=1"]
    printed = run([*EXAMPLE[0].words[1:], *frequent], folder)
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["agent"] == "linear_q" and result["paradigm"] == "dupdate"
    assert result["solved"] and result["final_return"] == 1.0

    said = {kind.strip(): text for kind, text in re.findall(r"^  ([\w ]+):\s+(.+)$", printed, re.M)}
    played = shlex.split(said["evaluate"].replace(" video=true", ""))
    assert re.search(r"^return +1\.000", run(played[1:], folder), re.MULTILINE)
    handed_on = ["export.py", "run=run", "format=torch_export", *played[-1:]]
    assert "the same actions on 1000 observations" in run(handed_on, folder)
    assert run(EXAMPLE[1].words[1:], folder).count("holds") == 12
    run(shlex.split(said["go on"])[1:], folder)
    again = json.loads((folder / "run" / "result.json").read_text())
    assert again["extra"]["resumed_at"] == result["env_steps"] < again["env_steps"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_leaves_the_files_and_the_keys_that_the_page_lists(folder: Path) -> None:
    choices = ["env=corridor", "agent=dqn", "paradigm=dcollect", "env.threshold=-1"]
    more = ["budget.env_steps=600", "logger=[tensorboard]", "hydra.run.dir=run"]
    run(["train.py", *choices, *QUICK, *more], folder)
    rows = re.findall(r"^\| (`.+?) \| .+ \| .+ \|$", pages.text("docs/runs.md"), re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    left = {re.sub(r"(tfevents\.).*", r"\1*", p.name) for p in (folder / "run").iterdir()}
    assert left <= named
    result = json.loads((folder / "run" / "result.json").read_text())
    there = {*result, *(f"extra.{key}" for key in result["extra"])} - {"extra"}
    listed = [
        row[0].replace("`", "").split(", ") for row in pages.rows("docs/metrics.md", "result")
    ]
    assert {key for cells in listed for key in cells} == there


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_run(folder: Path) -> None:
    """As programs: one asynchronous run and what is done with it, and what no process can do by
    itself. The rest is trained by the next test."""
    mine = [c for c in COMMANDS if c.page == "README.md" and c not in EXAMPLE]
    shown = [c.words for c in mine if c.words[0] == "python"]
    trained = [c[1:] for c in shown if c[1] == "train.py"]
    asynchronous = next(c for c in trained if {"paradigm=dcollect", "paradigm=dupdate"} & {*c})
    alone = [c for c in trained if c == asynchronous or not begins_a_run(c[1:])]
    assert len(alone) >= 2
    for number, arguments in enumerate(alone):
        kept = [word for word in arguments if not elsewhere(word) or word == "--help"]
        where = [f"hydra.{kind}.dir=run{number}" for kind in ("run", "sweep")]
        run(kept + ([] if "--help" in kept else [*QUICK, *where]), folder)
    apart = ("train.py", "compare.py", "doctor.py")  # the last two have tests of their own
    for arguments in (c[1:] for c in shown if c[1] not in apart):
        words = [word.replace("FOLDER", f"run{alone.index(asynchronous)}") for word in arguments]
        assert run(words, folder)


def begins_a_run(arguments: list[str]) -> bool:
    """Whether a command of train.py begins one run, with nothing that is not here."""
    return not any(map(elsewhere, arguments)) and not {"-m", "--cfg"} & {*arguments}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_training_commands_of_the_pages_run(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Those that begin a run, in this process and with a tiny budget."""
    shown = [c for c in COMMANDS if c not in EXAMPLE]
    trained = [c.words[2:] for c in shown if c.words[:2] == ["python", "train.py"]]
    begun = {" ".join(arguments): arguments for arguments in trained if begins_a_run(arguments)}
    assert len(begun) >= 16
    for number, (text, arguments) in enumerate(begun.items()):
        with subtests.test(text):
            folder = tmp_path / str(number)
            folder.mkdir()
            small = ["replay.batch_size=8"] if "agent.encoder=conv" in arguments else []
            small += ["paradigm.ready=8"] if "paradigm=pbt" in arguments else []
            setup = compose([*arguments, *QUICK, *small, "crew=inline", "evaluation.where=inline"])
            check.values(setup)
            with train.build(setup, folder, 0.0, first=False) as session:
                assert train.train(session)["env_steps"] >= 64
