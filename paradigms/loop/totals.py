"""What a run amounts to: rates from the end of warm-up to the last update, lag, age, time by
role."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from paradigms.loop.build import Components
from paradigms.loop.ledger import LEARNER, Ledger
from paradigms.runtime.link import Report

TOTALS: dict[str, Any] = {
    "env_steps": 0,
    "episodes": 0,
    "updates": 0,
    "updates_per_env_step": 0.0,
    "env_steps_per_second": 0.0,
    "updates_per_second": 0.0,
    "episode_length_mean": 0.0,
    "policy_lag_mean": 0.0,
    "policy_lag_max": 0,
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
    "skipped": 0,
    "env_errors": 0,
}


class Totals:
    """Watches the ledger from the process that drives the run.

    Rates are taken from the first update seen to the last. `learner_busy`: of the seconds of all
    roles that learn, the share inside `learn`. `actor_blocked`: of the seconds of all roles that
    collect, the share held back by the pace.
    """

    def __init__(self, components: Components) -> None:
        self.components, self.ledger = components, components.ledger
        self._first: tuple[float, int, int] | None = None
        self._last = (time.monotonic(), 0, 0)
        self._ages: list[float] = []

    def note(self, metrics: Mapping[str, float]) -> None:
        """To be called whenever there may be progress."""
        now, steps = time.monotonic(), self.ledger.total("added")
        updates = self.ledger.total("updates")
        if updates and self._first is None:
            self._first = (now, steps, updates)
        if updates > self._last[2]:
            self._last = (now, steps, updates)
        if "replay/age" in metrics:
            self._ages.append(metrics["replay/age"])

    def result(
        self, time_by_role: Mapping[str, Mapping[str, float]] | None = None, **others: Any
    ) -> dict[str, Any]:
        """The totals of Result; `others` are those that only the caller knows."""
        ledger, replay, roles = self.ledger, self.components.replay, time_by_role or {}
        steps, updates = ledger.total("added"), ledger.total("updates")
        episodes = ledger.total("episodes")
        rates = {}
        if self._first is not None and self._last[0] > self._first[0]:
            seconds = self._last[0] - self._first[0]
            rates["env_steps_per_second"] = (self._last[1] - self._first[1]) / seconds
            rates["updates_per_second"] = (self._last[2] - self._first[2]) / seconds
        return {
            **TOTALS,
            **rates,
            "env_steps": steps,
            "episodes": episodes,
            "updates": updates,
            "updates_per_env_step": updates / max(1, steps - self.components.pace.warmup),
            "episode_length_mean": ledger.total("length") / max(1, episodes),
            "policy_lag_mean": ledger.total("lag") / max(1, ledger.total("arrived")),
            "policy_lag_max": ledger.policy_lag_max,
            "replay_age_mean": sum(self._ages) / max(1, len(self._ages)),
            "learner_busy": _share(roles, of="learn", among="learn"),
            "actor_blocked": _share(roles, of="pace", among="collect"),
            "time_by_role": {name: dict(shares) for name, shares in roles.items()},
            "merges": ledger.total("merges"),
            "dropped": ledger.total("collected") - steps,
            "duplicated": replay.duplicated,
            "torn": replay.torn,
            "late": replay.late,
            "lost": ledger.total("lost"),
            "skipped": ledger.steps_skipped,
            "env_errors": ledger.env_errors,
            **others,
        }


def time_of_role(report: Report, ledger: Ledger) -> dict[str, float]:
    """What a role did with its time, as shares: `seconds` (its whole time), `busy` (not waiting),
    `collect`, `learn`, and what it waited for by name."""
    rank = int(report.name.removeprefix("worker-")) if "worker-" in report.name else LEARNER
    total = max(1e-9, float(report.data["total"]))
    waits = {what: seconds / total for what, seconds in report.data["seconds"].items()}
    return {
        "seconds": total,
        "busy": max(0.0, 1 - sum(waits.values())),
        "collect": ledger.seconds("collecting", rank) / total,
        "learn": ledger.seconds("learning", rank) / total,
        **waits,
    }


def _share(roles: Mapping[str, Mapping[str, float]], *, of: str, among: str) -> float:
    """The share that `of` takes of the seconds of all roles that do some of `among`."""
    chosen = [role for role in roles.values() if role.get(among, 0.0) > 0]
    seconds = sum(role["seconds"] for role in chosen)
    return sum(role.get(of, 0.0) * role["seconds"] for role in chosen) / max(1e-9, seconds)
