"""A variational autoencoder of camera pictures (Kingma and Welling 2014, arXiv:1312.6114), with the
layers of Learn-to-Race's agents (Herman et al. 2021, arXiv:2103.11575).

    python -m envs.racing.vae track=thruxton images=20000 seconds=120 out=thruxton.safetensors

trains one on pictures of a track for so many seconds and writes its weights, which an env takes as
`observation=camera encoder=thruxton.safetensors`; a PNG beside them shows held-out pictures above
what is left of them. The other settings are those of SETTINGS; track may be a list: [oval,random].
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from envs.racing import probe
from envs.racing.camera import RAYS, VIEWS, WIDTH, Camera
from envs.racing.circuits import chosen

LATENTS = 32
FILTERS = 32  # of the first layer; every further one has twice as many
BATCH, LEARNING_RATE = 32, 1e-3  # of Adam, as Learn-to-Race's agents have it
HELD_OUT = 0.1  # of the pictures, which it is not trained on
SHOWN = 6  # pictures of the PNG
KIND = "paceline camera encoder"


class VAE(nn.Module):
    """Four convolutions of 4 x 4 with stride 2, a Gaussian of 32 latents, and the way back. It
    takes and gives float32 [m, 3, height, 144] in [0, 1], height 42 or 84. filters: of the
    first convolution; the others have 2, 4 and 8 times as many."""

    def __init__(self, height: int, filters: int = FILTERS) -> None:
        super().__init__()
        channels, sizes = [3, *(filters * k for k in (1, 2, 4, 8))], [(height, WIDTH)]
        for _ in channels[1:]:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        self.inner = (channels[-1], *sizes[-1])
        many = channels[-1] * sizes[-1][0] * sizes[-1][1]
        down: list[nn.Module] = []
        for before, after in pairwise(channels):
            down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        self.down = nn.Sequential(*down, nn.Flatten())
        self.mean, self.log_var = nn.Linear(many, LATENTS), nn.Linear(many, LATENTS)
        self.widen = nn.Linear(LATENTS, many)
        up: list[nn.Module] = []
        for k in reversed(range(len(channels) - 1)):
            odd = (sizes[k][0] % 2, sizes[k][1] % 2)  # the row or column that halving had dropped
            up += [nn.ConvTranspose2d(channels[k + 1], channels[k], 4, 2, 1, odd), nn.ReLU()]
        self.up = nn.Sequential(*up[:-1])

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """The means of the latents, float32 [m, 32]."""
        return self.mean(self.down(pictures))

    def logits(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures before the sigmoid, [m, 3, height, 144], of latents [m, 32]."""
        return self.up(self.widen(latents).unflatten(1, self.inner))

    def loss(self, pictures: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Minus the evidence lower bound, nats a picture: cross entropy and divergence (eq. 10).
        noise: standard normal, [m, 32]."""
        hidden = self.down(pictures)
        mean, log_var = self.mean(hidden), self.log_var(hidden)
        logits = self.logits(mean + noise * torch.exp(0.5 * log_var))
        entropy = F.binary_cross_entropy_with_logits(logits, pictures, reduction="sum")
        divergence = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
        return (entropy + divergence) / len(pictures)


class Encoder:
    """The encoder in a file that the command wrote. Raises ValueError, in one sentence, where there
    is no such file. height, rays: of the pictures; latents: numbers that it makes of one."""

    def __init__(self, path: str | Path) -> None:
        hint = "`python -m envs.racing.vae track=thruxton out=FILE.safetensors` makes one"
        if not Path(path).is_file():
            raise ValueError(f"encoder={path} is no file; {hint}")
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}
        except SafetensorError:
            about = {}
        if about.get("kind") != KIND:
            raise ValueError(f"encoder={path} has no weights of a camera's encoder; {hint}")
        self.height, self.rays = int(about["height"]), int(about["rays"])
        self.latents, self.tracks = int(about["latents"]), json.loads(about["tracks"])
        with torch.device("meta"):  # nothing is drawn: an env leaves the process's generator alone
            self.vae = VAE(self.height, int(about["filters"])).eval()
        self.vae.load_state_dict(weights, assign=True)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """The means of the latents, float32 [m, 32], of pictures uint8 [m, height, 144, 3]."""
        with torch.inference_mode():
            return self.vae.encode(as_input(images)).numpy()


def as_input(images: np.ndarray) -> torch.Tensor:
    """float32 [m, 3, height, 144] in [0, 1], channels last, of uint8 [m, height, 144, 3]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) * (1 / 255)


SETTINGS = {  # of the command, and what they are without being named
    "track": "thruxton",
    "circuits": 24,  # random circuits of track=random
    "images": 20000,
    "seconds": 120.0,
    "height": 42,  # or 84, see camera.VIEWS
    "rays": 1,  # or 2, 6
    "filters": FILTERS,  # of the first layer: half as many encode three times as fast
    "seed": 0,
    "out": "encoder.safetensors",
}


