"""What a video of the world shows: one picture of each car."""

from __future__ import annotations

import numpy as np

from envs.racing.car import Cars, Vehicle
from envs.racing.metrics import Trace
from envs.racing.track import Track
from envs.racing.view import Frames


class Screen:
    """Keeps the drawn map of each slot's track until the slot goes on to another one."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._size = (vehicle.length, vehicle.width)
        self._maps: dict[int, tuple[Track, Frames]] = {}

    def frame(
        self, slot: int, track: Track, cars: Cars, trace: Trace, lap_seconds: float
    ) -> np.ndarray:
        """uint8 [540, 960, 3], see view.Frames: the car `slot` on its track, its episode so far,
        and the seconds since its lap began. Raises ModuleNotFoundError without pygame."""
        if slot not in self._maps or self._maps[slot][0] is not track:
            self._maps[slot] = track, Frames(track, car=self._size)
        times = trace.lap_times or (None,)
        return self._maps[slot][1].frame(
            float(cars.x[slot]),
            float(cars.y[slot]),
            float(cars.yaw[slot]),
            float(cars.speed[slot]),
            trace.laps + 1,
            float(lap_seconds),
            times[-1],
            np.stack([trace.x, trace.y, trace.speed], axis=1),
            min(times, key=lambda seconds: seconds or 0.0),
        )
