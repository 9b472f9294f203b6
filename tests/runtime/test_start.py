"""Crews in scripts of a user, run from another folder: what children import, and how they end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conf.compose import compose
from conf.nodes import modules
from paradigms.runtime import start

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_every_module_that_the_fork_server_loads_is_there() -> None:
    """multiprocessing skips those that are not, without a word."""
    assert all(importlib.util.find_spec(name) for name in (*start.PRELOAD, start.LAST))


def test_a_run_warms_what_each_of_its_processes_imports() -> None:
    names = modules(compose(["paradigm=apex", "env=race"]).values)
    agent, paradigm = "agents.dqn", "paradigms.dcollect"
    assert names == [paradigm, agent, "paradigms.experience.prioritized", "envs.make"]


def script(
    folder: Path, text: str, *args: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a script as a user would, from another folder."""
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path), *args],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=cwd or folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def test_nobody_survives_a_parent_that_is_killed(tmp_path: Path) -> None:
    text = """
import os, signal, sys
from paradigms.runtime.crew import Crew
from tests.runtime import roles
crew = Crew()
for name, role in (("a", roles.Deaf), ("b", roles.Stuck)):
    crew.add(name, role, sys.argv[1])
run = crew.run()
for _ in range(2):
    next(r for r in run if r.kind == "metrics")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = script(tmp_path, text, str(tmp_path))
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for file in tmp_path.glob("*.pids") for pid in file.read_text().split()]
    assert len(pids) == 4
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(alive, timeout=10)[1]


def test_a_fork_server_that_still_loads_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(50)")
    text = """
import os, signal
from multiprocessing import forkserver
from paradigms.runtime import start
start.PRELOAD = (start.PRELOAD[0], "slow")
start.warm()
print(forkserver._forkserver._forkserver_pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = script(tmp_path, text)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    alive = [psutil.Process(pid)] if psutil.pid_exists(pid) else []
    assert not psutil.wait_procs(alive, timeout=10)[1]


def test_the_fork_server_imports_from_where_its_parent_does(tmp_path: Path) -> None:
    """And not from the current folder, which may have a package of one of our names."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    (tmp_path / "elsewhere").mkdir()
    text = """
import sys
from paradigms.runtime import start
from paradigms.runtime.crew import Crew, Role

class Loaded(Role):
    def run(self, link):
        link.report({name: sys.modules[name].__file__ for name in ("agents", "agents.base")})

if __name__ == "__main__":
    start.warm("agents.base", "no_such_module")
    with Crew() as crew:
        crew.add("loaded", Loaded)
        print([r.data for r in crew.run() if r.kind == "metrics"])
"""
    done = script(tmp_path / "elsewhere", text, cwd=tmp_path)
    ours = ROOT / "agents"
    loaded = {"agents": str(ours / "__init__.py"), "agents.base": str(ours / "base.py")}
    assert done.stdout == f"[{loaded}]\n", done.stderr


SCRIPT = """
import os, signal
from paradigms.runtime import start
from paradigms.runtime.crew import Crew
from tests.runtime import roles

class Own(roles.Count):
    pass

print("imported")
if __name__ == "__main__":
    start.warm("colorsys", "no_such_module")
    for role in (roles.Count, Own):
        with Crew() as crew:
            crew.add("count", role, 10)
            print([r.data for r in crew.run() if r.kind == "metrics"])

    print("interrupted")
    with Crew() as crew:
        crew.add("work", roles.Work)
        run = crew.run()
        next(run)
        try:
            os.killpg(0, signal.SIGINT)
        except KeyboardInterrupt:
            crew.tell("work", "still there")
        print(next(r for r in run if r.kind == "metrics").data)

    print("left open")
    crew = Crew()
    crew.add("work", roles.Work)
    run = crew.run()
    print(next(run).kind)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What that script prints, by its part."""
    done = script(tmp_path_factory.mktemp("script"), SCRIPT)
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("interrupted\n")
    second, third = rest.split("left open\n")
    return {
        "imported": first.splitlines(),
        "interrupted": second.splitlines(),
        "left open": third.splitlines(),
    }


def test_the_running_script_is_imported_by_children_only_if_they_need_it(
    printed: dict[str, list[str]],
) -> None:
    counted = "[{'count': 10, 'rank': 0}]"
    assert printed["imported"] == ["imported", counted, "imported", counted]


def test_an_interrupt_from_the_keyboard_is_the_parents_business(
    printed: dict[str, list[str]],
) -> None:
    assert printed["interrupted"] == ["{'messages': ['still there']}"]


def test_a_script_that_forgets_to_close_ends_all_the_same(printed: dict[str, list[str]]) -> None:
    assert printed["left open"] == ["tick"]


def test_crews_work_inside_the_workers_of_joblib(tmp_path: Path) -> None:
    text = """
from joblib.externals.loky import ProcessPoolExecutor

def job(n):
    from tests.runtime import roles
    return roles.count_in_a_crew(n)

if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=1) as pool:
        print([pool.submit(job, n).result() for n in (3, 4)])
"""
    done = script(tmp_path, text)
    assert done.stdout == f"{[[{'count': n, 'rank': 0}] for n in (3, 4)]}\n", done.stderr
