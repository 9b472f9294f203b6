"""Learning curves, every seed drawn: against seconds and against env steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import Record

COLOURS = ("#222222", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
POINTS = 200


def learning_curves(title: str, records: Sequence[Record], file: Path) -> bool:
    """Draws the evaluations of all cells into a PNG; False where there is nothing to draw."""
    drawn = [record for record in records if len(record["evaluations"]["mean"]) > 1]
    if not drawn:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    variants = list(dict.fromkeys(record["variant"] for record in drawn))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(variants)}
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, key in zip(axes, ("seconds", "env_steps"), strict=True):
        for record in drawn:
            curve = record["evaluations"]
            step = -(-len(curve[key]) // POINTS)
            name = record["variant"]
            axis.plot(
                curve[key][::step], curve["mean"][::step], color=colour[name], lw=0.9, alpha=0.7
            )
        threshold = drawn[0]["result"].get("threshold")
        if threshold is not None:
            axis.axhline(threshold, color="grey", ls="--", lw=0.8)
        axis.set_xlabel(key.replace("_", " "))
        axis.grid(alpha=0.2)
    axes[0].set_ylabel("return, mean of 20 greedy episodes")
    for name in variants:
        seeds = sum(record["variant"] == name for record in drawn)
        axes[0].plot([], [], color=colour[name], label=f"{name} ({seeds} seeds)")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return True
