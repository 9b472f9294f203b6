"""The drawing of the folders and their imports in README.md, computed from the source.

    python -m tests.house           # prints it
    python -m tests.house --write   # puts it between the markers in README.md

What a folder holds is written here; what it imports is read from its files, `TYPE_CHECKING` blocks
excepted. An arrow names what a folder imports, which may only be what stands below it.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- begin: house -->", "<!-- end: house -->"
WIDTH, INDENT = 96, 15

HOUSE: Mapping[str, str] = {  # from top to bottom
    "commands": "{files}",
    "benchmarks": "studies, measurements of speed, and their results",
    "benchmarks/breaking": "what breaks a run on purpose, and what must hold afterwards",
    "conf": "the YAML files; what may be set; from values to objects",
    "envs": "any Gymnasium environment as a vector of slots; toy environments",
    "envs/racing/arrival": "the Arrival simulator of Learn-to-Race, and a stand-in for it",
    "envs/racing": "Learn-to-Race: tracks, cars, what a driver sees, metrics, pictures",
    "paradigms": "one paradigm a file: {files}",
    "paradigms/report": "many runs: statistics and learning curves",
    "paradigms/session": "one run as a person sees and keeps it: log, evaluation, checkpoints",
    "paradigms/loop": "what every paradigm is made of: actor, learner, pace, ledger, driver",
    "paradigms/experience": "transitions in, batches out: replays; fragments between processes",
    "paradigms/weights": "how parameters travel: published, shared or averaged",
    "paradigms/runtime": "roles as processes or inline: supervision, order, journal",
    "paradigms/base": "{files}: Job, Progress, Result, and a run's settings",
    "agents": "one algorithm a file: {files}",
    "agents/encoders": "what networks see of images: convolutions, residual ones, latents",
    "agents/parts": "networks, returns, exploration, and the flat vector of all parameters",
    "agents/base": "{files}: what an agent is (act, learn, one way out for its gradients), and"
    " observations of several arrays",
}
FILES: Mapping[str, Sequence[str]] = {  # places that are some files of a folder
    "commands": (
        "train.py",
        "evaluate.py",
        "reproduce.py",
        "compare.py",
        "track.py",
        "export.py",
        "doctor.py",
        "probe.py",
        "tune.py",
        "laws.py",
        "encode.py",
    ),
    "paradigms/base": ("paradigms/base.py", "paradigms/settings.py", "paradigms/errors.py"),
    "agents/base": ("agents/base.py", "agents/packed.py"),
}


class Upward(Exception):
    """A folder imports what stands above it, or a file is in no folder of the drawing."""


def drawing(root: Path = ROOT, house: Mapping[str, str] = HOUSE) -> str:
    """The places from top to bottom, each with what it holds and what it imports."""
    lines, found = [], imports(root, house)
    for place, holds in house.items():
        files = " ".join(file.name if place in FILES else file.stem for file in _own(root, place))
        inside, name = "/" in place, place.rpartition("/")[2]
        name = f"{'  ' * inside}{name}{'' if place in FILES else '/'}"
        lines += _wrapped(f"{name:<{INDENT}}", holds.format(files=files))
        if found[place]:
            lines += _wrapped(" " * INDENT, f"-> {_grouped(found[place])}")
    return "\n".join(lines) + "\n"


def _grouped(places: Sequence[str]) -> str:
    """`conf, envs, paradigms/{loop base}`; `*` stands for the files of the folder itself."""
    inside: dict[str, list[str]] = {}
    for place in places:
        top, _, name = place.partition("/")
        inside.setdefault(top, []).append(name or "*")
    return ", ".join(
        top if names == ["*"] else f"{top}/{{{' '.join(names)}}}" for top, names in inside.items()
    )


def imports(root: Path, house: Mapping[str, str]) -> dict[str, list[str]]:
    """The places that each place imports, in the order of the drawing. Raises Upward."""
    places = list(house)
    found: dict[str, set[str]] = {place: set() for place in places}
    for file in _sources(root, places):
        place = _place(file, places)
        for module in _modules(root, file):
            other = _place(module, places)
            if other != place and places.index(other) < places.index(place):
                raise Upward(f"{file} imports {module}, and {place} stands below {other}")
            found[place].add(other)
    return {place: [p for p in places if p in found[place] - {place}] for place in places}


def _sources(root: Path, places: Sequence[str]) -> Iterator[str]:
    """Every file that is not empty, as a path from `root`."""
    for top in dict.fromkeys(place.partition("/")[0] for place in places):
        if top in FILES:
            yield from FILES[top]
        else:
            paths = sorted(path for path in root.glob(f"{top}/**/*.py") if path.stat().st_size)
            yield from (str(path.relative_to(root)) for path in paths)


def _own(root: Path, place: str) -> list[Path]:
    """The files of a place that are not in a smaller place and hold something."""
    named = FILES.get(place) or [
        str(path.relative_to(root)) for path in sorted((root / place).glob("*.py"))
    ]
    paths = [root / name for name in named if _place(name, list(HOUSE)) == place]
    return [path for path in paths if path.name != "__init__.py"]


def _place(file: str, places: Sequence[str]) -> str:
    """The smallest place that a file belongs to."""
    for place, files in FILES.items():
        if file in files and place in places:
            return place
    folder = file.rpartition("/")[0]
    if folder not in places:
        raise Upward(f"{file} is in no folder of the drawing")
    return folder


def _modules(root: Path, file: str) -> Iterator[str]:
    """The files below `root` that a file imports, inside functions too."""
    waiting: list[ast.AST] = [ast.parse((root / file).read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            path = name.replace(".", "/")
            for known in (f"{path}.py", f"{path.rpartition('/')[0]}.py", f"{path}/__init__.py"):
                if (root / known).is_file():
                    yield known
                    break


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * INDENT, break_on_hyphens=False
    )


def block(text: str) -> str | None:
    """What stands between the markers; None if they are missing."""
    _, begun, rest = text.partition(f"{BEGIN}\n")
    inside, ended, _ = rest.partition(END)
    return inside if begun and ended else None


def main(arguments: Sequence[str]) -> None:
    if "--write" not in arguments:
        sys.stdout.write(drawing())
        return
    text = README.read_text("utf-8")
    if (before := block(text)) is None:
        sys.exit(f"README.md needs the lines {BEGIN} and {END}, in this order")
    new = f"{BEGIN}\n\n```text\n{drawing()}```\n\n{END}"
    README.write_text(text.replace(f"{BEGIN}\n{before}{END}", new), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
