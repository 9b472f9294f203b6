"""What does a run do when something breaks, and does it keep what docs/reliability.md promises?

    python -m benchmarks.chaos                         everything (about 50 minutes)
    python -m benchmarks.chaos workers faults/hogwild  some of it: a part, or one paradigm of it
    python -m benchmarks.chaos workers/dcollect kills=10 seed=1
    python -m benchmarks.chaos soak minutes=3
    python -m benchmarks.chaos missing                 what has no record of this seed yet

Faults befall a run at moments that the seed draws; each part is a process of its own. It raises
AssertionError where a promise is broken, and the others go on; else a line of results/chaos.jsonl
says how it went, and `python -m benchmarks.report` prints them.

workers   one run, a worker is killed again and again   faults     the same, by faults of all kinds
servers   the same for parameter servers                evaluator  and for the evaluation process
endings   runs that lose what nobody replaces           diverging  runs whose training diverges
mains     the main process is killed                    saves      a process is, while it saves
soak      memory and descriptors of a long run
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks import cells, store
from benchmarks.breaking import endings, mains, saves, soak, workers
from benchmarks.breaking.runs import SETTINGS
from paradigms.runtime import machine

STUDY = "chaos"
Part = Callable[[Mapping[str, float], int], dict[str, Any]]


def parts() -> dict[str, Part]:
    """Every part by its name: a function of what was typed, and of the seed."""
    found: dict[str, Part] = {}
    for name in SETTINGS:
        found[f"workers/{name}"] = partial(_workers, name, "kill", 100)
    found["saves"] = lambda given, seed: saves.kills(int(given.get("kills", 100)), seed)
    for name in mains.PARADIGMS:
        found[f"mains/{name}"] = partial(_mains, name)
    found["servers/gorila"] = partial(_workers, "gorila", "server", 20)
    found["evaluator"] = lambda given, seed: endings.evaluator(int(given.get("kills", 10)), seed)
    for name in endings.ENDINGS:
        found[f"endings/{name}"] = partial(_endings, name, 10)
    for name in endings.DIVERGING:
        found[f"diverging/{name}"] = partial(_endings, name, 3)
    for name in SETTINGS:
        found[f"faults/{name}"] = partial(_faults, name)
    for name in ("dcollect", "hogwild"):
        found[f"soak/{name}"] = partial(_soak, name)
    return found


def _workers(name: str, kind: str, usual: int, given: Mapping[str, float], seed: int) -> Any:
    return workers.suffer(name, [kind] * int(given.get("kills", usual)), seed)


def _faults(name: str, given: Mapping[str, float], seed: int) -> Any:
    kinds = workers.drawn(name, int(given.get("kills", 20)), seed)
    return workers.suffer(name, kinds, seed, heartbeat=workers.HEARTBEAT)


def _mains(name: str, given: Mapping[str, float], seed: int) -> Any:
    return mains.kills(name, int(given.get("kills", 8)), seed)


def _endings(name: str, usual: int, given: Mapping[str, float], seed: int) -> Any:
    return endings.end(name, int(given.get("runs", usual)), seed)


def _soak(name: str, given: Mapping[str, float], seed: int) -> Any:
    return soak.soak(name, given.get("minutes", 10.0), seed)


def main() -> int:
    machine.prepare()
    typed, every = sys.argv[1:], parts()
    given = {name: float(value) for name, _, value in (w.partition("=") for w in typed) if value}
    names, seed = [word for word in typed if "=" not in word], int(given.get("seed", 0))
    for word in names:
        if word != "missing" and not any(meant(word, part) for part in every):
            sys.exit(f"{word} is no part; choose {', '.join(every)}")
    there = {record["variant"] for record in store.load(STUDY) if record["seed"] == seed}
    chosen = [
        part
        for part in every
        if not names
        or any(meant(word, part) for word in names)
        or ("missing" in names and part not in there)
    ]
    if len(chosen) == 1:
        one(chosen[0], every[chosen[0]], given, seed)
        return 0
    settings = [word for word in typed if "=" in word]
    command = [sys.executable, "-m", "benchmarks.chaos"]
    failed = [part for part in chosen if subprocess.run([*command, part, *settings]).returncode]
    for part in failed:
        print(f"{part} has failed")
    return int(bool(failed))


def one(part: str, run: Part, given: Mapping[str, float], seed: int) -> None:
    """Runs a part and stores its record."""
    record = {"variant": part, "seed": seed, **cells.origin()}
    found = run(given, seed)
    ended = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    store.append(STUDY, {**record, "finished": ended, **found})
    said = ", ".join(f"{name} {value}" for name, value in store.rounded(found, 3).items())
    print(f"{part}: {said}", flush=True)


def meant(word: str, part: str) -> bool:
    return part == word or part.startswith(f"{word}/")


if __name__ == "__main__":
    sys.exit(main())
