"""A policy that somebody else has written is data: it runs no code of its own choosing, takes no
more memory than its size, and is refused in one sentence with exit code 2."""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import evaluate
import export
from conf import trust
from paradigms.session import files
from paradigms.session import sealed as seal
from tests.hostile import (
    GIT,
    RUN,
    SYSTEM,
    WRITE,
    Refusal,
    Values,
    bounded,
    changed,
    here,
    policy,
    refusal,
)

__all__ = ["here", "refusal"]  # fixtures


def sealed(path: Path, values: Values) -> Values:
    """Writes a policy's JSON with the digest that belongs to it: a stranger can compute it, too."""
    values = {name: value for name, value in values.items() if name != "sha256"}
    digest = seal.digest(load_file(path), values)
    path.with_suffix(".json").write_text(files.json_text({**values, "sha256": digest}))
    return values


EXPORTED: dict[Any, list[str]] = {evaluate.main: [], export.main: ["format=safetensors"]}


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 1


DISCOUNT = "agents.parts.schedule.Discount"
PARTS: list[tuple[str, Any, str]] = [  # key, what it becomes, what is said
    ("agent._target_", "os.system", "neither of this library nor an agent"),
    ("agent._target_", "subprocess.Popen", "neither of this library nor an agent"),
    ("agent._target_", "evil.Agent", "add trust=evil"),
    ("agent._target_", "torch.load", "add trust=torch"),
    ("agent._target_", "paradigms.session.origin.git", "nothing that agent can be"),
    ("agent._target_", "agents.parts.networks.MLP", "nothing that agent can be"),
    ("agent._target_", "agents.sac.torch.load", "leads nowhere"),
    ("agent._target_", "envs.make.importlib.import_module", "nothing that agent can be"),
    ("agent._target_", "agents..sac", "leads nowhere"),
    ("agent._target_", ["agents.sac.SAC"], "neither of this library nor an agent"),
    ("agent.hidden_sizes", [SYSTEM], "agent.hidden_sizes.0._target_=os.system is neither"),
    ("agent.hidden_sizes", [[[GIT]]], "_args_ is not a setting"),
    ("agent.betas", {"deep": [0, {"in": SYSTEM}]}, "agent.betas.deep.1.in._target_=os.system"),
    ("agent.lr", WRITE, "nothing that agent.lr can be"),
    ("agent.lr", {"_target_": "agents.sac.SAC"}, "nothing that agent.lr can be"),
    ("agent._args_", [1], "_args_ is not a setting"),
    ("agent._partial_", SYSTEM, "must be true or absent"),
    ("agent._partial_", False, "_partial_=False must be true or absent"),
    ("agent._recursive_", True, "_recursive_ is not a setting"),
    ("env.make._target_", "evil.f", "add trust=evil"),
    ("env.make._target_", "gymnasium.register", "add trust=gymnasium"),
    ("env.make._target_", "envs.make.importlib.import_module", "nothing that env.make can be"),
    ("env.make._target_", "envs.uniform.main", "nothing that env.make can be"),
    ("env.make.id", "evil:Some-v0", "add trust=evil"),
    ("env.id", "evil:Some-v0", "add trust=evil"),
    ("env.make.kwargs", {"x": SYSTEM}, "env.make.kwargs.x._target_=os.system"),
    ("agent.hidden_sizes", [8] * 20_000, "more than 10000 values"),
    ("agent.hidden_sizes", [2**62], "must be a list, each a whole number in [1, 65536]"),
    ("agent.hidden_sizes", [60_000, 60_000], "too few for agent.hidden_sizes"),
    ("agent.critics", 10**9, "must be a whole number in [1, 1024]"),
    ("agent.lr", float("nan"), "must be a finite number"),
    ("agent.lr", "0" * 3000, "a text that is too long"),
    ("agent.noise", "\x1b]0;x\x07", "a text that is too long or cannot be printed"),
    ("agent.hidden_sizes", deep(40), "20 levels"),
    ("agent.seed", 10**30, "that no setting can be"),
    ("agent.critic_hidden_sizes", [65_536, 65_536], "its agent or env takes more than 192 MiB"),
    ("agent.gamma", {"_target_": DISCOUNT, "start": 0.9, "end": "x"}, "must be a number"),
    ("agent.gamma", {"_target_": DISCOUNT}, "agent.gamma.start is missing"),
    ("agent.gamma", {"_target_": DISCOUNT, "start": [SYSTEM], "end": 1}, "start.0._target_=os.sys"),
    ("agent.temperature", {"_target_": "agents.parts.schedule.Factor"}, "cannot be built"),
    ("agent.hidden_sizes", [{"_target_": "agents.parts.schedule.Factor"}], "must be a list, each"),
    ("agent.device", "cuda", "agent.device is not a setting"),
    ("agent._target_", "agents.sac.SAC\n", "leads nowhere"),
    ("agent._target_", ".", "neither of this library nor an agent"),
    ("env.make.kwargs", {"dims": 10**9}, "its agent or env takes more than 192 MiB"),
    ("env.make.kwargs", {"choices": 10**9}, "its agent or env takes more than 192 MiB"),
    ("env.make.kwargs", {"dims": 0}, "cannot be built"),
    ("env.make.kwargs", {"length": "x"}, "length=x must be a whole number"),
    ("env.make.kwargs", {"id": 3}, "multiple values"),
    ("env.make.kwargs", {"render_mode": "human"}, "cannot be built"),
    ("env.make.kwargs", [1], "must be a mapping"),
    ("env.make.max_episode_steps", -1, "must be a whole number of at least 1 or null"),
    ("env.make.action_repeat", 0, "must be a whole number in [1, 1000]"),
    ("env.make.engine", "arrival", "is no race"),
    ("env.make.encoder", SYSTEM, "env.make.encoder._target_=os.system"),
    ("env.make.encoder", "/dev/zero", "env.encoder=/dev/zero must be a .safetensors file"),
    ("env.make.encoder", 10**6, "env.encoder=1000000 must be a .safetensors file"),
    ("agent.pretrained", SYSTEM, "agent.pretrained._target_=os.system"),
    ("env.make.id", "GymV26Environment-v0", "cannot be built"),
    ("env.threshold", "x", "must be a number or null"),
    ("_target_", "os.system", "_target_=os.system"),
    ("seed", SYSTEM, "seed._target_=os.system"),
    ("choices", [[WRITE]], "choices.0.0._target_"),
    ("updates", "many", "cannot be read as a policy"),
    ("seconds", [1], "cannot be read as a policy"),
    ("format", 99, "it has format 99"),
    ("agent", None, "no agent"),
    ("env.make", [], "no env.make"),
]


