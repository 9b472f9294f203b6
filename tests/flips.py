"""Every truncation and many flipped bits of a checkpoint and a policy: which of them are noticed?

python -m tests.flips            # 1,000 bits of each file and every length; prints a table
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paradigms.base import Snapshot
from paradigms.session.checkpoint import Damaged, read, write
from paradigms.session.policy import load_policy, save_policy

FLIPS = 1000


def main() -> None:
    """Prints one line a file, and leaves with 1 where damage was not noticed."""
    missed = 0
    with tempfile.TemporaryDirectory() as home:
        for file, load in made(Path(home)):
            counts = {"flips": tried(file, flipped(file.read_bytes(), FLIPS), load)}
            counts["lengths"] = tried(file, shortened(file.read_bytes()), load)
            for kind, (refused, number) in counts.items():
                missed += number - refused
                sys.stdout.write(f"{file.name:20} {kind:8} {refused:6,} of {number:,} refused\n")
    sys.exit(int(missed > 0))


def made(home: Path) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Files of a run, and what reads each."""
    floats = torch.randn(64, generator=torch.Generator().manual_seed(0))
    state = {"floats": floats, "heads": np.arange(4), "seconds": 1e-5, "means": [0.25, 1e22]}
    folder = write(home / "step_000000000001", state)
    for file in sorted(folder.iterdir()):
        yield file, lambda: read(folder)
    policy = home / "best.safetensors"
    whole = Snapshot("evaluate", floats, torch.tensor([3]), 3, seconds=1e-5)
    save_policy(policy, whole, {"agent": {"lr": 3e-4, "hidden_sizes": [8, 8]}, "seed": 1})
    for file in (policy, policy.with_suffix(".json")):
        yield file, lambda: load_policy(policy)


def flipped(whole: bytes, number: int) -> Iterator[bytes]:
    """Copies with one other bit each, without repetition: all of them where there are fewer."""
    draw = random.Random(0)
    for place in draw.sample(range(8 * len(whole)), min(number, 8 * len(whole))):
        at, bit = divmod(place, 8)
        yield whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]


def shortened(whole: bytes) -> Iterator[bytes]:
    """The file cut off at every length."""
    return (whole[:length] for length in range(len(whole)))


def tried(file: Path, damaged: Iterator[bytes], load: Callable[[], Any]) -> tuple[int, int]:
    """How many of the damaged copies are refused in one sentence, and how many there are."""
    whole, refused, number = file.read_bytes(), 0, 0
    for content in damaged:
        file.write_bytes(content)
        number += 1
        try:
            load()
        except Damaged as error:
            refused += "\n" not in str(error).strip()
    file.write_bytes(whole)
    load()
    return refused, number


if __name__ == "__main__":
    main()
