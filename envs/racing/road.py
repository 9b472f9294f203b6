"""Tracks as flat arrays: where each car of a vector is on its own track, and what lies ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs.racing.car import Vehicle
from envs.racing.profile import speed_profile
from envs.racing.track import Track

AHEAD = np.array([0, 4, 8, 12, 16, 20, 25, 30, 36, 43, 51, 60, 72, 86, 103, 124, 150])  # metres


class Place(NamedTuple):
    """Where points are on their tracks. sample: int64 [...], the nearest sample of the centreline;
    along: float64 [...], metres along the centreline from there; lateral: float64 [...], metres to
    the left of the centreline."""

    sample: np.ndarray
    along: np.ndarray
    lateral: np.ndarray


class Roads:
    """Several tracks laid end to end, so that one gather serves cars on different tracks.

    `profile` is the quasi-steady-state speed, m/s, of every sample (see profile.py). Arguments
    named `which` are int64 [...], the number of each point's track.
    """

    def __init__(self, tracks: Sequence[Track], vehicle: Vehicle) -> None:
        def joined(columns: list[np.ndarray]) -> np.ndarray:
            return np.concatenate(columns)

        self.tracks, self.vehicle = list(tracks), vehicle
        self.size = np.array([len(t.x) for t in tracks])
        self.spacing = np.array([t.spacing for t in tracks])
        self.length = self.size * self.spacing
        self.offset = np.concatenate([[0], np.cumsum(self.size)[:-1]])
        self.x, self.y = joined([t.x for t in tracks]), joined([t.y for t in tracks])
        self.heading = joined([t.heading for t in tracks])
        self.cos, self.sin = np.cos(self.heading), np.sin(self.heading)
        self.curvature = joined([t.curvature for t in tracks])
        self.left, self.right = joined([t.left for t in tracks]), joined([t.right for t in tracks])
        self.profile = joined([speed_profile(t, vehicle) for t in tracks])
        more = int(AHEAD[-1])  # sums go on behind the finish line, so that looking ahead needs none
        self._sums_at = self.offset + np.arange(len(tracks)) * (more + 1)
        self._sums = (
            joined([_sums(t.curvature, more) for t in tracks]),
            joined([_sums(np.abs(t.curvature), more) for t in tracks]),
        )
        self._over = 1.0 / np.diff(AHEAD)[:, None]

    def locate(
        self, which: np.ndarray, index: np.ndarray, x: np.ndarray, y: np.ndarray, steps: int = 3
    ) -> Place:
        """Where points x, y (float64 [...], metres) are, by Newton's method from the samples
        `index`, which must not be further away than a few car lengths."""
        offset, size, spacing = self.offset[which], self.size[which], self.spacing[which]
        for step in range(steps):
            at = offset + index
            dx, dy = x - self.x[at], y - self.y[at]
            cos, sin = self.cos[at], self.sin[at]
            lateral = dy * cos - dx * sin
            along = (dx * cos + dy * sin) / np.maximum(1.0 - self.curvature[at] * lateral, 0.2)
            if step < steps - 1:
                index = (index + np.rint(along / spacing).astype(np.int64)) % size
        return Place(index, along, lateral)

    def edges(self, which: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metres from the centreline to the left and to the right edge: float64 [...] each."""
        at = self.offset[which] + index
        return self.left[at], self.right[at]

    def ahead(self, which: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means of the curvature and of its absolute value, 1/m, over the 16 intervals of AHEAD
        before each car: float64 [16, N] each."""
        at = (self._sums_at[which] + index) + AHEAD[:, None]
        bends, sharpness = (np.diff(s[at], axis=0) * self._over for s in self._sums)
        return bends, sharpness


def _sums(values: np.ndarray, more: int) -> np.ndarray:
    """Sums of the values before each sample, float64 [n + more + 1]: of one lap and a bit."""
    lap = np.concatenate([values, np.resize(values, more)])
    return np.concatenate([[0.0], np.cumsum(lap)])
