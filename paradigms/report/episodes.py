"""The returns of some episodes as a figure: each of them, in order, and how they are spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def draw(returns: np.ndarray, file: Path, threshold: float | None = None) -> None:
    """Writes a PNG or an SVG, as the suffix of `file` says. returns: float64 [episodes]; threshold:
    a dashed line at that return. Left the episodes from the lowest return to the highest, right a
    histogram on the same axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(8.0, 3.4), sharey=True, width_ratios=(3, 1), layout="constrained"
    )
    left.plot(np.arange(1, len(returns) + 1), np.sort(returns), "o", ms=4, color="#0072b2")
    left.set_xlabel("episodes, from the lowest return to the highest")
    left.set_ylabel("return")
    right.hist(returns, bins="auto", orientation="horizontal", color="#0072b2", alpha=0.6)
    right.set_xlabel("episodes")
    for axis in (left, right):
        if threshold is not None:
            axis.axhline(threshold, color="grey", ls="--", lw=1)
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(file, dpi=150, transparent=file.suffix == ".svg")
    pyplot.close(figure)
