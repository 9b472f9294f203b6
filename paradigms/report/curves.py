"""Learning curves: for each row the median of its seeds in bold, and every seed as a thin line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLOURS = {  # Okabe and Ito 2008, "Color universal design": told apart by colour-blind readers
    "sequential": "#000000",
    "dcollect": "#0072b2",
    "dupdate": "#d55e00",
    "hogwild": "#009e73",
    "locked": "#cc79a7",
    "a3c": "#e69f00",
    "allreduce": "#56b4e9",
    "gorila": "#8c564b",  # theirs are used up
    "gossip": "#7f7f7f",
    "es": "#9467bd",
    "ars": "#bcbd22",
    "pbt": "#17becf",
}
OTHERS = ("#e69f00", "#56b4e9", "#cc79a7", "#999999")
POINTS = 200  # of a median
WIDTH = 8.0  # inches; at 100 displayed pixels an inch a font of 10 points is 14 pixels high

Curve = tuple[Sequence[float], Sequence[float]]  # x, ascending, and y


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `rows`: by name, a curve a seed; `threshold`: a dashed line at that y;
    `x_max`: what lies beyond is not shown."""

    x_label: str
    rows: Mapping[str, Sequence[Curve]]
    threshold: float | None = None
    x_max: float | None = None
    title: str = ""


def median_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the median over seeds, from where the last of them begins to where the first ends,
    so that every seed counts at every x; linear between points. Raises ValueError without curves.
    """
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(low, max(low, high), POINTS)
    return grid, np.median([np.interp(grid, x, y) for x, y in curves], axis=0)


def draw(panels: Sequence[Panel], file: Path, y_label: str = "return") -> None:
    """Writes a PNG or an SVG, as the suffix of `file` says, with the panels side by side and one
    legend below them. A row has one colour in all panels: a paradigm its own. The SVG has no
    background and is the same for the same curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for panel in panels for name in panel.rows))
    others = iter(OTHERS * len(names))
    colour = {name: COLOURS.get(name) or next(others) for name in names}
    size = (max(WIDTH, 4.0 * len(panels)), 3.4)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=size, squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        for name, curves in panel.rows.items():
            for x, y in curves:
                axis.plot(x, y, color=colour[name], lw=0.7, alpha=0.4)
        for name, curves in panel.rows.items():
            axis.plot(*median_curve(curves), color=colour[name], lw=2.2)
        if panel.threshold is not None:
            axis.axhline(panel.threshold, color="grey", ls="--", lw=1)
        axis.set_title(panel.title, fontsize=10)
        axis.set_xlabel(panel.x_label)
        axis.set_xlim(0, panel.x_max)
        axis.grid(alpha=0.2)
        axis.locator_params(nbins=5)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes[0][0].set_ylabel(y_label)
    lines = [pyplot.Line2D([], [], color=colour[name], lw=2.2, label=name) for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(names), frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".svg":
        with matplotlib.rc_context({"svg.hashsalt": "paceline"}):
            figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(file, dpi=150, metadata={"Software": None})
    pyplot.close(figure)


def _short(value: float) -> str:
    """5000 as 5k, 1500000 as 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
