"""The wheel has everything that its console commands need: modules, sub-packages and YAML files."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {".git", ".venv", "build", "dist", "outputs", "multirun", "tests", "benchmarks"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def succeed(*words: str | Path, cwd: Path) -> str:
    run = subprocess.run([*map(str, words)], cwd=cwd, env=CLEAN, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, without looking anything up."""
    pytest.importorskip("setuptools")
    home = tmp_path_factory.mktemp("wheel")
    (home / "sources").mkdir()
    for path in ROOT.iterdir():
        if path.name not in LEFT_OUT and not path.name.startswith("."):
            (home / "sources" / path.name).symlink_to(path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index"]
    build = ["--no-deps", "--no-build-isolation", "-q", "-w", home, home / "sources"]
    succeed(*pip, *build, cwd=home)
    (built,) = home.glob("*.whl")
    return built


def test_every_module_and_every_yaml_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    folders = [ROOT / name for name in ("agents", "conf", "envs", "paradigms")]
    files = [p for f in folders for kind in ("*.py", "*.yaml") for p in f.rglob(kind)]
    wanted = {str(path.relative_to(ROOT)) for path in files}
    wanted |= {"train.py", "evaluate.py", "reproduce.py"}
    assert wanted <= there, wanted - there
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in there)


def test_the_wheels_commands_train_and_evaluate_from_another_folder(
    wheel: Path, tmp_path: Path
) -> None:
    """In an environment that has torch and the like, but not these sources."""
    venv.create(tmp_path / "env", with_pip=False)
    bin, here = tmp_path / "env" / "bin", tmp_path / "elsewhere"
    here.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", bin / "python"]
    succeed(*pip, "install", "-q", "--no-index", "--no-deps", wheel, cwd=here)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    small = ["env=pendulum", "budget.env_steps=2000", "agent.hidden_sizes=[16,16]"]
    small += ["evaluation.confirm_episodes=5", "paradigm=dcollect", "hydra.run.dir=run"]
    said = succeed(bin / "paceline-train", *small, cwd=here)
    assert "paceline-evaluate run=run" in said and "stopped because its budget" in said.lower()
    assert "over 3 episodes" in succeed(
        bin / "paceline-evaluate", "run=run", "episodes=3", cwd=here
    )
    assert "the same bits" in succeed(bin / "paceline-reproduce", "run=run", cwd=here)
    where = "import paradigms, conf; print(paradigms.__file__, conf.__file__)"
    assert str(ROOT) not in succeed(bin / "python", "-c", where, cwd=here)