def train(vae: VAE, images: np.ndarray, seconds: float, *, seed: int = 0) -> int:
    """Trains by Adam on pictures uint8 [n, height, 144, 3], in a new order every epoch, until the
    seconds are over; meanwhile the learning rate falls to a tenth. Returns the pictures seen."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    optim = torch.optim.Adam(vae.parameters(), LEARNING_RATE)
    begun, seen, order = time.perf_counter(), 0, np.empty(0, np.int64)
    while (share := (time.perf_counter() - begun) / seconds) < 1:
        if len(order) < BATCH:
            order = np.concatenate([order, rng.permutation(len(images))])
        batch, order = order[:BATCH], order[BATCH:]
        optim.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * share)
        optim.zero_grad()
        pictures = as_input(images[batch])
        vae.loss(pictures, torch.randn(len(batch), LATENTS, generator=noise)).backward()
        optim.step()
        seen += len(batch)
    return seen


def reconstruct(vae: VAE, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of the latents, float32 [m, 32], and the pictures made of them, uint8 as `images`
    [m, height, 144, 3]."""
    latents, pictures = [], []
    with torch.inference_mode():
        for first in range(0, len(images), 64):
            mean = vae.encode(as_input(images[first : first + 64]))
            made = (255 * torch.sigmoid(vae.logits(mean))).round().to(torch.uint8)
            latents.append(mean.numpy())
            pictures.append(made.permute(0, 2, 3, 1).numpy())
    return np.concatenate(latents), np.concatenate(pictures)


def save(
    vae: VAE,
    path: Path,
    *,
    height: int,
    rays: int,
    tracks: Sequence[str],
    filters: int = FILTERS,
) -> None:
    """Writes what Encoder reads."""
    about = {"kind": KIND, "height": height, "rays": rays, "latents": LATENTS, "filters": filters}
    named = {name: str(value) for name, value in about.items()} | {"tracks": json.dumps([*tracks])}
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}
    save_file(weights, path, named)


def draw(originals: np.ndarray, reconstructions: np.ndarray, path: Path) -> None:
    """A PNG of pictures uint8 [m, height, 144, 3] side by side, above their reconstructions. Raises
    ModuleNotFoundError where matplotlib is missing."""
    try:
        from matplotlib.image import imsave
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a picture needs matplotlib: pip install 'paceline[report]'"
        ) from error
    rows = [np.concatenate(row, 1) for row in (originals, reconstructions)]
    imsave(path, np.concatenate(rows).repeat(2, 0).repeat(2, 1))


def settings(words: Sequence[str]) -> dict[str, Any]:
    """SETTINGS, changed by words like images=5000. Raises ValueError in one sentence."""
    values: dict[str, Any] = dict(SETTINGS)
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in SETTINGS:
            raise ValueError(f"{word!r} is no setting: write NAME=VALUE of {', '.join(SETTINGS)}")
        kind: Any = type(SETTINGS[name])
        try:
            values[name] = kind(text)
        except ValueError:
            raise ValueError(f"{word} must be a number, as {name}={SETTINGS[name]}") from None
    for name, known in (("height", VIEWS), ("rays", RAYS)):
        if values[name] not in known:
            raise ValueError(f"{name}={values[name]} is not one of {', '.join(map(str, known))}")
    at_least = {"circuits": 1, "images": 100, "seconds": 0.0, "filters": 1, "seed": 0}
    for name, least in at_least.items():
        if not values[name] >= least:
            raise ValueError(f"{name}={values[name]} must be at least {least}")
    return values


def main(words: Sequence[str]) -> None:
    """The command: see the head of this file."""
    values = settings(words)
    height, rays, say = values["height"], values["rays"], sys.stdout.write
    track = values["track"].strip("[]").split(",")
    tracks = chosen(track, (0, values["circuits"]))
    camera = Camera(tracks, height=height, rays=rays)
    where = probe.draw(tracks, values["images"], np.random.default_rng(values["seed"]))
    images = probe.look(camera, where)
    torch.manual_seed(values["seed"])
    vae = VAE(height, filters := values["filters"])
    count = round(len(images) * (1 - HELD_OUT))
    seen = train(vae, images[:count], values["seconds"], seed=values["seed"])
    out = Path(values["out"])
    out = out if out.suffix == ".safetensors" else out / "encoder.safetensors"
    save(vae, out, height=height, rays=rays, filters=filters, tracks=track)
    latents, made = reconstruct(vae, images)
    error = made[count:].astype(np.float32) - images[count:]
    say(f"{len(images)} pictures, trained on {seen}\n")
    say(f"reconstruction: RMSE {np.sqrt((error**2).mean()):.1f} grey levels\n")
    for name, value in probe.targets(tracks, where).items():
        r2 = probe.told(latents[:count], value[:count], latents[count:], value[count:])
        say(f"{name}: R2 {r2:.2f} by ridge regression from the latents\n")
    draw(images[-SHOWN:], made[-SHOWN:], out.with_suffix(".png"))
    say(f"wrote {out} and {out.with_suffix('.png').name}\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as mistake:
        sys.exit(str(mistake))
