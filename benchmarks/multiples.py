"""Many rows of a study side by side, a small panel each, before the baseline in grey."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paradigms.report.curves import COLOURS, Curve

ACROSS = 4  # panels
SIDE = 2.2  # inches of a panel


@dataclass(frozen=True)
class Seeds:
    """Of one row: a curve a seed, and the median of the seconds to the threshold, or infinity."""

    curves: Sequence[Curve]
    reached: float


def draw(
    rows: Mapping[str, Seeds],
    file: Path,
    *,
    baseline: str,
    threshold: float,
    x_max: float,
    x_label: str = "seconds",
) -> None:
    """Writes a PNG: of each row every seed as a line, and where the median one reaches the
    threshold, which is dashed; behind it the seeds of `baseline`. The soonest comes first."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    down = -(-len(rows) // ACROSS)
    size = (SIDE * ACROSS, SIDE * 0.85 * down)
    figure, axes = pyplot.subplots(
        down, ACROSS, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    flat = axes.flatten()
    for axis in flat[len(rows) :]:
        axis.set_visible(False)
    ordered = sorted(rows.items(), key=lambda item: item[1].reached)
    for axis, (name, row) in zip(flat, ordered, strict=False):
        colour = COLOURS.get(name, "#8b0000")
        for x, y in rows[baseline].curves:
            axis.plot(x, y, color="0.85", lw=0.8)
        for x, y in row.curves:
            axis.plot(x, y, color=colour, lw=1)
        axis.axhline(threshold, color="grey", ls="--", lw=0.8)
        if math.isfinite(row.reached):
            axis.axvline(row.reached, color=colour, lw=2, alpha=0.5)
        said = f"{row.reached:.1f} s" if math.isfinite(row.reached) else "never"
        axis.set_title(f"{name}: {said}", fontsize=9)
        axis.set_xlim(0, x_max)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    figure.supxlabel(x_label, fontsize=9)
    figure.supylabel("return", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Software": None})
    pyplot.close(figure)
