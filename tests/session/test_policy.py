"""A policy comes back with all that rebuilds it, or is refused in a sentence."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from paradigms.base import Snapshot
from paradigms.session import files
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


def test_written_in_another_way_the_same_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_policy(path, policy(seconds=1e-5), {})
    about = path.with_suffix(".json")
    about.write_text(about.read_text().replace("1e-05", "1E-05"))
    with pytest.raises(Damaged, match="not what was written"):
        load_policy(path)


def test_killed_at_any_moment_of_a_save_the_old_or_the_new_policy_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    left = []
    for point in range(1, 9):
        save_policy(path, policy(version=1), {"n": 1})
        with monkeypatch.context() as patch:
            kill_at(point, patch)
            try:
                save_policy(path, policy(version=2), {"n": 2})
            except KeyboardInterrupt:
                left.append(load_policy(path)[0].version)
        snapshot, about = load_policy(path)
        assert snapshot.version == about["n"]
    assert left == [1] * 5 + [2] * 3, "weights, sync, text, sync, rename; sync, rename, sync"


def kill_at(point: int, patch: pytest.MonkeyPatch) -> None:
    """Lets the writer of files end at its n-th call, and tidy up nothing."""
    calls = iter(range(1, 100))

    def counted(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if next(calls) == point:
                raise KeyboardInterrupt
            return real(*arguments)

        return call

    patch.setattr(files, "save_file", counted(files.save_file))
    patch.setattr(os, "fsync", counted(os.fsync))
    for name in ("write_text", "replace"):
        patch.setattr(Path, name, counted(getattr(Path, name)))
    patch.setattr(Path, "unlink", lambda *_, **__: None)


@pytest.mark.parametrize("call", ["save_file", "sync"])
def test_a_failed_write_leaves_the_old_policy_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    save_policy(path, policy(version=1), {})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, call, full)
    with pytest.raises(OSError, match="No space"):
        save_policy(path, policy(version=2), {})
    assert load_policy(path)[0].version == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.json", "best.safetensors"]


def test_what_has_no_end_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    for file in (path, path.with_suffix(".json")):
        for make in (os.mkfifo, lambda place: os.symlink("/dev/zero", place), os.mkdir):
            save_policy(path, policy(), {})
            file.unlink()
            make(file)
            with pytest.raises(Damaged, match="cannot be read as a policy"):
                load_policy(path)
            file.rmdir() if file.is_dir() else file.unlink()


def test_more_bytes_than_a_policy_can_have_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_policy(path, policy(), {})
    os.truncate(path, 2**40)
    with pytest.raises(Damaged, match="and 134,217,728 may be read"):
        load_policy(path)
    path.write_bytes((2**24).to_bytes(8, "little") + b" " * 2**24)
    with pytest.raises(Damaged, match="its header cannot be so long"):
        load_policy(path)


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
