"""The agent that README adds is README's own lines, run as they stand there."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.base import Agent
from conf import check
from tests import jobs

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with train.py and, below `mine`, the files that README shows."""
    for _, text in section():
        if named := re.match(r"# (mine/\S+)\n", text):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removeprefix(named[0]))
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    return tmp_path


@pytest.fixture
def linear_q(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Agent]:
    monkeypatch.syspath_prepend(folder / "mine")
    made: type[Agent] = importlib.import_module("linear_q").LinearQ
    monkeypatch.delitem(sys.modules, "linear_q")
    return made


def section() -> list[tuple[str, str]]:
    """The code blocks of "Add an agent": (language, text)."""
    text = (ROOT / "README.md").read_text("utf-8").partition("\n## Add an agent\n")[2]
    return BLOCK.findall(text.partition("\n## ")[0])


def command() -> str:
    (found,) = (text.strip() for language, text in section() if language == "bash")
    return found


def test_the_section_is_one_file_one_yaml_and_one_command(folder: Path) -> None:
    files = [p.relative_to(folder) for p in sorted(folder.rglob("mine/**/*")) if p.is_file()]
    assert [str(path) for path in files] == ["mine/agent/linear_q.yaml", "mine/linear_q.py"]
    assert len((folder / "mine/linear_q.py").read_text().splitlines()) < 50
    before, after = command().split("python train.py ")
    assert before == ""
    check.command_line(after.replace("=mine", f"={folder}/mine").split())


@pytest.mark.parametrize("paradigm", jobs.PARADIGMS)
def test_every_paradigm_runs_the_agent_as_sequential_does(
    linear_q: type[Agent], paradigm: str
) -> None:
    job = jobs.job(jobs.world("Corridor", kwargs={"length": 4}), linear_q, env_steps=256)
    alone, ended = (jobs.run(jobs.PARADIGMS[name], job) for name in ("sequential", paradigm))
    assert ended.totals["updates"] > 128 and bool((ended.floats != 0).any())
    ended.same_as(alone)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_lines_of_the_readme_solve_the_corridor(folder: Path) -> None:
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        f"{command()} hydra.run.dir=run evaluation.every_seconds=0 evaluation.share=1",
        shell=True,
        cwd=folder,
        env={**os.environ, **here},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["agent"] == "linear_q" and result["paradigm"] == "dupdate"
    assert result["solved"] and result["final_return"] == 1.0
    (played,) = (line for line in run.stdout.splitlines() if "evaluate:" in line)
    words = [word for word in played.split()[2:] if word != "video=true"]
    again = [sys.executable, str(ROOT / "evaluate.py"), *words[1:]]
    run = subprocess.run(again, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "return 1.0" in run.stdout
