"""The Markdown pages as data: their commands, links, paths, and tables of keys."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")
))  # fmt: skip
SHELLS = ("bash", "sh", "console")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"(?!README|CONTRIBUTING|LICENSE|CHANGELOG)(?<![A-Z])[A-Z]{3,}|linear_q")


@dataclass(frozen=True)
class Command:
    """One command line of a page, without its comment; `words` as the shell splits it."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: (language, text)."""
    return FENCED.findall(text(page))


def commands(page: str) -> Iterator[Command]:
    """The command lines of a page's shell blocks, and the inline code that is one. In a block with
    prompts only what follows a `$` is a command; a backslash at a line's end joins it to the
    next."""
    for language, block in blocks(page):
        if language not in SHELLS:
            continue
        lines = block.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        yield from (Command(page, line) for line in lines if shlex.split(line, comments=True))
    for code in CODE.findall(prose(page)):
        if re.match(r"(python|make|pip) \S", code):
            yield Command(page, code)


def prose(page: str) -> str:
    """A page without its fenced blocks, one line a paragraph, so that code may be wrapped."""
    return re.sub(r"(?<!\n)\n(?![\n|#*\-0-9])", " ", FENCED.sub("", text(page)))


def paths(page: str) -> Iterator[str]:
    """The files and folders of this repository that a page names as code."""
    tops = {path.name for path in ROOT.iterdir() if path.name != ".git"}
    for code in CODE.findall(prose(page)):
        path = code.rstrip("/")
        if re.fullmatch(r"[\w.\-/]+", path) and path.partition("/")[0] in tops and "/" in code:
            if not PLACEHOLDER.search(path):
                yield path


def links(page: str) -> Iterator[tuple[str, str]]:
    """The links of a page to other files of this repository: (path from the root, heading)."""
    for link in LINK.findall(FENCED.sub("", text(page))):
        if not re.match(r"\w+:", link):
            path, _, heading = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            yield str(target.resolve().relative_to(ROOT)), heading


def anchors(page: str) -> set[str]:
    """The headings of a page as links name them."""
    named = HEADING.findall(FENCED.sub("", text(page)))
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in named}


def rows(page: str, marker: str) -> list[list[str]]:
    """The cells of the table after `<!-- MARKER -->`, without its header; code without its
    backticks."""
    table = text(page).partition(f"<!-- {marker} -->\n\n")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return [[cell.strip().strip("`") for cell in line] for line in lines]


KEY_TABLES = [  # (page, YAML file) of every table of keys
    (page, file) for page in PAGES for file in re.findall(r"<!-- keys: (\S+) -->", text(page))
]
