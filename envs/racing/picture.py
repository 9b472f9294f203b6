"""The picture of a lap: the map of the road and the driven line, coloured by speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.racing.metrics import Trace
from envs.racing.track import Track
from envs.racing.view import COLOURS, clock, edges, titled

GRID = 50.0  # metres: a car that starts this little before the line begins a lap at once
POINTS = 1200  # of one edge of the road in a picture, at most

PAPER, INK, ASPHALT, OUT = "#ffffff", "#1b1f24", "#2d333c", "#e5484d"
WIDE, MARGIN, HEAD = 1000, 36, 84  # of a picture, pixels


def fastest(trace: Trace, track: Track) -> tuple[slice, float] | None:
    """The states of the quickest completed lap and its time in seconds, or None without a lap.

    A lap reaches from one crossing of the start line to the next, the first one from the grid; its
    states include the one before the line.
    """
    n = len(track.x)
    moved = (np.diff(trace.index) + n // 2) % n - n // 2
    progress = (trace.index[0] + n // 2) % n - n // 2 + np.append(0, np.cumsum(moved))
    starts = [0] if -GRID / track.spacing <= progress[0] <= 0 else []
    crossed = range(1, int(progress.max()) // n + 1)
    starts += [int(np.argmax(progress >= lap * n)) for lap in crossed]
    if len(starts) < 2:
        return None
    lap = int(np.argmin(np.diff(starts)))
    states = slice(max(0, starts[lap] - 1), starts[lap + 1] + 1)
    seconds = (starts[lap + 1] - starts[lap]) * trace.dt
    exact = [time for time in trace.lap_times if abs(time - seconds) <= 2 * trace.dt]
    return states, min(exact, key=lambda time: abs(time - seconds), default=seconds)


def picture(track: Track, traces: Sequence[Trace], path: str | Path) -> None:
    """Writes the map of the road, north up, with the fastest lap of the traces coloured by speed.

    Without a lap every trace is coloured, and a cross marks where a car left the road. The suffix
    of `path` decides: .png is 1000 pixels wide, .svg 1000 units. Raises ValueError for another
    suffix and without traces, ModuleNotFoundError where matplotlib is missing.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"picture path={path.name} must end in .png or .svg")
    if not traces:
        raise ValueError("picture needs at least one trace")
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a picture needs matplotlib: pip install 'paceline[report]'"
        ) from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

    laps = [(trace, found) for trace in traces if (found := fastest(trace, track))]
    if laps:
        trace, (states, seconds) = min(laps, key=lambda lap: lap[1][1])
        drawn, title = [(trace, states)], clock(seconds)
    else:
        drawn, title = [(trace, slice(None)) for trace in traces], "no lap completed"

    left, right = (edge[:: math.ceil(len(edge) / POINTS)] for edge in edges(track))
    (west, south), (east, north) = (f(np.concatenate([left, right]), 0) for f in (np.min, np.max))
    tall = float(np.clip((north - south) * (WIDE - 2 * MARGIN) / (east - west), 240, 600))
    height = HEAD + tall + MARGIN
    figure = Figure(figsize=(WIDE / 100, height / 100), dpi=100, facecolor=PAPER)

    def place(x: float, y: float, wide: float, tall: float) -> Any:
        """Axes at pixels from the top left corner."""
        box = (x / WIDE, 1 - (y + tall) / height, wide / WIDE, tall / height)
        return figure.add_axes(box)

    axes = place(MARGIN, HEAD, WIDE - 2 * MARGIN, tall)
    axes.set(aspect="equal", xlim=(west, east), ylim=(south, north))
    axes.axis("off")
    ring = np.concatenate([left, left[:1], right[:1], right[::-1]])
    axes.add_patch(Polygon(ring, fc=ASPHALT, ec="none", clip_on=False))
    _start(axes, track)
    speeds = 3.6 * np.concatenate([trace.speed[states] for trace, states in drawn])
    slow, fast = 10 * math.floor(speeds.min() / 10), 10 * math.floor(speeds.max() / 10 + 1)
    for trace, states in drawn:
        line = np.stack([trace.x[states], trace.y[states]], 1)
        driven = LineCollection(
            list(np.stack([line[:-1], line[1:]], 1)),
            array=1.8 * (trace.speed[states][:-1] + trace.speed[states][1:]),
            cmap=LinearSegmentedColormap.from_list("speed", COLOURS),
            norm=Normalize(slow, fast),
            lw=2.5,
            capstyle="round",
            clip_on=False,
        )
        driven.set_gid("driven")
        axes.add_collection(driven)
        if not laps and trace.infractions:
            axes.plot(*line[-1], "x", ms=9, mew=2.4, color=OUT, clip_on=False)

    def write(x: float, y: float, text: str, **style: Any) -> Any:
        return figure.text(x / WIDE, 1 - y / height, text, va="baseline", color=INK, **style)

    name = write(MARGIN, 44, titled(track), size=20, weight="bold")
    end = name.get_window_extent(FigureCanvasAgg(figure).get_renderer()).x1
    write(end + 16, 44, title, size=20)
    bar = figure.colorbar(
        driven, cax=place(WIDE - MARGIN - 240, 26, 240, 9), orientation="horizontal"
    )
    bar.outline.set_visible(False)
    bar.set_ticks([])
    style = {"size": 10, "alpha": 0.65}
    write(WIDE - MARGIN - 240, 51, f"{slow}", **style)
    write(WIDE - MARGIN - 120, 51, f"{(slow + fast) / 2:.0f}", ha="center", **style)
    write(WIDE - MARGIN, 51, f"{fast} km/h", ha="right", **style)
    write(MARGIN, 68, f"{track.length:,.0f} m, {speeds.mean():.0f} km/h on average", **style)
    with matplotlib.rc_context({"svg.hashsalt": "paceline"}):
        figure.savefig(
            path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None}
        )


def _start(axes: Any, track: Track) -> None:
    """A bar across the road at its first sample, and an arrow beside it in the driven direction."""
    left, right = edges(track)
    along = np.array([math.cos(track.heading[0]), math.sin(track.heading[0])])
    out = (right[0] - left[0]) / np.hypot(*(right[0] - left[0])) * (track.turning or 1)
    metre = axes.bbox.width / (axes.get_xlim()[1] - axes.get_xlim()[0])  # in pixels
    near = (right if track.turning >= 0 else left)[0] + out * 11 / metre
    axes.plot(*np.stack([left[0], right[0]]).T, color=PAPER, lw=2.5, solid_capstyle="butt")
    axes.annotate(
        "",
        near + along * 24 / metre,
        near - along * 24 / metre,
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.6, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )
