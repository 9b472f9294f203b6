"""Sphinx: `make docs` turns the Markdown pages of this repository into build/site, without network.

The pages are read where they lie, so that links between them work on the site as in the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"^\d+\. \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)

project = "Paceline"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "benchmarks/**.md"]
include_patterns += ["tests/laws/README.md"]
exclude_patterns = [".venv", "build", "outputs", "multirun"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "myst.xref_missing", "toc.not_included"]
html_theme = "furo"
html_title = "Paceline"
html_show_sourcelink = False


def order(app: Any, name: str, source: list[str]) -> None:
    """Adds the pages that the index lists to the navigation, in its order."""
    if name == root_doc:
        pages = [f"/{_within(link)}" for link in LINK.findall(source[0])]
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def _within(link: str) -> Path:
    return (ROOT / "docs" / link).resolve().relative_to(ROOT).with_suffix("")


def setup(app: Any) -> None:
    app.connect("source-read", order)
