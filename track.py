"""Hands a finished run's numbers to a tracker: python track.py run=FOLDER logger=wandb

Reads metrics.jsonl and result.json of the run's folder, so that a machine without network can train
and another one can send. The keys: run=FOLDER, logger=NAME or logger=[NAME,...], and the tracker's
own, such as logger.wandb.mode=offline.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conf import check, trust
from conf.compose import compose
from conf.sentences import Wrong, command

WHERE = ("kind", "env_steps", "updates", "episodes", "seconds", "version", "returns", "lengths")


def main() -> None:
    """The console command."""
    command(__doc__, track)


def track(arguments: list[str]) -> None:
    """Replays a run into the sinks that are named. Raises Wrong."""
    trust.look_in(".")  # a tracker of one's own
    values = compose(arguments, "track").values
    check.sinks(values.get("logger", {}))
    if not values.get("logger"):
        raise Wrong("logger=[] names no tracker: write logger=wandb or logger=trackio")
    folder = Path(values["run"])
    if not values["run"] or not (folder / "metrics.jsonl").is_file():
        raise Wrong(f"run={values['run']} has no metrics.jsonl, so it is not a run's folder")
    from conf.nodes import made
    from paradigms.session.folder import identity_of
    from paradigms.session.sinks import Run, Sinks

    config = trust.read(folder / "config.yaml")
    result = trust.read(folder / "result.json") if (folder / "result.json").is_file() else {}
    names = [str(result.get(name, "")) for name in ("paradigm", "agent", "env")]
    about = Run(
        folder=folder,
        identity=identity_of(folder) or folder.name,
        name=folder.name,
        group="-".join(names),
        tags=[name for name in names if name],
        config=config,
        failed=print,
    )
    made_sinks = {name: made(node, f"logger.{name}") for name, node in values["logger"].items()}
    sinks, count = Sinks(made_sinks, print), 0
    sinks.start(about)
    for numbers, env_steps, seconds in scalars(folder / "metrics.jsonl"):
        sinks.scalars(numbers, env_steps, seconds)
        count += 1
    for name in ("solving", "best", "final"):
        if (folder / f"{name}.safetensors").is_file():
            sinks.file(folder / f"{name}.safetensors", "policy")
    sinks.finish(result)
    sinks.close()
    if sinks.errors:
        raise Wrong(f"run={folder} was not handed on whole: {sinks.errors} failed, see above")
    print(f"{folder}: {count} lines to {', '.join(values['logger'])}")


def scalars(file: Path) -> Iterator[tuple[dict[str, float], int, float]]:
    """(numbers by name, env steps, seconds) of every whole line, named as a run names them."""
    for line in file.read_text("utf-8").splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
            env_steps, seconds = int(row["env_steps"]), float(row["seconds"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if row.get("kind") == "evaluation":
            numbers = {"evaluation/return": row["mean"], "evaluation/length": row["length"]}
            numbers |= {f"evaluation/{k}": v for k, v in row.get("metrics", {}).items()}
        else:
            numbers = {key: value for key, value in row.items() if key not in WHERE}
        yield numbers, env_steps, seconds


if __name__ == "__main__":
    main()
