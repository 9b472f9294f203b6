"""A run folder that somebody else has written is data, and what changes it on resume is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import train
from conf import trust
from conf.compose import compose
from tests.hostile import GIT, RUN, SYSTEM, Refusal, Values, changed, here, refusal

__all__ = ["here", "refusal"]  # fixtures


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n"


def run_folder(home: Path, values: Values) -> Path:
    """What a resumed run is read from; its checkpoint is never reached."""
    folder = home / "run"
    (folder / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "1" / "manifest.json").write_text("{}")
    (folder / "run.json").write_text(json.dumps({"choices": RUN.choices}))
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


RUNS: list[tuple[str, Any, str]] = [
    ("hydra", {"callbacks": {"x": SYSTEM}}, "hydra.callbacks.x._target_=os.system"),
    ("hydra", {"searchpath": ["file:///tmp"]}, "hydra is not a setting"),
    ("defaults", ["/agent: sac"], "defaults is not a setting"),
    ("trust", ["evil"], "trust is not a setting"),
    ("explore", GIT, "_args_ is not a setting"),
    ("explore._target_", "paradigms.session.files.write_json", "nothing that explore can be"),
    ("explore._target_", "evil.Agent", "add trust=evil"),
    ("replay._target_", "paradigms.runtime.server.os", "nothing that replay can be"),
    ("replay._target_", "paradigms.session.checkpoint.Checkpoints", "nothing that replay can be"),
    ("paradigm._target_", "paradigms.runtime.crew.Crew", "nothing that paradigm can be"),
    ("lr_schedule._target_", "shutil.rmtree", "neither of this library nor an agent"),
    ("device", "${oc.env:HOME}", "more than another value's key"),
    ("device", "${nowhere.at.all}", "leads nowhere"),
    ("policy_lag", "${seed}${seed}", "more than another value's key"),
    ("agent.lr", "${explore.steps}", "leads to another reference"),
    ("more", {str(i): "${agent}" for i in range(900)}, "more than 10000 values"),
    ("workers", 0, "must be a whole number of at least 1"),
    ("env.id", "evil:Some-v0", "add trust=evil"),
]


def test_a_run_folder_is_data(here: Path, refusal: Refusal, subtests: pytest.Subtests) -> None:
    for key, value, said in RUNS:
        with subtests.test(f"{key}={str(value)[:30]}"):
            folder = run_folder(here, changed(RUN.stored, key, value))
            before = (folder / "config.yaml").read_bytes()
            assert said in refusal(train.main, f"resume={folder}")
            assert (folder / "config.yaml").read_bytes() == before


def test_yaml_that_does_more_than_say_values_is_refused(here: Path, refusal: Refusal) -> None:
    for text, said in [
        (BOMB, "it has aliases"),
        ("a: !!python/object/apply:os.system [x]", "cannot be read"),
    ]:
        folder = run_folder(here, RUN.stored)
        (folder / "config.yaml").write_text(text)
        assert said in refusal(train.main, f"resume={folder}")


OVERRIDES = [
    ("workers=3", "workers cannot be changed in a resumed run: leave it at 2"),
    ("agent.hidden_sizes=[4]", "leave it at [8, 8]"),
    ("num_envs=3", "num_envs cannot be changed"),
    ("rollout_length=3", "rollout_length cannot be changed"),
    ("env.kwargs.x=1", "env.kwargs cannot be changed"),
    ("replay.capacity=10", "replay.capacity cannot be changed"),
    ("warmup=5", "warmup cannot be changed"),
    ("updates_per_env_step=2", "updates_per_env_step cannot be changed"),
    ("env.id=Pendulum-v1", "env.id cannot be changed"),
    ("env=pendulum", "env cannot be changed in a resumed run: start afresh"),
    ("env.make.id=Pendulum-v1", "env.make.id cannot be changed"),
    ("agent._target_=agents.td3.TD3", "agent._target_ cannot be changed"),
    ("replay._target_=os.system", "replay._target_ cannot be changed"),
    ("+paradigm._target_=os.system", "paradigm._target_ cannot be changed"),
    ("agent=td3", "agent cannot be changed in a resumed run: start afresh"),
    ("agent.lrr=1", "did you mean agent.lr?"),
    ("warmup=0,1", "lists several values"),
    ("hydra.job.chdir=true", "hydra.job.chdir is not a setting"),
    ("agent.lr=abc", "agent.lr=abc must be a number"),
    ("~seed", "seed cannot be changed"),
]


def test_what_does_not_fit_a_resumed_run_is_refused(
    here: Path, refusal: Refusal, subtests: pytest.Subtests
) -> None:
    for typed, said in OVERRIDES:
        with subtests.test(typed):
            folder = run_folder(here, RUN.stored)
            before = (folder / "config.yaml").read_bytes()
            assert said in refusal(train.main, f"resume={folder}", typed)
            assert (folder / "config.yaml").read_bytes() == before


def test_a_stored_value_that_is_anothers_follows_it(here: Path) -> None:
    assert RUN.stored["explore"]["steps"] == "${warmup}"
    assert trust.dereferenced(RUN.stored) == RUN.values
    assert trust.dereferenced({**RUN.stored, "warmup": 7})["explore"]["steps"] == 7


def test_what_a_stored_file_may_not_refer_to_is_stored_as_its_value() -> None:
    for typed in ["env.kwargs.length=${warmup}", "device=${oc.env:NOWHERE,cpu}", "seed=${warmup}"]:
        run = compose(["env=chain", typed])
        assert trust.dereferenced(run.stored) == run.values
        assert (run.stored == run.values) == ("kwargs" in typed)
