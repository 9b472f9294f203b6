"""export.py: what is written acts as the agent does, and other policies are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import export
from agents.parts.vector import Vector
from conf.build import rebuild
from conf.compose import compose
from conf.sentences import Wrong
from paradigms.base import Snapshot
from paradigms.session.policy import save_policy

PAIRS = [  # every agent that has a policy(obs), with an env that it takes
    ("sac", "pendulum"),
    ("td3", "pendulum"),
    ("tqc", "pendulum"),
    ("ppo", "pendulum"),
    ("ppo", "cartpole"),
    ("actor_critic", "cartpole"),
    ("dqn", "cartpole"),
    ("rainbow", "cartpole"),
    ("sac_discrete", "cartpole"),
]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a run whose final policy is an untrained agent."""

    def make(agent: str, env: str, *words: str, scale: float = 0.05) -> Path:
        setup = compose([f"agent={agent}", f"env={env}", *words])
        about = {key: setup.values[key] for key in ("agent", "env", "seed")}
        about |= {"choices": {"agent": agent, "paradigm": "sequential"}}
        from conf.nodes import made
        from envs.make import describe

        spec = describe(made(about["env"]["make"], "env.make"))
        built = made(about["agent"], "agent")(spec, seed=3, device="cpu")
        vector = Vector(built)
        floats = vector.floats[: vector.size("evaluate")].clone()
        floats += scale * torch.randn(floats.shape, generator=torch.Generator().manual_seed(0))
        snapshot = Snapshot("evaluate", floats, torch.zeros(1, dtype=torch.int64), 5, 100, 3, 5)
        save_policy(tmp_path / "final.safetensors", snapshot, about)
        return tmp_path

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "env"), PAIRS)
def test_an_agent_and_its_policy_in_torch_act_alike(
    run: Callable[..., Path], agent: str, env: str
) -> None:
    folder = run(agent, env)
    about = json.loads((folder / "final.json").read_text())
    from paradigms.session.policy import load_policy

    snapshot, _ = load_policy(folder / "final.safetensors")
    plan = rebuild(about, floats=len(snapshot.floats), slots=1, seed=0)
    built, world = plan.build()
    snapshot.into(built)
    world.close()
    shape = plan.spec.observation_space.shape
    obs = np.random.default_rng(0).normal(scale=5, size=(1000, *shape)).astype(np.float32)
    with torch.no_grad():
        made = built.policy(torch.from_numpy(obs)).numpy()
    wanted = built.act(obs, built.initial_state(len(obs)), None).action
    np.testing.assert_allclose(made, wanted, atol=1e-5)
    assert len(np.unique(wanted.round(3), axis=0)) > 1, "a constant would pass, too"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("agent", "env"),
    [("sac", "pendulum"), ("ppo", "pendulum"), ("dqn", "cartpole"), ("rainbow", "cartpole")],
)
@pytest.mark.parametrize("kind", ["torch_export", "onnx"])
def test_what_is_exported_acts_as_the_agent(
    run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    kind: str,
    agent: str,
    env: str,
) -> None:
    if kind == "onnx" and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        pytest.skip("the extra export is not installed")
    folder = run(agent, env, *(["agent.normalise=true"] if agent == "ppo" else []))
    export.export(export.checked([f"run={folder}", f"format={kind}"]))
    said = "the same actions" if env == "cartpole" else "from the agent"
    assert f"{said} on 1000 observations" in capsys.readouterr().out
    assert (folder / "export" / export.FILES[kind]).stat().st_size > 1000
    card = (folder / "export" / "README.md").read_text()
    data = yaml.safe_load(card.split("---")[1])
    assert data["tags"][:2] == ["reinforcement-learning", "paceline"]
    world = {"pendulum": "Pendulum-v1", "cartpole": "CartPole-v1"}[env]
    assert data["model-index"][0]["name"] == f"{agent} on {world}"


@pytest.mark.slow
def test_another_policy_than_the_agents_is_not_handed_on(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.sac import SAC

    policy = SAC.policy
    monkeypatch.setattr(SAC, "policy", lambda self, obs: policy(self, obs) + 1e-3)
    folder = run("sac", "pendulum")
    with pytest.raises(Wrong, match=r"up to 0\.001 from the agent"):
        export.export(export.checked([f"run={folder}", "format=torch_export"]))


@pytest.mark.slow
def test_weights_are_copied_and_an_lstm_is_refused(run: Callable[..., Path]) -> None:
    folder = run("sac", "pendulum")
    (folder / "final_best.mp4").write_bytes(b"a film")
    export.export(export.checked([f"run={folder}", "format=safetensors"]))
    assert (folder / "export" / "replay.mp4").read_bytes() == b"a film"
    for suffix in (".safetensors", ".json"):
        copied = (folder / "export" / f"policy{suffix}").read_bytes()
        assert copied == (folder / f"final{suffix}").read_bytes()
    folder = run("actor_critic", "cartpole", "agent.lstm=8")
    with pytest.raises(Wrong, match=r"agent\.lstm acts by what it remembers"):
        export.export(export.checked([f"run={folder}", "format=torch_export"]))
