"""The autoencoder of pictures: it learns, is kept in a file, and an env shows its latents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from envs.racing import circuits, probe, vae
from envs.racing.camera import VIEWS, Camera
from envs.racing.vae import VAE, Encoder
from envs.racing.world import Race


def pictures(count: int, height: int = 42) -> np.ndarray:
    tracks = [circuits.named("oval")]
    drawn = probe.draw(tracks, count, np.random.default_rng(0))
    return probe.look(Camera(tracks, height=height), drawn)


def stored(path: Path, height: int = 42, rays: int = 1) -> VAE:
    torch.manual_seed(3)
    made = VAE(height).eval()
    vae.save(made, path, height=height, rays=rays, tracks=["oval"])
    return made


@pytest.mark.parametrize("height", VIEWS)
def test_what_comes_out_has_the_size_of_what_goes_in(height: int) -> None:
    made = VAE(height)
    latents = made.encode(torch.zeros(2, 3, height, 144))
    assert latents.shape == (2, 32)
    assert made.logits(latents).shape == (2, 3, height, 144)
    if height == 42:
        assert made.mean.in_features == 4608, "as Learn-to-Race's agents have it"


def test_the_loss_is_the_cross_entropy_and_the_divergence_by_hand() -> None:
    made, image = VAE(42), torch.rand(1, 3, 42, 144, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in (made.mean, made.log_var, made.widen):
            layer.weight.zero_(), layer.bias.zero_()
        made.mean.bias.fill_(0.5)
        made.log_var.bias.fill_(-1.0)
        for layer in made.up:
            if isinstance(layer, torch.nn.ConvTranspose2d):
                layer.bias.zero_()
        loss = float(made.loss(image, torch.zeros(1, 32)))
    divergence = 32 * 0.5 * (0.25 + np.exp(-1.0) - 1 + 1)
    assert loss == pytest.approx(3 * 42 * 144 * np.log(2) + divergence, rel=1e-5)


@pytest.mark.slow
def test_training_lowers_the_loss() -> None:
    images = pictures(200)
    torch.manual_seed(0)
    made, noise = VAE(42), torch.zeros(200, 32)
    with torch.no_grad():
        before = float(made.loss(vae.as_input(images), noise))
    while vae.train(made, images, 1.0) and made.loss(vae.as_input(images), noise) > 0.99 * before:
        pass  # as slow as the machine is: a loss that does not fall ends at the time limit


@pytest.mark.parametrize("height", VIEWS)
def test_an_encoder_from_its_file_gives_the_same_latents(tmp_path: Path, height: int) -> None:
    made, images = stored(tmp_path / "e.safetensors", height, rays=2), pictures(5, height)
    state = torch.get_rng_state()
    encoder = Encoder(tmp_path / "e.safetensors")
    assert (torch.get_rng_state() == state).all(), "nothing is drawn from the process's generator"
    assert (encoder.height, encoder.rays, encoder.latents) == (height, 2, 32)
    assert encoder.tracks == ["oval"]
    latents = encoder.encode(images)
    assert latents.dtype == np.float32 and latents.std(0).min() > 0
    with torch.no_grad():
        np.testing.assert_array_equal(latents, made.encode(vae.as_input(images)).numpy())
    np.testing.assert_array_equal(latents, vae.reconstruct(made, images)[0])


def test_a_file_remembers_how_many_filters_it_has(tmp_path: Path) -> None:
    torch.manual_seed(3)
    made, path = VAE(42, 8).eval(), tmp_path / "e.safetensors"
    vae.save(made, path, height=42, rays=1, tracks=["oval"], filters=8)
    assert made.mean.in_features == 4608 // 4
    images = pictures(3)
    latents = Encoder(path).encode(images)
    np.testing.assert_array_equal(latents, vae.reconstruct(made, images)[0])


def test_an_env_shows_latents_and_speed(tmp_path: Path) -> None:
    stored(tmp_path / "e.safetensors", height=84)
    race = Race(2, track="oval", observation="camera", encoder=str(tmp_path / "e.safetensors"))
    obs, _ = race.reset(seed=1)
    assert obs.shape == (2, 33) and obs.dtype == np.float32
    cars, which = race.cars, race.referee.which
    images = Camera(race.tracks, height=84).images(which, cars.x, cars.y, cars.yaw)
    np.testing.assert_array_equal(obs[:, :32], Encoder(tmp_path / "e.safetensors").encode(images))
    np.testing.assert_allclose(obs[:, 32], race.cars.speed / 30, rtol=1e-6)
    one = race.sense.observe(cars, race.referee, np.array([1]))
    np.testing.assert_allclose(one[0], obs[1], rtol=1e-4, atol=1e-5)


def test_files_that_are_no_encoders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name, sentence in (
        ("none.safetensors", "is no file"),
        ("text.safetensors", "has no weights of a camera's encoder"),
        ("other.safetensors", "has no weights of a camera's encoder"),
    ):
        with pytest.raises(ValueError, match=f"{sentence}; `python -m envs.racing.vae track="):
            Race(1, track="oval", observation="camera", encoder=str(tmp_path / name))
    with pytest.raises(ValueError, match="it needs observation=camera"):
        Race(1, track="oval", encoder=str(tmp_path / "none.safetensors"))


def test_poses_are_on_and_a_little_off_all_tracks() -> None:
    tracks = [circuits.named("oval"), circuits.named("chicane")]
    drawn = probe.draw(tracks, 4000, np.random.default_rng(0))
    half = np.where(drawn.which == 0, 6.0, 5.5)
    share = np.abs(drawn.lateral) / half
    assert 0.9 < share.max() <= 1.3 and 0.01 < (share > 0.9).mean() < 0.08
    assert np.median(np.abs(drawn.angle)) == pytest.approx(0.09, abs=0.02)
    assert (drawn.which == 1).mean() == pytest.approx(1609 / (1609 + 1177), abs=0.04)
    values = probe.targets(tracks, drawn)
    on_straight = (drawn.which == 0) & (drawn.sample < 150)
    assert np.abs(values["curvature 15 m ahead"][on_straight]).max() < 1e-3


def test_ridge_regression_tells_what_is_linear_and_not_what_is_noise() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(3.0, 2.0, (2000, 5))
    line, noise = numbers @ rng.normal(size=5) + 7.0, rng.normal(size=2000)
    for value, low, high in ((line, 0.999, 1.0), (noise, -0.05, 0.05)):
        r2 = probe.told(numbers[:1500], value[:1500], numbers[1500:], value[1500:])
        assert low < r2 <= high


@pytest.mark.slow
@pytest.mark.parametrize("height", VIEWS)
def test_the_command_writes_an_encoder_and_a_picture(
    tmp_path: Path, height: int, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("matplotlib.image")
    settings = f"track=[oval,chicane_mirrored] images=200 seconds=1 height={height}"
    vae.main([*settings.split(), f"out={tmp_path}"])
    said = capsys.readouterr().out
    assert "RMSE" in said and "curvature 15 m ahead: R2" in said and "200 pictures" in said
    encoder = Encoder(tmp_path / "encoder.safetensors")
    assert (encoder.height, encoder.tracks) == (height, ["oval", "chicane_mirrored"])
    shown = image.imread(tmp_path / "encoder.png")
    assert shown.shape[:2] == (4 * height, 2 * vae.SHOWN * 144)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("second=5", "'second=5' is no setting: write NAME=VALUE of track, circuits, images"),
        ("images", "'images' is no setting"),
        ("images=many", "images=many must be a number, as images=20000"),
        ("images=3", "images=3 must be at least 100"),
        ("height=43", "height=43 is not one of 42, 84"),
        ("rays=5", "rays=5 is not one of 1, 2, 6"),
        ("track=monza", "track=monza is no circuit"),
    ],
)
def test_wrong_settings_of_the_command_are_refused(word: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        vae.main([word])


def test_numbers_and_pictures_need_no_torch() -> None:
    code = """import sys
from envs.racing.world import Race
Race(1, track="oval"), Race(1, track="oval", observation="camera").reset(seed=0)
assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
