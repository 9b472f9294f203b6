"""The episodes under way, kept for their metrics and pictures."""

from __future__ import annotations

import numpy as np

from envs.racing.car import Cars
from envs.racing.metrics import Trace
from envs.racing.referee import Referee

COLUMNS = ("x", "y", "speed", "ax", "ay", "lateral")


class Tape:
    """The last episode of each of n slots, of at most `limit` control steps."""

    def __init__(self, limit: int, n: int) -> None:
        self._numbers = np.zeros((limit + 1, len(COLUMNS), n))
        self._index = np.zeros((limit + 1, n), np.int64)
        self._outside = np.zeros((limit + 1, n), np.int64)
        self._slots = np.arange(n)

    def note(self, steps: np.ndarray, cars: Cars, referee: Referee) -> None:
        """Keeps what is now, as each slot's row of the number in `steps` (int64 [n])."""
        now = (cars.x, cars.y, cars.speed, cars.ax, cars.ay, referee.place.lateral)
        self._numbers[steps, :, self._slots] = np.stack(now, axis=1)
        self._index[steps, self._slots] = referee.place.sample
        self._outside[steps, self._slots] = referee.outside

    def trace(
        self,
        slot: int,
        steps: int,
        *,
        dt: float,
        laps: int,
        lap_times: tuple[float, ...],
        infractions: int,
    ) -> Trace:
        """A copy of the first `steps` control steps of a slot's episode."""
        numbers = self._numbers[: steps + 1, :, slot].copy()
        x, y, speed, ax, ay, lateral = numbers.T
        return Trace(
            x=x,
            y=y,
            speed=speed,
            acceleration=np.stack([ax, ay], axis=1),
            index=self._index[: steps + 1, slot].copy(),
            lateral=lateral,
            outside=self._outside[1 : steps + 1, slot].copy(),
            dt=dt,
            laps=laps,
            lap_times=lap_times,
            infractions=infractions,
        )
