"""Which cells of a study are missing? Runs those, one after another; can be stopped and continued.

python -m benchmarks.study mcar                                     the missing cells
python -m benchmarks.study mcar --only paradigm=dcollect --seeds 100-101
python -m benchmarks.study averaging --pack 2                       two at a time
python -m benchmarks.study mcar --list                              what is missing
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cells, memory, store
from benchmarks.plans import Cell, Study
from benchmarks.studies import STUDIES

SECONDS_TO_STOP = 15.0
SECONDS_BETWEEN_LOOKS = 10.0  # at a run's memory
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Run:
    """A cell's program as a process in a session of its own, so that nothing of it survives; it is
    asked to stop where this process is killed. To be made by the main thread."""

    def __init__(self, cell: Cell, folder: Path, cwd: Path = cells.ROOT) -> None:
        self.cell, self.folder = cell, folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.before = cells.origin()
        self.started = self.looked = time.monotonic()
        self.memory = 0  # bytes, the most that were seen
        with (folder / "study.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *cell.program, *cell.overrides, f"hydra.run.dir={folder}"],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=stop_with_parent,
            )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def ended(self) -> bool:
        """Whether the process is gone; kills it where it is over its time."""
        if self.process.poll() is None and self.seconds > self.cell.kill_after:
            self.kill()
        if self.process.poll() is None:
            if time.monotonic() - self.looked > SECONDS_BETWEEN_LOOKS:
                self.memory = max(self.memory, memory.held(self.process.pid))
                self.looked = time.monotonic()
            return False
        self.kill()  # whatever it left behind
        return True

    def interrupt(self) -> None:
        """Asks for a stop and waits a little for it."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_STOP)
        self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def record(self) -> store.Record:
        found = cells.gather(
            self.cell,
            self.folder,
            exit_code=self.process.returncode,
            seconds=self.seconds,
            before=self.before,
        )
        return {**found, "memory": self.memory} if self.memory else found


def stop_with_parent() -> None:
    """Asks Linux to send SIGTERM to this process when the thread that began it is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run_cells(
    missing: Sequence[Cell],
    study: Study,
    *,
    results: Path = store.RESULTS,
    folders: Path = cells.ROOT / "outputs" / "studies",
    pack: int = 1,
    cwd: Path = cells.ROOT,
) -> bool:
    """Runs cells, `pack` at a time, from the folder `cwd`. False where it was interrupted: what ran
    then is not stored."""
    pending, running = deque(missing), list[Run]()
    done = 0
    try:
        while pending or running:
            while pending and len(running) < pack:
                cell = pending.popleft()
                running.append(Run(cell, folders / cell.study / cell.name, cwd))
            time.sleep(0.1)
            for run in [run for run in running if run.ended()]:
                running.remove(run)
                record = {**run.record(), "packed": pack}
                if study.policies:
                    cells.keep_policy(run.cell.study, record, run.folder, results)
                store.append(run.cell.study, record, results)
                done += 1
                print(f"[{done}/{len(missing)}] {run.cell.study} {summary(record)}", flush=True)
    except KeyboardInterrupt:
        print("stopping; cells not finished will be run again", flush=True)
        return False
    finally:
        for run in running:
            run.interrupt()
    return True


def summary(record: store.Record) -> str:
    """One line on a finished cell."""
    head = f"{record['variant']} seed {record['seed']}"
    result = record["result"]
    if cells.failed(record):
        last = (record["log_tail"] or ["no output"])[-1]
        return f"{head}: FAILED with exit code {record['exit_code']}: {last}"
    if "solved" not in result:
        return f"{head}: done in {record['wall_seconds']:.0f} s"
    if result["solved"]:
        return f"{head}: solved in {result['seconds_to_threshold']:.0f} s"
    return f"{head}: not solved in {result['seconds']:.0f} s"


def find_missing(
    name: str,
    *,
    seeds: Sequence[int] | None = None,
    only: Sequence[str] = (),
    again: bool = False,
    results: Path = store.RESULTS,
) -> list[Cell]:
    """The cells that have no record (with `again`, also those that failed), in the order to run."""
    there = {
        (record["variant"], record["seed"])
        for record in store.load(name, results)
        if not (again and cells.failed(record))
    }
    return [
        cell
        for cell in STUDIES[name].cells(name, seeds)
        if (cell.variant, cell.seed) not in there
        and all(want == cell.variant or want in cell.overrides for want in only)
    ]


def parse_seeds(text: str) -> list[int]:
    """ "100-104" or "100,102,107" """
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add: Any = parser.add_argument
    add("studies", nargs="+", metavar="NAME", choices=STUDIES, help=", ".join(STUDIES))
    add("--seeds", type=parse_seeds, help="instead of the study's own: 100-104 or 100,103")
    add("--only", action="append", default=[], help="a variant's name or one of its overrides")
    add("--pack", type=int, default=1, help="cells at a time, where figures count steps")
    add("--again", action="store_true", help="run cells that failed once more")
    add("--list", action="store_true", help="print the missing cells and stop")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in options.studies:
        study = STUDIES[name]
        if options.pack > 1 and not study.packable:
            parser.error(f"--pack: the figures of {name} are wall-clock times; run it alone")
        missing = find_missing(name, seeds=options.seeds, only=options.only, again=options.again)
        print(f"{name}: {len(missing)} cells missing. {study.question}", flush=True)
        if options.list:
            for cell in missing:
                print(" ", cell.name, *cell.overrides)
        elif not run_cells(missing, study, pack=options.pack):
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
