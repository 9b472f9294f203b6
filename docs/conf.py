"""Sphinx: `make docs` turns the Markdown pages of this repository into build/site, without network.

The pages are read where they lie, so that links between them work on the site as in the repository.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"^\d+\. \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)
OBJECT = re.compile(r"^\| `([\w.]+)` \| .+ \|$", re.MULTILINE)  # of the tables of docs/api.md
sys.path.insert(0, str(ROOT))  # autodoc imports what the API lists

project = "Paceline"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**.md",
    "benchmarks/**.md",
]
include_patterns += ["tests/laws/README.md"]
exclude_patterns = [".venv", "build", "outputs", "multirun"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "myst.xref_missing", "toc.not_included"]
html_theme = "furo"
html_title = "Paceline"
html_show_sourcelink = False


def order(app: Any, name: str, source: list[str]) -> None:
    """Adds the pages that the index lists to the navigation, in its order, below paradigms a page
    for each, and to the API the docstrings of the objects that it lists."""
    if name == root_doc:
        pages = [f"/{_within(link)}" for link in LINK.findall(source[0])]
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""])
    if name == "docs/paradigms":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\nparadigms/*\n```\n"
    if name == "docs/api":
        shown = [f"```{{eval-rst}}\n{_directive(each)}\n```" for each in OBJECT.findall(source[0])]
        source[0] += "\n\n".join(["", "## Signatures and docstrings", *shown, ""])


def _within(link: str) -> Path:
    return (ROOT / "docs" / link).resolve().relative_to(ROOT).with_suffix("")


def _directive(path: str) -> str:
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    if not isinstance(kind, type):
        return f".. autofunction:: {path}"
    return f".. autoclass:: {path}\n   :members:"


def verbatim(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text, and are shown as they are written."""
    lines[:] = [".. code-block:: text", "", *(f"   {line}" for line in lines), ""] if lines else []


def setup(app: Any) -> None:
    app.connect("source-read", order)
    app.connect("autodoc-process-docstring", verbatim)
