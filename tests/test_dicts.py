"""Runs whose env shows a Dict with an image: trained, played and handed on; and the env of one's
own that the page shows."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import pytest
import torch

import doctor
import export
from conf.compose import compose
from evaluate import play
from tests import pages
from train import learn

SEEING = ["agent.encoder=conv", "agent.features=8", "agent.hidden_sizes=[16]", "num_envs=2"]
KEPT = ["replay.batch_size=8", "replay.capacity=1000", "warmup=32", "updates_per_env_step=0.2"]
QUICK = (
    "crew=inline evaluation.where=inline evaluation.every_seconds=null evaluation.episodes=1"
    " evaluation.confirm_episodes=0 logger=[] workers=2 budget.env_steps=150"
).split()
DICT = ["env=identity_dict", "env.kwargs.size=8", "agent=dqn", *SEEING, *KEPT, *QUICK]
PARADIGMS = ("sequential", "dcollect", "dupdate", "hogwild")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("dict") / "run"
    result = learn(*DICT, "paradigm=dupdate", "env.stack=2", f"hydra.run.dir={where}")
    assert result["updates"] >= 20
    return where


@pytest.mark.slow
def test_a_run_on_a_dict_is_played_and_handed_on(run: Path) -> None:
    assert -10 <= play(run, "episodes=3").returns.mean() <= 0
    export.export(export.checked([f"run={run}", "format=torch_export"]))
    policy = torch.export.load(str(run / "export" / "policy.pt2")).module()
    arrays = {"vector": torch.rand(5, 4), "image": torch.zeros(5, 8, 8, 2, dtype=torch.uint8)}
    assert policy(arrays).shape == (5,)
    card = (run / "export" / "README.md").read_text()
    assert "a batch of Dict(vector: float32 [4], image: uint8 [8, 8, 2])" in card


@pytest.mark.slow
def test_an_onnx_policy_has_an_input_for_each_key(run: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export.export(export.checked([f"run={run}", "format=onnx"]))
    session = ort.InferenceSession(str(run / "export" / "policy.onnx"))
    taken = {each.name: (each.type, each.shape[1:]) for each in session.get_inputs()}
    assert taken == {
        "vector": ("tensor(float)", [4]),
        "image": ("tensor(uint8)", [8, 8, 2]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_the_env_of_ones_own_that_the_page_shows_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paradigm: str
) -> None:
    (text,) = (
        text for _, text in pages.blocks("docs/environments.md") if text.startswith("# driver.py")
    )
    (tmp_path / "driver.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "driver", raising=False)
    monkeypatch.delitem(gym.registry, "Driver-v0", raising=False)
    words = ["env=gym", "env.id=driver:Driver-v0", "agent=sac", *SEEING, *KEPT, *QUICK]
    if paradigm == "sequential":
        said = [*doctor.environment(compose(words))]
        assert len(said) == 2 and "steps a second" in said[-1], said
    result = learn(*words, f"paradigm={paradigm}", f"hydra.run.dir={tmp_path / 'run'}")
    assert result["updates"] >= 20
