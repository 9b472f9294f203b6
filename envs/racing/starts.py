"""Where an episode begins."""

from __future__ import annotations

import math

import numpy as np

from envs.racing.road import Roads

STARTS = ("anywhere", "grid")
GRID_SHARE = 0.2  # of the episodes that may begin anywhere


def start_of(
    name: str, rng: np.random.Generator, slot: int, track: int, roads: Roads
) -> tuple[float, ...]:
    """A start of the kind `name` on the track of that number: (sample of the centreline, metres to
    the left, radians off the road's direction, share of the speed that the bends allow, 1 on the
    grid and 0 elsewhere). On the grid slot 0 stands exactly on the line."""
    if name == "grid" or rng.random() < GRID_SHARE:
        if name == "grid" and slot == 0:
            return 0, 0.0, 0.0, 0.0, 1
        return 0, rng.uniform(-1.0, 1.0), math.radians(rng.normal()), 0.0, 1
    sample = int(rng.integers(roads.size[track]))
    left, right = roads.edges(np.array(track), np.array(sample))
    room = 0.8 * float(min(left, right) - 0.5 * roads.vehicle.width)
    return sample, rng.uniform(-room, room), rng.normal(0.0, 0.08), rng.uniform(0.0, 1.2), 0
