"""Are the stored policies as good as the tables say? Plays them on new seeds.

    python -m benchmarks.verify                     every stored policy
    python -m benchmarks.verify mcar --episodes 40

Fails where a new mean lies outside the stored one's interval, which is 4 standard errors wide on
either side; the errors of both means count, so that a rare failure in the new episodes widens it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import store
from benchmarks.studies import STUDIES
from conf.build import rebuild
from paradigms.base import Snapshot
from paradigms.runtime import machine

ERRORS = 4.0
SEED = 1_000_000  # no run has it


class Check(NamedTuple):
    """A stored mean beside the one measured now, and how far apart they may be."""

    stored: float
    measured: float
    allowed: float

    @property
    def holds(self) -> bool:
        return abs(self.measured - self.stored) <= self.allowed


def compare(policy: store.Record, returns: Sequence[float]) -> Check:
    """`policy`: a record's entry, with mean, std and episodes; `returns`: two or more new ones."""
    variance = policy["std"] ** 2 / policy["episodes"] + statistics.variance(returns) / len(returns)
    return Check(policy["mean"], statistics.mean(returns), ERRORS * math.sqrt(variance))


def play(floats: torch.Tensor, about: store.Record, episodes: int, seed: int = SEED) -> list[float]:
    """Returns of greedy episodes on the reference env, by a policy of `store.load_policies`."""
    from paradigms.session.evaluator import Evaluator

    snapshot = Snapshot("evaluate", floats, torch.zeros(0, dtype=torch.int64), version=0)
    plan = rebuild(about, floats=len(floats), slots=min(20, episodes), seed=seed)
    with Evaluator(plan, where="inline") as evaluator:
        return [float(value) for value in evaluator.measure(snapshot, episodes).returns]


def main(arguments: Sequence[str] | None = None, results: Path = store.RESULTS) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify")
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", choices=[*STUDIES, []], help="all, if none is named"
    )
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args(arguments)
    machine.prepare()
    checked = failures = 0
    for study in options.studies or STUDIES:
        policies = store.load_policies(study, results)
        for record in store.load(study, results):
            stored = policies.get(f"{record['variant']}_{record['seed']}")
            policy = record.get("policy", {})
            if stored is None or policy.get("mean") is None or policy.get("std") is None:
                continue
            check = compare(policy, play(*stored, options.episodes))
            checked += 1
            failures += not check.holds
            print(
                f"{study} {record['variant']} seed {record['seed']} {policy['which']}: stored"
                f" {check.stored:.1f}, now {check.measured:.1f}, may differ by"
                f" {check.allowed:.1f}: {'holds' if check.holds else 'FAILS'}",
                flush=True,
            )
    print(f"{checked} policies checked, {failures} outside their interval")
    return 1 if failures or (options.studies and not checked) else 0


if __name__ == "__main__":
    sys.exit(main())
