"""What a run says: a header, progress, a summary; log.txt, metrics.jsonl, and what sinks get."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from paradigms.base import Progress
from paradigms.loop.episodes import means
from paradigms.session.appended import Appended
from paradigms.session.evaluator import EvaluationResult
from paradigms.session.screen import Screen
from paradigms.session.sinks import Sinks
from paradigms.session.stopping import REASONS

MOST_LINE = 2**20  # bytes of metrics.jsonl
FLUSH_SECONDS = 1.0
LINE_SECONDS = 5.0  # between two progress lines where there is no terminal
RATE_SECONDS = 10.0  # over which speeds are taken


class Log:
    """Everything a run writes while it goes on, from one process.

    env_steps, seconds: the budget, for the time left. sinks: started by whoever made them; they
    are closed with the log. Metrics are averaged between two flushes, at most one a second;
    `Progress.means` over all episodes and fragments since the last flush.

    Where the disk is full nothing raises: what cannot be written waits (see Appended), and
    `failed_writes` counts how often something of the run could not be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        env_steps: int,
        seconds: float | None = None,
        sinks: Sinks | None = None,
        stream: TextIO | None = None,
        resumed_at: int | None = None,
    ) -> None:
        self.env_steps, self.seconds, self.failed_writes = env_steps, seconds, 0
        self._text = Appended(folder / "log.txt", self.failed)
        self._screen = Screen(stream, self.failed)
        broken = 0
        if resumed_at is not None:
            broken = forget_after(folder / "metrics.jsonl", resumed_at)
        self._lines = Appended(folder / "metrics.jsonl", self.failed)
        for file in (self._text, self._lines):
            file.write(b"")
        self.sinks = Sinks({}) if sinks is None else sinks
        self.sinks.say = self.say
        self._sums: dict[str, list[float]] = {}
        self._means: dict[str, tuple[float, int]] | None = None if resumed_at else {}
        self._latest: dict[str, float] = {}
        self._speeds = Speeds()
        self._flushed = self._shown = time.monotonic()
        self._evaluated: float | None = None
        if broken:
            self.say(f"metrics.jsonl: lines that cannot be read, and are left out: {broken}")

    def say(self, text: str, detail: str = "") -> None:
        """A line for the user and for log.txt; `detail` goes to the file alone."""
        self._screen.line(text)
        lines = f"{time.strftime('%H:%M:%S')} {text}\n{detail}"
        self._text.write(lines.encode(errors="backslashreplace"))

    def failed(self, text: str) -> None:
        """Says, and counts, that something could not be written."""
        self.failed_writes += 1
        self.say(text)

    def progress(self, progress: Progress) -> None:
        """Takes what a paradigm yields; cheap enough for every one."""
        if self._means is None:  # a resumed run's ledger goes on from what was logged before
            self._means = progress.means
        for name, value in progress.metrics.items():
            self._sums.setdefault(name, []).append(float(value))
        now = time.monotonic()
        if now - self._flushed < FLUSH_SECONDS:
            return
        self._flushed = now
        self._speeds.note(now, progress.env_steps, progress.updates)
        self.flush(progress)
        if self._screen.live:
            self._screen.status(self.status(progress))
        elif now - self._shown >= LINE_SECONDS:
            self._shown = now
            self.say(self.status(progress))

    def flush(self, progress: Progress) -> None:
        """Writes the means since the last flush as one line and one set of scalars."""
        metrics = {name: float(np.mean(values)) for name, values in self._sums.items()}
        self._sums.clear()
        before = self._means or {}
        for name, (total, count) in progress.means.items():
            earlier, counted = before.get(name, (0.0, 0))
            if count > counted:
                metrics[name] = (total - earlier) / (count - counted)
        self._means = progress.means
        self._latest.update(metrics)
        speeds = self._speeds
        metrics |= {
            "speed/env_steps_per_second": speeds.env_steps,
            "speed/updates_per_second": speeds.updates,
        }
        where = {"env_steps": progress.env_steps, "updates": progress.updates}
        where |= {"episodes": progress.episodes}
        self._write({"kind": "metrics", **where, "seconds": progress.seconds, **metrics})
        self.sinks.scalars(metrics, progress.env_steps, progress.seconds)

    def evaluation(self, evaluation: EvaluationResult) -> None:
        """One line of the learning curve, with every return and length."""
        snapshot, returns = evaluation.snapshot, evaluation.returns
        when = {f: getattr(snapshot, f) for f in ("seconds", "env_steps", "updates", "episodes")}
        spread = {"std": float(returns.std()), "length": float(evaluation.lengths.mean())}
        self._evaluated = evaluation.mean
        self._write(
            {
                "kind": "evaluation",
                **when,
                "version": snapshot.version,
                "mean": evaluation.mean,
                **spread,
                "returns": returns.round(4).tolist(),
                "lengths": evaluation.lengths.tolist(),
                **({"metrics": told} if (told := means(evaluation.metrics)) else {}),
            }
        )
        scalars = {"evaluation/return": evaluation.mean, "evaluation/length": spread["length"]}
        scalars |= {f"evaluation/{name}": value for name, value in told.items()}
        self.sinks.scalars(scalars, snapshot.env_steps, snapshot.seconds)

    def status(self, progress: Progress) -> str:
        """Progress as one line."""
        words = [
            f"{progress.seconds:7.1f} s",
            f"{progress.env_steps:,} of {self.env_steps:,} env steps",
            f"{self._speeds.env_steps:,.0f} steps/s",
            f"{self._speeds.updates:,.0f} updates/s",
        ]
        if "episode/return" in self._latest:
            words.append(f"return {self._latest['episode/return']:.1f}")
        if self._evaluated is not None:
            words.append(f"evaluated {self._evaluated:.1f}")
        if self._latest.get("policy_lag/mean"):
            words.append(f"policy lag {self._latest['policy_lag/mean']:.1f} updates")
        left = self._left(progress)
        if left is not None:
            words.append(f"{left} left")
        return "  ".join(words)

    def settle(self) -> None:
        """Takes the live line away: no more progress comes."""
        self._screen.settle()

    def close(self, exit_code: int = 0) -> None:
        self.settle()
        self.sinks.close(exit_code)
        self._lines.close()
        self._text.close()
        self._screen.close()

    def _left(self, progress: Progress) -> str | None:
        times = []
        if self._speeds.env_steps > 0:
            times.append((self.env_steps - progress.env_steps) / self._speeds.env_steps)
        if self.seconds is not None:
            times.append(self.seconds - progress.seconds)
        if not times:
            return None
        left = max(0, round(min(times)))
        return f"{left // 60}:{left % 60:02d}" if left < 3600 else f"{left / 3600:.1f} h"

    def _write(self, row: dict[str, Any]) -> None:
        numbers = {k: v for k, v in row.items() if not isinstance(v, float) or np.isfinite(v)}
        self._lines.write(json.dumps(numbers).encode() + b"\n")


