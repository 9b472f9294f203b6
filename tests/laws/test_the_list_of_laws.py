"""The list of laws in README.md and the tests that hold them name each other."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
LAWS = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", (HERE / "README.md").read_text(), re.M)


def test_every_law_names_files_that_cite_it() -> None:
    assert len(LAWS) >= 16
    for number, links in LAWS:
        files = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", links)
        assert files, number
        for name, target in files:
            assert Path(target).name == name
            text = (HERE / target).read_text()
            cited = [range(int(a), int(b or a) + 1) for a, b in CITED.findall(text)]
            assert any(int(number) in numbers for numbers in cited), f"{name} and law {number}"


CITED = re.compile(r"\b[Ll]aws? (\d+)(?: to (\d+))?")


def test_every_file_of_laws_is_named() -> None:
    named = {link for _, links in LAWS for link in re.findall(r"\((\w+\.py)\)", links)}
    assert named == {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
