"""Options of `make bench`: `--quick` runs every suite at a tiny size and stores nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.store import RESULTS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="tiny sizes, results not stored")


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture
def results(quick: bool, tmp_path: Path) -> Path:
    """The folder of results that a suite's line goes to."""
    return tmp_path if quick else RESULTS