class Speeds:
    """Env steps and updates a second over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int, int]] = []
        self.env_steps = self.updates = 0.0

    def note(self, now: float, env_steps: int, updates: int) -> None:
        self._seen = [s for s in self._seen if now - s[0] <= RATE_SECONDS]
        self._seen.append((now, env_steps, updates))
        then, steps, done = self._seen[0]
        if now > then:
            self.env_steps = (env_steps - steps) / (now - then)
            self.updates = (updates - done) / (now - then)


def forget_after(file: Path, env_steps: int) -> int:
    """Drops the lines of what a resumed run does again, and those that are no whole line. Returns
    how many were none."""
    if not file.exists():
        return 0
    broken, partial = 0, file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    with file.open("rb") as lines, partial.open("wb") as kept:
        for line in iter(lambda: lines.readline(MOST_LINE), b""):
            steps = _steps(line)
            broken += steps is None
            if steps is not None and steps <= env_steps:
                kept.write(line)
    partial.replace(file)
    return broken


def summary(result: dict[str, Any]) -> list[str]:
    """What a user wants to know at the end, as lines."""
    lines = [
        f"Stopped because {REASONS[result['stopped_by']]}, after {result['seconds']:.1f} s,"
        f" {result['env_steps']:,} env steps and {result['updates']:,} updates"
        f" ({result['updates_per_env_step']:.2f} a step,"
        f" {result['updates_per_second']:.0f} a second)."
    ]
    if result["threshold"] is not None and result["solved"]:
        lines.append(
            f"Solved after {result['seconds_to_threshold']:.1f} s and"
            f" {result['env_steps_to_threshold']:,} env steps"
            f" (threshold {result['threshold']:g}{_also('confirmed', result['confirmed_return'])})."
        )
    elif result["threshold"] is not None:
        why = "not confirmed" if result["confirmed_return"] is not None else "not reached"
        lines.append(
            f"Not solved: the threshold of {result['threshold']:g} was {why}"
            f"{_also('the candidate had', result['confirmed_return'])}."
        )
    if result["final_return"] is not None:
        parts = [f"{result['final_return']:.1f} at the end"]
        if result["best_return"] is not None:
            parts.append(f"{result['best_return']:.1f} at best")
        if result["retention"] is not None and result["retention"] >= 0:
            parts.append(f"{100 * result['retention']:.0f} % kept")
        lines.append(f"Return: {', '.join(parts)}.")
    for role, times in result["time_by_role"].items():
        shares = [(v, k) for k, v in times.items() if k != "seconds" and v >= 0.005]
        words = ", ".join(f"{k} {100 * v:.0f} %" for v, k in sorted(shares, reverse=True))
        lines.append(f"  {role}: {words}")
    return lines


def _also(word: str, value: float | None) -> str:
    return "" if value is None else f", {word} {value:.1f}"


def _steps(line: bytes) -> int | None:
    """None for what is no whole line."""
    try:
        return int(json.loads(line)["env_steps"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
