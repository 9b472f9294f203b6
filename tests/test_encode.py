"""encode.py: what it writes is read back to the bit, trains agents, and else is refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import encode
from agents.encoders.trained import Trained
from agents.encoders.vae import VAE
from conf import check, encoders
from conf.sentences import Wrong
from envs.frames import collect
from envs.make import make_env
from evaluate import play
from paradigms.base import Snapshot
from paradigms.session import sealed
from paradigms.session.policy import save_policy
from train import learn

SIDE = 24  # of env=spot
SMALL = (
    "env=spot warmup=16 num_envs=2 agent.hidden_sizes=[8] replay.batch_size=8 logger=[] workers=1"
    " crew=inline budget.env_steps=64 evaluation.episodes=1 evaluation.confirm_episodes=1"
    " evaluation.where=inline replay.capacity=200"
).split()


def written(folder: Path, shape: tuple[int, int, int] = (SIDE, SIDE, 3), latents: int = 4) -> Path:
    vae = VAE(shape, latents, generator=torch.Generator().manual_seed(3))
    encoders.write(path := folder / "vae.safetensors", Trained.of(vae, str(path)), {"seed": 3})
    return path


def test_the_command_writes_what_env_and_agent_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "spot.safetensors"
    words = f"env=spot images=60 epochs=2 batch_size=16 latents=4 num_envs=3 out={out}"
    encode.encode(words.split())
    printed = capsys.readouterr().out
    losses = re.findall(r"epoch +\d of 2: loss ([\d,.]+) nats an image, held out", printed)
    assert len(losses) == 2 and float(losses[1].replace(",", "")) < float(
        losses[0].replace(",", "")
    )
    assert f"60 images of {SIDE} x {SIDE} x 3" in printed and f"env.encoder={out}" in printed
    assert {path.suffix for path in out.parent.iterdir()} == {".safetensors", ".json", ".png"}
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["shape"] == [SIDE, SIDE, 3] and about["env"] == "paceline/Spot-v0"
    assert check.command_line(["env=spot", f"env.encoder={out}"]).setup
    assert check.command_line(
        ["env=spot", "agent.encoder=vae", f"agent.pretrained={out}", "agent.features=4"]
    ).setup


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    vae = VAE((SIDE, SIDE, 3), 4, generator=torch.Generator().manual_seed(3))
    read = encoders.read(str(path), "env.encoder")
    assert (read.name, read.shape, read.latents) == (str(path), (SIDE, SIDE, 3), 4)
    for array, tensor in zip(read.weights, [*vae.seeing, *vae.making], strict=True):
        np.testing.assert_array_equal(array, tensor.detach().numpy())


def damaged(change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Any:
    """Files that say something else, with the digest that belongs to it."""

    def apply(path: Path) -> None:
        about = json.loads(path.with_suffix(".json").read_text())
        tensors = load_file(path)
        del about["sha256"]
        change(about, tensors)
        sealed.write(path, tensors, about)

    return apply


def flipped(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-9] ^= 1
    path.write_bytes(whole)


def a_policy(path: Path) -> None:
    save_policy(
        path, Snapshot("evaluate", torch.zeros(8), torch.zeros(1, dtype=torch.int64), 0), {}
    )


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (flipped, "its SHA-256 is another one"),
    (lambda path: path.write_bytes(path.read_bytes()[:-4]), "cannot be read as an autoencoder"),
    (lambda path: path.with_suffix(".json").unlink(), "cannot be read as an autoencoder"),
    (lambda path: path.unlink(), "is no file; python encode.py env=NAME makes one"),
    (a_pipe, "is no file"),
    (a_policy, "it is none; python encode.py"),
    (damaged(lambda about, _: about.update(latents=10**6)), "not those of 1000000 latents"),
    (damaged(lambda about, _: about.update(shape=[10**9, 10**9, 3])), "of images of 1000000000 x"),
    (damaged(lambda about, _: about.update(shape="large")), "cannot be read as an autoencoder"),
    (damaged(lambda about, _: about.pop("latents")), "KeyError 'latents'"),
    (damaged(lambda _, tensors: tensors["0"].fill_(np.nan)), "not finite float32 numbers"),
    (damaged(lambda _, tensors: tensors.update({"0": tensors["0"].half()})), "finite float32"),
    (damaged(lambda _, tensors: tensors.pop("3")), "KeyError '3'"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_file_that_is_none_is_refused_in_one_sentence(
    change: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    change(path := written(tmp_path))
    with pytest.raises(Wrong, match=r"^env\.encoder[^\n]*" + re.escape(said)):
        encoders.read(str(path), "env.encoder")


UNFIT = [
    ("env.encoder=3", "env.encoder=3 must be a word or null"),
    ("env.encoder=weights.pt", "must be a .safetensors file; python encode.py"),
    ("agent.encoder=vae agent.pretrained=3", "agent.pretrained=3 must be a .safetensors file"),
    ("env.encoder=FILE agent.encoder=conv", "agent.encoder=conv reads images, but"),
    ("env.encoder=FILE env.kwargs.size=32", "env.encoder reads uint8 images of 24 x 24 x 3, but"),
    ("env=pendulum env.encoder=FILE", "env.encoder reads uint8 images of 24 x 24 x 3, but"),
    ("agent.encoder=vae agent.pretrained=FILE", "has 4 latents, not 32: set agent.features=4"),
    ("agent.encoder=conv agent.frozen=true", "agent.frozen is for agent.encoder=vae"),
    (
        "agent.encoder=vae agent.features=4 agent.pretrained=FILE env.stack=2",
        "reads images of 24 x 24 x 3, but the env shows 24 x 24 x 6",
    ),
]


def test_settings_that_do_not_fit_are_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    path = written(tmp_path)
    for words, said in UNFIT:
        typed = ["env=spot"] * ("env=" not in words) + words.replace("FILE", str(path)).split()
        with subtests.test(words), pytest.raises(Wrong, match=f"^[^\n]*{re.escape(said)}"):
            check.command_line(typed)


OWN = [
    ("env=pendulum", "an autoencoder reads uint8 images [height, width, channels] of 16 x 16"),
    ("env=spot images=3", "images=3 must be a whole number of at least 20"),
    ("env=spot epochs=two", "epochs=two must be a whole number"),
    ("env=spot out=weights.pt", "out=weights.pt must be a .safetensors file"),
    ("env=spot low=[-1]", "low and high must be 2 numbers each in [-1, 1]"),
    ("env=spot low=[0,0] high=[1,-1]", "low at most high"),
    ("env=spot_discrete low=[0,0]", "low and high bound the numbers of Box actions"),
    ("env=spot imags=30", "imags is not a setting"),
    ("env=spot env.encoder=FILE", "env.encoder shows latents"),
]


def test_the_command_refuses_what_it_cannot_do(subtests: pytest.Subtests) -> None:
    for words, said in OWN:
        with subtests.test(words), pytest.raises(Wrong, match=f"^[^\n]*{re.escape(said)}"):
            encode.encode(words.split())


def test_actions_are_kept_for_a_while_and_lie_between_their_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = make_env("paceline/Spot-v0", num_envs=4, kwargs={"size": 16})
    taken: list[np.ndarray] = []
    step = env.step
    monkeypatch.setattr(env, "step", lambda action: taken.append(action) or step(action))
    rng = np.random.default_rng(0)
    images = collect(env, 402, rng=rng, hold=5, length=20, low=[-0.5, 0], high=[0.5, 1])
    assert images.shape == (402, 16, 16, 3) and len(np.unique(images[:4], axis=0)) == 4
    actions = np.array(taken)
    assert actions.shape == (95, 4, 2), "an episode shows 20 images and takes 19 actions"
    assert (actions >= [-0.5, 0]).all() and (actions <= [0.5, 1]).all()
    changed = float((actions[1:] != actions[:-1]).mean())
    assert 0.15 < changed < 0.25
    assert actions.std(0).min() > 0.1


@pytest.mark.slow
def test_latents_are_learned_from_and_the_policy_is_played(tmp_path: Path) -> None:
    path = written(tmp_path)
    where = [f"hydra.run.dir={tmp_path / 'run'}"]
    result = learn(*SMALL, f"env.encoder={path}", *where)
    assert result["updates"] > 8
    assert play(result["folder"], "episodes=2").returns.shape == (2,)
    path.unlink()
    with pytest.raises(Wrong, match=r"env\.encoder=\S+ is no file"):
        play(result["folder"], "episodes=2")


@pytest.mark.slow
def test_a_policy_with_a_frozen_encoder_no_longer_needs_the_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    words = f"agent.encoder=vae agent.features=4 agent.frozen=true agent.pretrained={path}".split()
    result = learn(*SMALL, *words, f"hydra.run.dir={tmp_path / 'run'}")
    before = play(result["folder"], "episodes=2").returns
    path.unlink()
    np.testing.assert_array_equal(play(result["folder"], "episodes=2").returns, before)