def test_a_policy_is_data(here: Path, refusal: Refusal, subtests: pytest.Subtests) -> None:
    for key, value, said in PARTS:
        with subtests.test(f"{key}={str(value)[:30]}"):
            path = policy(here, RUN.values)
            sealed(path, changed(json.loads(path.with_suffix(".json").read_text()), key, value))
            assert said in refusal(evaluate.main, "run=.", "episodes=1")


def test_what_takes_too_long_or_too_much_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"0\.\d s"), bounded(seconds=0.01):
        time.sleep(0.05)
    with pytest.raises(AssertionError, match="bytes"), bounded(most=10**7):
        touched(4 * 10**7)  # gone again at once
    with bounded(most=10**8):
        touched(4 * 10**7)


def touched(size: int) -> None:
    """Takes so many bytes that no allocator has kept."""
    np.frombuffer(mmap.mmap(-1, size), np.uint8)[:] = 1


def test_an_env_of_another_package_needs_trust(here: Path, refusal: Refusal) -> None:
    gym.register("evil/Some-v0", "evil:f")
    path = policy(here, RUN.values)
    values = json.loads(path.with_suffix(".json").read_text())
    values = sealed(path, changed(values, "env.make.id", "evil/Some-v0"))
    said = refusal(evaluate.main, "run=.", "episodes=1")
    assert "env.id=evil/Some-v0" in said and "add trust=evil" in said
    assert trust.foreign(values) == ["evil"]
    assert trust.foreign(changed(values, "env.make.id", "mine.envs:Some-v0")) == ["mine"]
    assert trust.foreign(RUN.values) == []


FILES: list[tuple[str, Any, str]] = [
    ("not JSON", "{", "cannot be read"),
    ("no mapping", "[1, 2]", "holds a list"),
    ("empty", "", "cannot be read"),
    ("not text", b"\xff\xfe\x00", "cannot be read"),
    ("deep", "[" * 100_000, "cannot be read"),
    ("large", '"' + "x" * 2**20 + '"', "larger than 256 KiB"),
    ("too little", '{"agent": {}}', "cannot be read as a policy"),
]


def test_a_file_that_is_no_policy_is_refused(
    here: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for name, text, said in FILES:
        with subtests.test(name):
            about = policy(here, RUN.values).with_suffix(".json")
            about.write_bytes(text if isinstance(text, bytes) else text.encode())
            assert said in refusal(evaluate.main, "run=.", "episodes=1")


def test_a_file_without_an_end_is_not_read(here: Path, refusal: Refusal) -> None:
    for suffix in (".json", ".safetensors"):
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
            file = policy(here, RUN.values).with_suffix(suffix)
            file.unlink()
            make(file)
            for main in (evaluate.main, export.main):
                said = refusal(main, "run=.", "policy=final.safetensors", *EXPORTED[main])
                assert "is not a file" in said
            file.unlink()


def test_more_bytes_than_a_policy_can_have_are_not_read(here: Path, refusal: Refusal) -> None:
    os.truncate(policy(here, RUN.values), 2**40)
    assert "134,217,728 may be read" in refusal(evaluate.main, "run=.")


def test_weights_of_another_size_are_refused(here: Path, refusal: Refusal) -> None:
    for count in [1, 10_000]:
        path = policy(here, RUN.values)
        save_file({"floats": torch.zeros(count), "counts": torch.zeros(3)}, path)
        sealed(path, json.loads(path.with_suffix(".json").read_text()))
        said = refusal(evaluate.main, "run=.", "episodes=1")
        assert f"it has {count} numbers" in said


def test_an_honest_policy_is_played(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(here, RUN.values)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "run=.", "episodes=2"])
    evaluate.main()
    assert "over 2 episodes" in capsys.readouterr().out


def test_trust_is_for_modules_of_ones_own(
    here: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for name in ["os", "a.b", "mine/os", "", "nowhere/at/all/mine"]:
        with subtests.test(name):
            policy(here, RUN.values)
            said = refusal(evaluate.main, "run=.", f"trust='{name}'")
            assert said.startswith(f"trust={name or repr(name)}")
