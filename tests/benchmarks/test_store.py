"""Results outlive writers that are killed, and several writers at once."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks import store


def record(variant: str, seed: int, **more: object) -> store.Record:
    return {"variant": variant, "seed": seed, **more}


def test_runs_come_back_in_order_and_the_last_of_a_repeated_one_counts(tmp_path: Path) -> None:
    assert store.load("toy", tmp_path) == []
    for variant, seed, value in (("b", 1, 0.0), ("a", 2, 1.0), ("a", 1, 2.0), ("b", 1, 3.0)):
        store.append("toy", record(variant, seed, value=value), tmp_path)
    found = [(r["variant"], r["seed"], r["value"]) for r in store.load("toy", tmp_path)]
    assert found == [("a", 1, 2), ("a", 2, 1), ("b", 1, 3)]


def test_a_line_that_a_killed_writer_left_is_skipped_and_then_removed(tmp_path: Path) -> None:
    store.append("toy", record("a", 1), tmp_path)
    file = tmp_path / "toy.jsonl"
    whole = file.read_bytes()
    for torn in (b'{"variant": "a", "se', b'{"variant": "a", "seed": 2}'):
        file.write_bytes(whole + torn)
        assert store.load("toy", tmp_path) == [record("a", 1)]
    store.append("toy", record("b", 1), tmp_path)
    assert store.load("toy", tmp_path) == [record("a", 1), record("b", 1)]
    assert file.read_bytes().count(b"\n") == 2


def test_writers_at_once_lose_no_line(tmp_path: Path) -> None:
    """Threads here: the lock belongs to an open file, so it separates them as it does processes."""

    def write(variant: str) -> None:
        for seed in range(40):
            store.append("toy", record(variant, seed, text="x" * 20_000), tmp_path)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, "abcd"))
    assert len(store.load("toy", tmp_path)) == 4 * 40


def test_floats_are_short_and_finite() -> None:
    given = {"a": 1.23456789, "b": [math.nan, math.inf, 2.0], "c": 123456789, "d": "x"}
    assert store.rounded(given) == {"a": 1.23457, "b": [None, None, 2], "c": 123456789, "d": "x"}


def test_policies_share_a_file_in_half_precision(tmp_path: Path) -> None:
    source = tmp_path / "solving.safetensors"
    for name, value in (("a_1", 0.1), ("b_1", 2.0), ("a_1", 0.5)):
        save_file({"floats": torch.full((7,), value), "counts": torch.zeros(2)}, source)
        store.keep_policy("toy", name, source, {"agent": name}, tmp_path)
    found = store.load_policies("toy", tmp_path)
    assert [(name, p[0].tolist(), p[1]) for name, p in found.items()] == [
        ("a_1", [0.5] * 7, {"agent": "a_1"}),
        ("b_1", [2.0] * 7, {"agent": "b_1"}),
    ]
    assert store.load_policies("none", tmp_path) == {}
