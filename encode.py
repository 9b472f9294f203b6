"""Trains a variational autoencoder on the images of an environment, before any agent sees them.

    python encode.py env=carracing env.stack=1 out=carracing.safetensors

plays at random, trains on what is shown, and writes the weights, a JSON that says what they read,
and a PNG of held-out images above what is left of them. With env.encoder=FILE every agent then sees
latents; with agent.encoder=vae agent.pretrained=FILE an agent begins with them. The words are those
of train.py for the environment, seed and num_envs, and:

    images=10000       how many, a tenth of which is held out
    epochs=10          rounds through them
    batch_size=64
    lr=1e-3            of Adam; it falls to a tenth
    beta=1             the factor before the divergence
    latents=32
    hold=8             steps for which a number of a random action is kept, on average
    length=100         images of an episode, after which another one begins
    low= high=         lists: between which the numbers of an action are drawn, each in [-1, 1]
    out=encoder.safetensors
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le

from conf import check, encoders, schema, trust
from conf.compose import Setup, compose, parsed
from conf.nodes import made
from conf.sentences import Wrong, command, line

if TYPE_CHECKING:
    import numpy as np

    from agents.encoders.vae import VAE

HELD_OUT = 0.1  # of the images, the last ones
SHOWN = 8  # images of the PNG


@dataclass(frozen=True)
class Settings:
    """The command's own words."""

    images: Annotated[int, Ge(20)] = 10_000
    epochs: Annotated[int, Ge(1)] = 10
    batch_size: Annotated[int, Ge(1)] = 64
    lr: Annotated[float, Gt(0)] = 1e-3
    beta: Annotated[float, Ge(0)] = 1.0
    latents: Annotated[int, Ge(1), Le(65_536)] = 32
    hold: Annotated[float, Ge(1)] = 8.0
    length: Annotated[int, Ge(1)] = 100
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    out: str = "encoder.safetensors"


def main() -> None:
    """The console command."""
    command(__doc__, encode)


def encode(words: Sequence[str]) -> None:
    """Collects, trains, writes, and says how far it is. Raises Wrong."""
    own, setup = read(words)
    env = world(setup)
    try:
        images = play(env, own, setup)
    finally:
        env.close()
    out = Path(own.out)
    vae = train(images, own, setup.values["seed"])
    about = {"env": setup.values["env"]["id"], "seed": setup.values["seed"], **asdict(own)}
    save(vae, out, about)
    picture(vae, images, setup.values["env"]["stack"], out.with_suffix(".png"))
    say(f"use it: agent.encoder=vae agent.pretrained={out}")
    if setup.values["env"]["stack"] == 1:
        say(f"   or: env.encoder={out}, so that its latents are what travels and is stored")


def read(words: Sequence[str]) -> tuple[Settings, Setup]:
    """What was typed, checked. Raises Wrong."""
    check.ours()
    trust.look_in(".")
    defaults = asdict(Settings())
    given, others = dict[str, Any](), list[str]()
    for word in words:
        key, equals, _ = word.partition("=")
        if equals and key in defaults:
            given[key] = parsed(word).value()
        else:
            others.append(word)
    schema.check(Settings, given)
    own: Settings = schema.build(Settings, defaults | given)
    if not own.out.endswith(".safetensors"):
        raise Wrong(f"out={own.out} must be a .safetensors file")
    setup = compose(others)
    check.settings(setup)
    if setup.values["env"]["encoder"] is not None:
        raise Wrong("env.encoder shows latents in the place of images: leave it out")
    check.node("env.make", setup.values["env"]["make"])
    return own, setup


