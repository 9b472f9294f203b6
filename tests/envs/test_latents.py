"""Latents in the place of images against the autoencoder and the images themselves."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from agents.encoders.trained import Trained
from agents.encoders.vae import VAE
from envs.make import describe, make_env
from tests.jobs import PARADIGMS, job, run, sac

SIDE, LATENTS = 16, 5
MODES = ("next_step", "same_step", "disabled")
SPOT: dict[str, Any] = {"id": "paceline/Spot-v0", "kwargs": {"size": SIDE, "length": 4}}
VAE_ = VAE((SIDE, SIDE, 3), LATENTS, generator=torch.Generator().manual_seed(7))
TRAINED = Trained.of(VAE_, "FILE")


def seen(images: np.ndarray) -> np.ndarray:
    """The means of the latents of the last images of stacks, [n, size, size, 3 * stack]."""
    stacked = np.split(images, images.shape[-1] // 3, -1)
    planes = (torch.from_numpy(one).permute(0, 3, 1, 2).float() / 255 for one in stacked)
    with torch.no_grad():
        return np.concatenate([VAE_.encode(p.contiguous())[0].numpy() for p in planes], -1)


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_they_are_the_means_of_the_images_whatever_ends(mode: str, stack: int) -> None:
    options: dict[str, Any] = {**SPOT, "num_envs": 3, "seed": 1, "stack": stack, "autoreset": mode}
    plain, latent = make_env(**options), make_env(**options, encoder=TRAINED, copy=False)
    assert latent.single_observation_space.shape == (LATENTS * stack,)
    shown = latent.reset()[0]
    assert latent.observation_space.contains(shown)
    np.testing.assert_array_equal(shown, seen(plain.reset()[0]))
    kept, ended = [(shown, shown.copy())], 0
    for action in np.random.default_rng(0).uniform(-1, 1, (11, 3, 2)).astype(np.float32):
        a, b = latent.step(action), plain.step(action)
        kept.append((a[0], a[0].copy()))
        np.testing.assert_array_equal(a[0], seen(b[0]))
        for mine, theirs in zip(a[1:4], b[1:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        over = a[2] | a[3]
        ended += int(over.sum())
        if mode == "same_step":
            for slot in np.flatnonzero(over):
                final = b[4]["final_obs"][slot][None].repeat(3, 0)
                np.testing.assert_allclose(a[4]["final_obs"][slot], seen(final)[0], atol=1e-6)
        elif mode == "disabled" and over.any():
            again = [env.reset(options={"reset_mask": over})[0] for env in (latent, plain)]
            np.testing.assert_array_equal(again[0], seen(again[1]))
    assert ended >= 6 and all(np.array_equal(*pair) for pair in kept), "shown obs stay"


def test_one_forward_reads_all_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    encode = VAE.encode
    monkeypatch.setattr(VAE, "encode", lambda self, x: sizes.append(len(x)) or encode(self, x))
    env = make_env(**SPOT, num_envs=6, encoder=TRAINED)
    env.reset()
    env.step(np.zeros((6, 2), np.float32))
    assert sizes == [6, 6]


def test_an_agent_stores_and_learns_from_them_alone() -> None:
    spot = functools.partial(make_env, **SPOT, stack=2, encoder=TRAINED)
    spec = describe(spot)
    assert spec.keys["obs"].shape == (2 * LATENTS,) and spec.stack == 2
    alone, ended = (
        run(PARADIGMS[name], job(spot, sac, env_steps=96)) for name in ("sequential", "dcollect")
    )
    ended.same_as(alone)
    (stream, *_) = ended.stored()
    assert stream["obs"].dtype == np.float32 and stream["obs"].shape[1:] == (LATENTS,)
    assert ended.totals["updates"] > 32 and float(stream["obs"].std()) > 0


def test_other_images_are_refused_in_one_sentence() -> None:
    for other in ({"kwargs": {"size": 24}}, {"id": "paceline/Counting-v0", "kwargs": {}}):
        with pytest.raises(
            ValueError, match=r"^env\.encoder reads uint8 images of 16 x 16 x 3, but"
        ):
            make_env(**{**SPOT, **other}, encoder=TRAINED)
