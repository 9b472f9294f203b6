"""What compare.py does: words become a study, its missing cells are run, and a page is written."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import cells, page, store, study
from benchmarks.plans import Cell, Study
from benchmarks.store import Record
from conf import check
from conf.sentences import Wrong

OWN = ("seeds", "out", "runs", "by")
SECONDS = 300.0  # of a run, without budget.seconds
SEEDS = "100-104"
MARGIN = 120.0  # seconds after its budget at which a run is killed: it confirms its policies
DEFAULTS = {  # what was learned should be kept: a run goes on after the threshold
    "stop_when_solved": "false",
    "logger": "[]",
    "checkpoint.at_end": "false",
}
RUNS = "runs"  # the file of records beside the page, and the folder of run folders


@dataclass
class Words:
    """A command line: its own keys, keys with several values, and the others, as KEY=VALUE."""

    own: dict[str, str] = field(default_factory=dict)
    swept: dict[str, list[str]] = field(default_factory=dict)
    common: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Runs what is missing and writes the page. Raises Wrong."""
    words = read(arguments)
    if find_spec("matplotlib") is None:
        raise Wrong("a page has figures: pip install 'paceline[report]'")
    if "runs" in words.own:
        wanted, out, found = there(words)
    else:
        wanted, out = plan(words)
        missing = lacking(wanted, out)
        many = len(wanted.variants) * len(wanted.seeds)
        print(f"{many - len(missing)} of {many} runs are there; the page: {out / 'index.html'}")
        if not study.run_cells(missing, wanted, results=out, folders=out, cwd=Path.cwd()):
            return 130
        found = [each for each in store.load(RUNS, out) if known(each, wanted)]
    verdict = page.write(wanted, found, out)
    print(f"{verdict}\n{out / 'index.html'}")
    return 0


def read(arguments: Sequence[str]) -> Words:
    """Sorts the words of a command line. Raises Wrong."""
    words = Words()
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise Wrong(f"{word!r} is no setting: write KEY=VALUE, see --help")
        if key in OWN:
            words.own[key] = value
        elif len(values := split(value)) > 1:
            words.swept[key] = values
        else:
            words.common[key] = value
    if "runs" in words.own:
        if words.swept or words.common:
            extra = ", ".join([*words.swept, *words.common])
            raise Wrong(f"runs=FOLDER trains nothing: leave out {extra}")
        if "by" not in words.own:
            raise Wrong("runs=FOLDER needs by=KEY, such as by=paradigm")
    elif "by" in words.own:
        raise Wrong("by=KEY belongs to runs=FOLDER")
    elif not words.swept:
        raise Wrong("compare needs a key with several values, such as paradigm=sequential,hogwild")
    if "seed" in words.common or "seed" in words.swept:
        raise Wrong("seeds=100-104 sets the seeds; leave out seed")
    return words


def split(value: str) -> list[str]:
    """The values that commas outside of brackets and quotes separate."""
    parts = re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|'[^']*'|\"[^\"]*\"|[^,])+", value)
    return parts or [value]


def plan(words: Words) -> tuple[Study, Path]:
    """The study of a command line, and the folder of its page. Raises Wrong where one of its rows
    cannot run."""
    common = {**DEFAULTS, "budget.seconds": f"{SECONDS:g}", **words.common}
    try:
        cap = float(common["budget.seconds"])
        seeds = study.parse_seeds(words.own.get("seeds", SEEDS))
    except ValueError:
        raise Wrong(
            "seeds must be like 100-104 or 100,102, and budget.seconds a number of seconds"
        ) from None
    if not seeds:
        raise Wrong("seeds names no seed: write seeds=100-104 or seeds=100,102")
    for key in words.swept:
        common.pop(key, None)
    overrides = tuple(f"{key}={value}" for key, value in common.items())
    wanted = Study(
        question=question(words),
        variants=dict(variants(words.swept)),
        common=overrides,
        seeds=tuple(seeds),
        cap=cap,
        margin=MARGIN,
        program=(str(cells.ROOT / "train.py"),),
    )
    for own in wanted.variants.values():
        check.command_line([*own, *overrides, "hydra.run.dir=outputs"])
    digest = hashlib.sha256(repr((wanted.variants, overrides)).encode()).hexdigest()[:6]
    name = "_".join([*(common[k] for k in ("agent", "env") if k in common), *words.swept, digest])
    default = Path("outputs") / "compare" / re.sub(r"[^\w.-]+", "-", name)
    return wanted, Path(words.own.get("out", default)).absolute()


def question(words: Words) -> str:
    keys = " and ".join(words.swept)
    world = words.common.get("env", "the default env")
    return f"Which {keys} is best on {world}?"


def variants(swept: dict[str, list[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """By name, the overrides of every row: all combinations of the values."""
    for values in itertools.product(*swept.values()):
        pairs = tuple(f"{key}={value}" for key, value in zip(swept, values, strict=True))
        name = values[0] if len(pairs) == 1 else " ".join(pairs)
        yield re.sub(r"[^\w.=+ -]+", "-", name), pairs


def lacking(wanted: Study, out: Path) -> list[Cell]:
    """The cells without a record, or whose run failed, seed by seed."""
    done = {
        (each["variant"], each["seed"])
        for each in store.load(RUNS, out)
        if known(each, wanted) and not cells.failed(each)
    }
    return [each for each in wanted.cells(RUNS) if (each.variant, each.seed) not in done]


def known(record: Record, wanted: Study) -> bool:
    return record["variant"] in wanted.variants and record["seed"] in wanted.seeds


def there(words: Words) -> tuple[Study, Path, list[Record]]:
    """A study, a folder and records of run folders that exist. Raises Wrong."""
    root, by = Path(words.own["runs"]), words.own["by"]
    folders = sorted(file.parent for file in root.rglob("result.json"))
    if not folders:
        raise Wrong(f"runs={root} holds no folder of a run that has ended")
    records = [adopt(folder, by) for folder in folders]
    names = sorted({record["variant"] for record in records})
    names.sort(key=lambda name: name != "sequential")
    seconds = [float(record["result"].get("seconds", 0.0)) for record in records]
    wanted = Study(
        question=f"Which {by} is best in {root.name}?",
        variants={name: (f"{by}={name}",) for name in names},
        common=(),
        seeds=tuple(sorted({record["seed"] for record in records})),
        cap=max(seconds),
    )
    return wanted, Path(words.own.get("out", root)).absolute(), records


def adopt(folder: Path, by: str) -> Record:
    """The record of a run that somebody else has made. Raises Wrong where its configuration has no
    such key."""
    config = page.flat(cells.config(folder / "config.yaml"))
    choices = {f"{k}": v for k, v in config.items()}
    value: Any = choices.get(by, choices.get(f"{by}.name"))
    if by in ("paradigm", "agent", "env"):
        value = cells.result(folder).get(by, value)
    if value is None:
        raise Wrong(f"by={by} is no key of {folder / 'config.yaml'}")
    seed = int(config.get("seed", 0))
    cell = Cell(RUNS, str(value), seed, (), (f"{by}={value}", f"seed={seed}"), 0.0)
    before = cells.origin_of(folder)
    record = cells.gather(cell, folder, exit_code=0, seconds=0.0, before=before)
    return {**record, "folder": str(folder)}
