"""What a run amounts to: rates from the end of warm-up to the last update, policy_lag, age, time by
role."""

from __future__ import annotations

import time
from typing import Any

from paradigms.loop.pace import Pace

TOTALS: dict[str, Any] = {
    "env_steps": 0,
    "episodes": 0,
    "updates": 0,
    "updates_per_env_step": 0.0,
    "env_steps_per_second": 0.0,
    "updates_per_second": 0.0,
    "episode_length_mean": 0.0,
    "policy_lag_mean": 0.0,
    "policy_lag_max": 0.0,
    "replay_age_mean": 0.0,
    "learner_busy": 0.0,
    "actor_blocked": 0.0,
    "time_by_role": {},
    "bytes_moved": 0,
    "merges": 0,
    "restarts": 0,
    "dropped": 0,
    "duplicated": 0,
    "torn": 0,
    "late": 0,
    "lost": 0,
}


class Meter:
    """Watches the counters from the process that drives the run."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._first: tuple[float, int, int] | None = None
        self._last = (time.monotonic(), 0, 0)
        self._lags: list[float] = []
        self._ages: list[float] = []
        self._lag_max = 0.0

    def note(self, metrics: dict[str, float]) -> None:
        """To be called whenever there may be progress."""
        now, steps = time.monotonic(), self.pace.total("added")
        updates = self.pace.total("updates")
        if updates and self._first is None:
            self._first = (now, steps, updates)
        if updates > self._last[2]:
            self._last = (now, steps, updates)
        if "policy_lag/mean" in metrics:
            self._lags.append(metrics["policy_lag/mean"])
            self._lag_max = max(self._lag_max, metrics["policy_lag/max"])
        if "replay/age" in metrics:
            self._ages.append(metrics["replay/age"])

    def totals(self, **others: Any) -> dict[str, Any]:
        """The totals of result.json; `others` are what only the paradigm knows."""
        pace = self.pace
        steps, updates = pace.total("added"), pace.total("updates")
        episodes = pace.total("episodes")
        rates = {}
        if self._first is not None and self._last[0] > self._first[0]:
            seconds = self._last[0] - self._first[0]
            rates["env_steps_per_second"] = (self._last[1] - self._first[1]) / seconds
            rates["updates_per_second"] = (self._last[2] - self._first[2]) / seconds
        after = max(1, steps - pace.warmup)
        return {
            **TOTALS,
            **rates,
            "env_steps": steps,
            "episodes": episodes,
            "updates": updates,
            "updates_per_env_step": updates / after,
            "episode_length_mean": pace.total("length") / max(1, episodes),
            "policy_lag_mean": _mean(self._lags),
            "policy_lag_max": self._lag_max,
            "replay_age_mean": _mean(self._ages),
            "merges": pace.total("merges"),
            "lost": pace.total("lost"),
            **others,
        }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
