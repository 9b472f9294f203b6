"""The speed suites run; what they measure is for `make bench`."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from benchmarks import cells, store


@pytest.mark.slow
@pytest.mark.timeout(300)  # a second pytest and its imports: a minute on a busy machine
def test_the_suites_run_at_a_tiny_size_and_store_nothing() -> None:
    before = store.load("bench")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--quick", "benchmarks"]
    command += ["-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"]
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    run = subprocess.run(
        [*command, "-k", "publish or bare_update or racing"],
        cwd=cells.ROOT,
        env=alone,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"publish +[\d,.]+ copies/s", run.stdout)
    assert re.search(r"64 cars, camera +[\d,.]+ env steps/s", run.stdout)
    assert store.load("bench") == before