def world(setup: Setup) -> Any:
    """The env whose images are learned. Raises Wrong if it shows none."""
    from agents.encoders.vae import VAE

    v = setup.values
    make = made(v["env"]["make"], "env.make")
    try:
        env = make(num_envs=v["num_envs"], seed=v["seed"])
    except ValueError as error:
        raise Wrong(line(error)) from error
    shown = env.single_observation_space
    shape = shown.shape or ()
    if len(shape) == 3 and str(shown.dtype) == "uint8" and min(shape[:2]) >= VAE.least:
        return env
    env.close()
    raise Wrong(
        f"env={setup.choices['env']} shows {' '.join(str(shown).split())}, and an autoencoder reads"
        f" uint8 images [height, width, channels] of {VAE.least} x {VAE.least} pixels or more;"
        " choose such an env"
    )


def play(env: Any, own: Settings, setup: Setup) -> np.ndarray:
    """The images of random play, uint8 [images, height, width, channels]."""
    import numpy as np

    from envs.frames import collect

    rng, began = np.random.default_rng([setup.values["seed"], 2]), time.perf_counter()
    chosen = {name: getattr(own, name) for name in ("hold", "length", "low", "high")}
    try:
        images = collect(env, own.images, rng=rng, **chosen)
    except ValueError as error:
        raise Wrong(line(error)) from error
    seconds = time.perf_counter() - began
    shape = " x ".join(map(str, images.shape[1:]))
    say(f"{len(images):,} images of {shape} in {seconds:.0f} s, {len(images) / seconds:,.0f} a s")
    return images


def train(images: np.ndarray, own: Settings, seed: int) -> VAE:
    """An autoencoder of the images, and a line on every epoch."""
    import torch

    from agents.encoders.fit import fit, reconstruct
    from agents.encoders.vae import VAE

    pictures = torch.from_numpy(images)
    count = len(pictures) - max(1, round(HELD_OUT * len(pictures)))
    vae = VAE(images.shape[1:], own.latents, generator=torch.Generator().manual_seed(seed))
    chosen = {name: getattr(own, name) for name in ("epochs", "batch_size", "lr", "beta")}
    began = time.perf_counter()
    for epoch in fit(vae, pictures[:count], pictures[count:], seed=seed, **chosen):
        speed = epoch.number * count / (time.perf_counter() - began)
        held_out = epoch.held_out
        say(
            f"epoch {epoch.number:2} of {own.epochs}: loss {epoch.train.loss(own.beta):,.1f} nats"
            f" an image, held out {held_out.loss(own.beta):,.1f} (cross entropy"
            f" {held_out.entropy:,.1f}, divergence {held_out.divergence:.1f});"
            f" {speed:,.0f} images/s"
        )
    shown, mean = pictures[count:].float(), pictures[:count].float().mean(0)
    left = reconstruct(vae, pictures[count:]).float()
    errors = [float((shown - guess).square().mean().sqrt()) for guess in (left, mean)]
    say("held-out images: RMSE {:.1f} grey levels, their mean image's {:.1f}".format(*errors))
    return vae


def save(vae: VAE, out: Path, about: dict[str, Any]) -> None:
    """Writes the weights and what they read. Raises Wrong."""
    from agents.encoders.trained import Trained

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        encoders.write(out, Trained.of(vae, str(out)), about)
    except OSError as error:
        raise Wrong(f"out={out} cannot be written: {line(error)}") from error
    say(f"wrote {out} and {out.with_suffix('.json').name}")


def picture(vae: VAE, images: np.ndarray, stack: int, target: Path) -> None:
    """Writes a PNG of held-out images, the newest of a stack, above what is left of them; only says
    so where matplotlib is missing."""
    import numpy as np
    import torch

    from agents.encoders.fit import reconstruct
    from envs.racing.vae import draw

    held_out = images[-round(HELD_OUT * len(images)) :]
    chosen = held_out[np.linspace(0, len(held_out) - 1, SHOWN).round().astype(int)]
    channels = images.shape[-1] // stack
    last = channels if channels == 3 else 1
    rows = [chosen, reconstruct(vae, torch.from_numpy(chosen)).numpy()]
    rows = [np.broadcast_to(row[..., -last:], (*row.shape[:-1], 3)) for row in rows]
    try:
        draw(*rows, target)
    except ModuleNotFoundError as error:
        say(str(error))
    else:
        say(f"wrote {target}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
