"""The pages name every choice, every metric and every object, as they are."""

from __future__ import annotations

import importlib
import re

import pytest

from tests import pages
from tests.pages import ROOT
from tests.test_docs import yaml_of


@pytest.mark.parametrize(("page", "group"), [("agents", "agent"), ("environments", "env")])
def test_a_page_has_every_choice_of_its_group(page: str, group: str) -> None:
    blocks = re.findall(rf"^\| `{group}=` \|.*\n((?:\|.*\n)+)", pages.text(f"docs/{page}.md"), re.M)
    first = [row.split("|")[1] for block in blocks for row in block.splitlines()]
    listed = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def test_every_paradigm_is_in_the_table_with_a_page() -> None:
    rows = re.findall(r"^\| \[(`.+)\]\((.+)\) \|", pages.text("docs/paradigms.md"), re.MULTILINE)
    listed = {name: page for names, page in rows for name in re.findall(r"`(\w+)`", names)}
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "conf/paradigm").glob("*.yaml"))
    for name, page in listed.items():
        assert (
            f"`paradigm={name}`" in (text := pages.text(f"docs/{page}"))
            or f"paradigm={name} " in text
        )


def test_the_environments_are_solved_where_the_page_says() -> None:
    rows = re.findall(r"^\| (`\w+` .+) \|$", pages.text("docs/environments.md"), re.M)
    for name, *_, threshold, random in (re.split(r" *\| *", row) for row in rows):
        own = yaml_of(ROOT / "conf" / "env" / f"{name.strip('`')}.yaml")
        for key, cell in (("threshold", threshold), ("random_return", random)):
            assert own.get(key) == (float(cell.replace(",", "")) if cell else None), f"{name} {key}"


def test_every_metric_that_is_logged_has_a_formula() -> None:
    logged = {
        name
        for part in ("agents", "paradigms")
        for path in (ROOT / part).rglob("*.py")
        if path.name != "form.py"  # which names parts of a checkpoint
        for name in re.findall(r'"([a-z_]+/[a-z_]+)"', path.read_text("utf-8"))
    }
    assert {row[0] for row in pages.rows("docs/metrics.md", "metrics")} == logged
    assert all(row[2].endswith(".") for row in pages.rows("docs/metrics.md", "metrics"))


def test_everything_that_the_api_lists_is_there_and_has_a_docstring() -> None:
    named = re.findall(r"^\| `([\w.]+)` \|", pages.text("docs/api.md"), re.MULTILINE)
    assert len(named) > 20
    for path in named:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, path
