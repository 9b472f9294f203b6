"""The form of a study: a question, the rows of its table, its seeds. A cell is a row and a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Overrides = tuple[str, ...]
QUIET: Overrides = ("logger=[]", "checkpoint.at_end=false")


@dataclass(frozen=True)
class Cell:
    """One run: what is given to its program, and after how many seconds it is killed."""

    study: str
    variant: str
    seed: int
    program: Overrides
    overrides: Overrides
    kill_after: float

    @property
    def name(self) -> str:
        return f"{self.variant}_{self.seed}"


@dataclass(frozen=True)
class Study:
    """One question. `variants` are the rows: a name and its overrides; `common` hold for all.
    `programs`: what runs the rows that are not train.py's.

    cap: seconds a run may take by its own budget; it is killed `margin` seconds later (room for
    the confirming episodes). packable: figures count steps, not seconds, so that several cells may
    share the cores. policies: solving and final policies are stored for `make verify`. table: what
    is printed of it, see report.py.
    """

    question: str
    variants: Mapping[str, Overrides]
    common: Overrides
    seeds: tuple[int, ...]
    cap: float
    margin: float = 60.0
    packable: bool = False
    policies: bool = False
    program: Overrides = ("train.py",)
    programs: Mapping[str, Overrides] = field(default_factory=dict)
    table: str = "timed"

    def cells(self, name: str, seeds: Iterable[int] | None = None) -> list[Cell]:
        """All cells, seed by seed, so that every row has its first seed before any has a second."""
        return [
            Cell(
                study=name,
                variant=variant,
                seed=seed,
                program=self.programs.get(variant, self.program),
                overrides=(*overrides, *self.common, f"seed={seed}"),
                kill_after=self.cap + self.margin,
            )
            for seed in (self.seeds if seeds is None else seeds)
            for variant, overrides in self.variants.items()
        ]


def span(first: int, last: int) -> tuple[int, ...]:
    """The seeds from the first to the last one."""
    return tuple(range(first, last + 1))


def budget(seconds: int, env_steps: int, stop: bool = False) -> Overrides:
    """Unless `stop`, a run goes on after the threshold: is what was learned kept?"""
    budget = (f"budget.env_steps={env_steps}", f"budget.seconds={seconds}")
    return (*budget, f"stop_when_solved={str(stop).lower()}", *QUIET)
