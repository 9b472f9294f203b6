"""A closed road: its centreline at equal distances, curvature and half-widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Track:
    """A closed road, sampled n times at equal distances along its centreline, in the direction in
    which it is driven; sample 0 lies on the start line.

    x, y: float64 [n], metres east and north. heading: float64 [n], radians counter-clockwise from
    east, without jumps. curvature: float64 [n], 1/m, positive where the road bends to the left.
    left, right: float64 [n], metres from the centreline to the edges, along the normal. spacing:
    metres from one sample to the next, and from the last to the first.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    curvature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    spacing: float

    @property
    def length(self) -> float:
        """Metres of one lap along the centreline."""
        return self.spacing * len(self.x)
