"""Executes a run again, inline, from its journal: python reproduce.py run=FOLDER

Every scheduling event of an asynchronous run is done again, one role at a time, in one process.
Says whether the parameters come out the same, to the last bit.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from conf import check, limits, trust
from conf.build import assemble, fits
from conf.compose import Setup
from conf.sentences import Wrong, line, refuse
from conf.stored import stored_run

MOST_JOURNAL = 2**28  # bytes: five million events


def main() -> None:
    """The console command: exit code 0 if the bits agree, 1 if not, 2 if it cannot be done."""
    arguments = dict(word.partition("=")[::2] for word in sys.argv[1:])
    if set(arguments) - {"trust"} != {"run"} or not all(arguments.values()):
        sys.stderr.write(f"{(__doc__ or '').splitlines()[0]}\n")
        sys.exit(2)
    try:
        modules = arguments.get("trust", "").strip("[]").split(",")
        trusted = trust.trusted([name for name in modules if name])
        agree = reproduce(Path(arguments["run"]), trusted)
    except Wrong as error:
        refuse(error)
    sys.exit(0 if agree else 1)


def reproduce(folder: Path, trusted: Collection[str] = ()) -> bool:
    """Executes the folder's journal again and compares with its last checkpoint. Raises Wrong."""
    for name in ("config.yaml", "journal.bin"):
        if not (folder / name).is_file():
            raise Wrong(f"run={folder} has no {name}; give the folder of a run with journal=true")
    stored, choices = stored_run(folder, f"run={folder}", trusted)
    values = trust.dereferenced(stored)
    if values.get("resume"):
        raise Wrong(f"run={folder} was resumed, so no journal tells its beginning: take another")
    setup = Setup(values, choices)
    check.values(setup)
    check.spaces(setup, most=limits.room_of(folder, trusted))
    fits(values)
    import paradigms.runtime.machine as machine  # before torch: it sets the number of threads

    machine.prepare()
    import torch

    from paradigms.errors import Diverged, PacelineError
    from paradigms.runtime.journal import Journal
    from paradigms.runtime.recorded import Recorded
    from paradigms.session.checkpoint import Checkpoints, Damaged

    try:
        if (folder / "journal.bin").stat().st_size > MOST_JOURNAL:
            raise ValueError(f"it has more than {MOST_JOURNAL:,} bytes")
        journal = Journal.read(folder / "journal.bin")
        whole, known = journal.complete(), all(isinstance(role, str) for role in journal.roles)
        events = sum(len(journal.events(role)) for role in journal.roles)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Wrong(f"run={folder} has no journal that can be read: {line(error)}") from error
    if not whole or not known:
        raise Wrong(f"run={folder} was killed, or a worker of it: its journal is not whole")
    if not events:
        raise Wrong(f"run={folder} has an empty journal: its paradigm leaves nothing to order")
    notes: list[str] = []
    try:
        saved = Checkpoints(folder / "checkpoints", keep=1, say=notes.append).newest()
    except Damaged as error:
        raise Wrong(f"run={folder} has no checkpoint to compare with: {error}") from error
    job, paradigm = assemble({**values, "crew": "inline"}, order=Recorded(journal))
    print(f"{events:,} events of {', '.join(journal.roles)}")
    run = paradigm.run(job)
    try:
        while True:
            next(run)
    except StopIteration as end:
        result = end.value
    except Diverged as error:
        print(f"it went another way: {error}")
        return False
    except PacelineError as error:
        raise Wrong(f"run={folder} cannot be executed again: {line(error)}") from error
    floats = saved["run"].get("floats") if isinstance(saved.get("run"), dict) else None
    same = isinstance(floats, torch.Tensor) and floats.shape == result.final.floats.shape
    if not same or saved.get("env_steps") != result.totals["env_steps"]:
        raise Wrong(f"run={folder} has no checkpoint of its end; run with checkpoint.at_end=true")
    agree = torch.equal(result.final.floats, floats)
    differ = int((result.final.floats != floats).sum())
    updates = result.totals["updates"]
    print(
        f"{updates:,} updates executed again: "
        + ("the same bits" if agree else f"{differ:,} of {len(floats):,} numbers differ")
    )
    return agree


if __name__ == "__main__":
    main()
