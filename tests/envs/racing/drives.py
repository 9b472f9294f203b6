"""Made-up drives along the centreline of a track."""

from __future__ import annotations

import numpy as np

from envs.racing.metrics import Trace
from envs.racing.track import Track


def along(track: Track, metres: np.ndarray, **given: object) -> Trace:
    """A car on the centreline, float64 [T+1] metres after the start line at each step."""
    n = len(track.x)
    samples = np.asarray(metres, np.float64) / track.spacing
    at = samples % n
    x = np.interp(at, np.arange(n + 1), np.append(track.x, track.x[0]))
    y = np.interp(at, np.arange(n + 1), np.append(track.y, track.y[0]))
    values: dict[str, object] = {
        "x": x,
        "y": y,
        "speed": np.diff(metres, prepend=2 * metres[0] - metres[min(1, len(metres) - 1)]) / 0.1,
        "acceleration": np.zeros((len(x), 2)),
        "index": np.round(samples).astype(np.int64) % n,
        "lateral": np.zeros(len(x)),
        "outside": np.zeros(len(x) - 1, np.int64),
        **given,
    }
    return Trace(**values)  # type: ignore[arg-type]
