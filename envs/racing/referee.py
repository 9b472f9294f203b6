"""Where every car is on its road, how far it has come, its laps, and whether it may go on."""

from __future__ import annotations

import numpy as np

from envs.racing.car import Cars, Vehicle
from envs.racing.road import Place, Roads

STUCK_SECONDS, STUCK_METRES = 5.0, 2.0
CORNERS_ALONG = np.array([[0.5], [0.5], [-0.5], [-0.5]])  # of the car's length
CORNERS_ACROSS = np.array([[0.5], [-0.5], [0.5], [-0.5]])  # of its width


class Referee:
    """Watches n cars on `roads`, one control step of `seconds` after another.

    which: int64 [n], the number of each car's track. place: where it is. metres: float64 [n],
    driven along the centreline since the episode began, less what was driven backwards. outside:
    int64 [n], corners of the car outside the road. laps: int64 [n]; lap_times: seconds of each
    lap, for each car. A lap begins and ends on the start line, and the first one of an episode that
    begins on the grid begins with the episode. Passing the line backwards counts as what it is.
    """

    def __init__(self, roads: Roads, vehicle: Vehicle, n: int, *, seconds: float) -> None:
        self.roads, self.vehicle, self.seconds = roads, vehicle, seconds
        self.which = np.zeros(n, np.int64)
        self.place = Place(np.zeros(n, np.int64), np.zeros(n), np.zeros(n))
        self.metres, self._line = np.zeros(n), np.zeros(n)  # line: metres to where it is next
        self.outside, self.laps = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.lap_times: list[list[float]] = [[] for _ in range(n)]
        self._crossed = np.full(n, np.nan)  # seconds at which the lap under way began
        self._mark, self._marked = np.zeros(n), np.zeros(n, np.int64)  # metres, and at which step

    def begin(self, slots: np.ndarray, which: np.ndarray, place: Place, grid: np.ndarray) -> None:
        """New episodes of the cars `slots` (int64 [m]), at `place`, on the grid or not (bool)."""
        self.which[slots] = which
        for mine, given in zip(self.place, place, strict=True):
            mine[slots] = given
        at = place.sample * self.roads.spacing[which] + place.along
        length = self.roads.length[which]
        self.metres[slots] = self._mark[slots] = 0.0
        self._marked[slots] = self.outside[slots] = self.laps[slots] = 0
        self._line[slots] = length - np.where(grid, 0.0, at)
        self._crossed[slots] = np.where(grid, 0.0, np.nan)
        for slot in slots:
            self.lap_times[slot] = []

    def follow(self, cars: Cars, steps: np.ndarray) -> np.ndarray:
        """Looks where the cars are after their control step number `steps` (int64 [n]). Returns the
        metres by which each has come on along its centreline, float64 [n]."""
        before, roads = self.place, self.roads
        self.place = place = roads.locate(self.which, before.sample, cars.x, cars.y)
        length = roads.length[self.which]
        moved = (place.sample - before.sample) * roads.spacing[self.which]
        moved += place.along - before.along
        moved -= length * np.rint(moved / length)
        self.metres += moved
        if (self.metres >= self._line).any():
            self._count_laps(moved, steps, length)
        self._count_corners(cars)
        far = self.metres > self._mark + STUCK_METRES
        self._mark = np.where(far, self.metres, self._mark)
        self._marked = np.where(far, steps, self._marked)
        return np.asarray(moved)

    def lap_clock(self, steps: np.ndarray) -> np.ndarray:
        """Seconds of the lap under way, or of the episode where none was begun: float64 [n]."""
        return np.asarray(steps * self.seconds - np.nan_to_num(self._crossed))

    def stuck(self, steps: np.ndarray) -> np.ndarray:
        """Which cars have not come on by 2 m in the last 5 s: bool [n]."""
        return np.asarray((steps - self._marked) * self.seconds > STUCK_SECONDS)

    def _count_laps(self, moved: np.ndarray, steps: np.ndarray, length: np.ndarray) -> None:
        """The line was crossed between two control steps: in proportion to the metres."""
        for slot in np.flatnonzero(self.metres >= self._line):
            late = (self.metres[slot] - self._line[slot]) / moved[slot]
            now = float((steps[slot] - late) * self.seconds)
            if not np.isnan(self._crossed[slot]):
                self.laps[slot] += 1
                self.lap_times[slot].append(now - float(self._crossed[slot]))
            self._crossed[slot] = now
            self._line[slot] += length[slot]

    def _count_corners(self, cars: Cars) -> None:
        """Counts the corners outside, of the cars that are near an edge."""
        size = self.vehicle
        left, right = self.roads.edges(self.which, self.place.sample)
        reach = 0.5 * np.hypot(size.length, size.width) + 0.5  # the edges may close in meanwhile
        lateral = self.place.lateral
        near = np.flatnonzero((lateral + reach > left) | (reach - lateral > right))
        self.outside = np.zeros_like(self.outside)
        if len(near):
            cos, sin = np.cos(cars.yaw[near]), np.sin(cars.yaw[near])
            along, across = size.length * CORNERS_ALONG, size.width * CORNERS_ACROSS
            x = cars.x[near] + along * cos - across * sin
            y = cars.y[near] + along * sin + across * cos
            which = np.broadcast_to(self.which[near], x.shape)
            index = np.broadcast_to(self.place.sample[near], x.shape)
            corner = self.roads.locate(which, index, x, y)
            left, right = self.roads.edges(which, corner.sample)
            beyond = (corner.lateral > left) | (corner.lateral < -right)
            self.outside[near] = beyond.sum(0)
