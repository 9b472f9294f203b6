"""The lineage of a population: what each member learned with, and whom it copied, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.store import Record
from benchmarks.tables import scores
from paradigms.report.curves import OTHERS

SETTING = "lr"


def draw(records: Sequence[Record], file: Path) -> None:
    """Writes a PNG: a panel a run, a line a member, its learning rate against env steps of the
    population; an arrow leads from the member that was copied to the one that copied it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(records), figsize=(4.0 * len(records), 3.4), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axis, record in zip(axes[0], records, strict=True):
        said = [one for one in record["selections"] if SETTING in one]
        members = sorted({int(one["member"]) for one in said})
        newest: dict[int, float] = {}
        lines: dict[int, tuple[list[float], list[float]]] = {m: ([], []) for m in members}
        for one in said:
            member, parent = int(one["member"]), int(one["parent"])
            if parent != member and parent in newest:
                axis.annotate(
                    "", (one["env_steps"], one[SETTING]), (one["env_steps"], newest[parent]),
                    arrowprops={"arrowstyle": "->", "color": "grey", "lw": 1.0},
                )  # fmt: skip
            newest[member] = one[SETTING]
            lines[member][0].append(one["env_steps"])
            lines[member][1].append(one[SETTING])
        last = dict(enumerate(scores(record)))
        for member, colour in zip(members, OTHERS * len(members), strict=False):
            label = f"{member}: {last[member]:.0f}" if member in last else str(member)
            axis.plot(*lines[member], "o-", ms=3, lw=1.6, color=colour, label=label)
        axis.set_yscale("log")
        axis.set_title(f"{record['variant']}, seed {record['seed']}", fontsize=10)
        axis.set_xlabel("env steps of all members")
        axis.grid(alpha=0.2)
        axis.legend(title="member: last return", fontsize=7, title_fontsize=7, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("learning rate")
    figure.savefig(file, dpi=150, metadata={"Software": None})
    pyplot.close(figure)
