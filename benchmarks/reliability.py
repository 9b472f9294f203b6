"""The tables of docs/reliability.md, from what `python -m benchmarks.chaos` has stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.rows import Runs, footnote, markdown, number
from benchmarks.store import Record

Columns = Mapping[str, Callable[[Record], str]]

WORKERS: Columns = {
    "killed": lambda r: str(r["failed"]),
    "stepping again, s: p50": lambda r: number(r["seconds_p50"], 2),
    "p95": lambda r: number(r["seconds_p95"], 2),
    "most": lambda r: number(r["seconds_max"], 2),
    "lost": lambda r: str(r["lost"]),
    "env steps dropped": lambda r: f"{r['dropped']:,}",
    "of": lambda r: f"{r['env_steps']:,}",
}
FAULTS: Columns = {
    **{
        kind: lambda r, kind=kind: str(r["faults"].get(kind, 0))  # type: ignore[misc]
        for kind in ("kill", "raise", "exit", "hang", "delay", "nan")
    },
    "replaced": lambda r: str(r["failed"]),
    "lost": lambda r: str(r["lost"]),
    "steps left out": lambda r: str(r["skipped"]),
}
OTHERS: Mapping[str, tuple[str, Callable[[Record], str]]] = {  # part: times, and what came of it
    "servers/": (
        "failed",
        lambda r: (
            f"replaced; updates went on after {number(r['seconds_p50'], 2)} s (p50),"
            f" {number(r['seconds_max'], 2)} s at most"
        ),
    ),
    "evaluator": ("kills", lambda r: "replaced, and evaluated on"),
    "endings/": ("runs", lambda r: "ended with the cause and a whole checkpoint"),
    "diverging/": ("runs", lambda r: "ended with the cause and a whole checkpoint"),
    "mains/": (
        "kills",
        lambda r: (
            f"all gone after {number(r['gone_max'], 2)} s at most,"
            f" {r['checkpoints']} of {r['checkpoints']} checkpoints whole"
        ),
    ),
    "saves": (
        "kills",
        lambda r: (
            f"a whole checkpoint left each time; {r['partial']} were half written,"
            f" {r['replaced']} moved aside"
        ),
    ),
    "soak/": (
        "minutes",
        lambda r: (
            f"minutes: memory {100 * r['growth']:+.2f} % of {r['megabytes']:.0f} MB,"
            f" descriptors within {r['descriptors_apart']}"
        ),
    ),
}


def table(records: Runs, form: str) -> str:
    """`form`: workers, faults or others."""
    if form == "others":
        lines = []
        for part, (times, words) in OTHERS.items():
            for record in (r for r in records if r["variant"].startswith(part)):
                name = record["variant"].partition("/")
                what = f"{name[0]}: {name[2].replace('_', ' ')}" if name[2] else name[0]
                lines.append([what, number(record[times], 0), words(record)])
        chosen = [r for r in records if r["variant"].startswith(tuple(OTHERS))]
        text = markdown(["what is killed, or goes wrong", "times", "what came of it"], lines)
        return f"{text}\n\n{noted(chosen)}"
    columns = {"workers": WORKERS, "faults": FAULTS}[form]
    chosen = [r for r in records if r["variant"].startswith(f"{form}/")]
    lines = [
        [f"`{r['variant'].partition('/')[2]}`", *(show(r) for show in columns.values())]
        for r in chosen
    ]
    return f"{markdown(['', *columns], lines)}\n\n{noted(chosen)}"


def noted(records: Runs) -> str:
    """Machine and code; and how busy the machine was before, where it was not idle."""
    loads = [record["load_before"] for record in records]
    busy = f" Load of the machine before: up to {max(loads):.1f}." if loads else ""
    return footnote(records) + busy
