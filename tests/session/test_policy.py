"""A policy comes back with all that rebuilds it, or is refused in a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from paradigms.base import Snapshot
from paradigms.session.checkpoint import Damaged
from paradigms.session.policy import load_policy, save_policy


def policy(**changes: Any) -> Snapshot:
    values = {"part": "evaluate", "floats": torch.randn(32), "counts": torch.tensor([5, 5])}
    return Snapshot(**{**values, "version": 5, **changes})


def test_a_policy_comes_back_with_what_is_known_about_it(tmp_path: Path) -> None:
    snapshot = policy(env_steps=100, episodes=2, updates=5, seconds=1.5)
    save_policy(
        tmp_path / "best.safetensors", snapshot, {"env": {"id": "X"}, "score": float("nan")}
    )
    loaded, about = load_policy(tmp_path / "best.safetensors")
    assert torch.equal(loaded.floats, snapshot.floats)
    assert (loaded.version, loaded.env_steps, loaded.seconds) == (5, 100, 1.5)
    assert about["env"] == {"id": "X"}
    assert about["score"] is None


def test_a_policy_that_was_loaded_can_be_kept_in_half_precision(tmp_path: Path) -> None:
    save_policy(tmp_path / "best.safetensors", policy(), {"seed": 3})
    snapshot, about = load_policy(tmp_path / "best.safetensors")
    half = policy(floats=snapshot.floats.half())
    save_policy(tmp_path / "half.safetensors", half, about)
    loaded, again = load_policy(tmp_path / "half.safetensors")
    assert torch.equal(loaded.floats, snapshot.floats.half().float())
    assert again["seed"] == 3


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_policy(path, policy(), {"agent": {"hidden_sizes": [64, 64]}, "seed": 10, "name": "sac"})
    draw = random.Random(0)
    for file in (path, path.with_suffix(".json")):
        whole = file.read_bytes()
        for _ in range(200):
            at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(Damaged, match="cannot be read as a policy"):
                load_policy(path)
        for length in (0, 1, len(whole) // 2, len(whole) - 2):
            file.write_bytes(whole[:length])
            with pytest.raises(Damaged, match="cannot be read as a policy"):
                load_policy(path)
        file.write_bytes(whole)
    load_policy(path)


def test_a_policy_of_format_1_has_no_digest_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_policy(path, policy(), {})
    about = json.loads(path.with_suffix(".json").read_text())
    del about["sha256"]
    path.with_suffix(".json").write_text(json.dumps(about))
    with pytest.raises(Damaged, match="not what was written"):
        load_policy(path)
    path.with_suffix(".json").write_text(json.dumps({**about, "format": 1}))
    assert load_policy(path)[0].version == 5


NO_POLICIES = [
    ({"floats": torch.full((3,), torch.nan)}, "not a finite vector"),
    ({"floats": torch.zeros(2, 2)}, "not a finite vector"),
    ({"part": "all"}, "the part all"),
]


def test_what_is_no_policy_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for other, words in NO_POLICIES:
        with subtests.test(words):
            path = tmp_path / "best.safetensors"
            save_policy(path, policy(**other), {})
            with pytest.raises(Damaged, match=words):
                load_policy(path)


def test_a_json_that_describes_no_policy_is_refused(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for text in ["{}", "[]", "null", "[" * 100_000, '{"format": 2}', "\xff"]:
        with subtests.test(text[:9]):
            path = tmp_path / "best.safetensors"
            save_policy(path, policy(), {})
            path.with_suffix(".json").write_bytes(text.encode("latin-1"))
            with pytest.raises(Damaged, match="cannot be read as a policy"):
                load_policy(path)


def test_a_policy_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="cannot be read as a policy"):
        load_policy(tmp_path / "best.safetensors")
