"""What the camera in a car sees, held against a pinhole's geometry; and an env that shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs.make import describe, make_env
from envs.racing import circuits, ground
from envs.racing.camera import COLOURS, RAYS, SKY, VIEWS, WIDTH, Camera
from envs.racing.track import Track
from envs.racing.world import Race

WHITE = COLOURS[ground.WHITE]


def surfaces(images: np.ndarray) -> np.ndarray:
    """The surface of every pixel of pictures of one ray, with one number for both kinds of grass
    and one for both of asphalt; 9 for the sky."""
    found = np.full(images.shape[:-1], -1)
    for surface, colour in (COLOURS | {9: SKY}).items():
        same = {ground.LAWN: ground.GRASS, ground.PATCH: ground.ASPHALT}.get(surface, surface)
        found[(images == colour).all(-1)] = same
    assert (found >= 0).all()
    return found


def on_a_straight(lateral: float = 0.0, yaw: float = 0.0, **view: Any) -> np.ndarray:
    """One picture from the oval's first straight, 6 m wide to both sides, which leads east."""
    camera = Camera([circuits.named("oval")], **view)
    x, y = np.array([-180.0]), np.array([-60.0 + lateral])
    return camera.images(np.zeros(1, np.int64), x, y, np.array([yaw]))[0]


def anywhere(track: Track, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, yaw of cars about the road."""
    rng = np.random.default_rng(seed)
    sample = rng.integers(len(track.x), size=count)
    x, y = np.stack([track.x, track.y])[:, sample] + rng.uniform(-4, 4, (2, count))
    return x, y, track.heading[sample] + rng.normal(0, 0.3, count)


@pytest.mark.parametrize("height", VIEWS)
@pytest.mark.parametrize("rays", RAYS)
def test_pictures_have_their_shape_and_a_sky(height: int, rays: int) -> None:
    picture = on_a_straight(height=height, rays=rays)
    sky = VIEWS[height].sky
    assert picture.shape == (height, WIDTH, 3) and picture.dtype == np.uint8
    assert (picture[:sky] == SKY).all()
    assert not (picture[sky:] == SKY).all(-1).any()
    assert len(np.unique(picture[sky:].reshape(-1, 3), axis=0)) > 4


@pytest.mark.parametrize("height", VIEWS)
def test_the_middle_of_a_straight_looks_the_same_on_both_sides(height: int) -> None:
    seen = surfaces(on_a_straight(height=height))
    assert (seen == seen[:, ::-1]).mean() > 0.97, "but for a cell at the borders of line and verge"
    turned = surfaces(on_a_straight(height=height, yaw=0.2))
    assert (turned == turned[:, ::-1]).mean() < 0.95


@pytest.mark.parametrize("height", VIEWS)
@pytest.mark.parametrize("lateral", [0.0, 2.0, -1.5])
def test_edge_lines_lie_where_a_pinhole_projects_them(height: int, lateral: float) -> None:
    seen, (sky, eye, pitch) = surfaces(on_a_straight(lateral, height=height)), VIEWS[height]
    left = 1 - (np.arange(WIDTH) + 0.5) / (WIDTH / 2)
    checked = 0
    for row in range(sky, height):
        distance = eye / ((row - sky + 0.5) * pitch)
        metres = lateral + distance * left  # to the left of the centreline
        if distance < 14:
            assert (seen[row, (np.abs(metres) < 5.6)] == ground.ASPHALT).all()
            lines = np.flatnonzero(seen[row] == ground.WHITE)
            assert (np.abs(np.abs(metres[lines]) - 5.85) < 0.15 + ground.CELL).all()
            for side in (1, -1):
                if np.abs(metres - side * 5.85).min() < 0.02:
                    assert (side * metres[lines] > 0).any()
                    checked += 1
    assert checked > 2


def test_the_eye_is_in_the_nose_of_the_car() -> None:
    seen, (sky, eye, pitch) = surfaces(on_a_straight(yaw=np.pi / 2)), VIEWS[42]
    rows = np.flatnonzero(seen[sky:, WIDTH // 2] == ground.WHITE)
    metres = 2.1 + eye / ((rows + 0.5) * pitch)  # from the middle of the car to the left edge line
    assert len(rows) and (np.abs(metres - 5.85) < 0.15 + ground.CELL).all()


def test_a_car_further_left_sees_the_left_line_further_right() -> None:
    columns = []
    for lateral in (-1.0, 0.0, 1.0):
        seen = surfaces(on_a_straight(lateral, height=84))[60]
        columns.append(np.flatnonzero(seen[: WIDTH // 2] == ground.WHITE).mean())
    assert columns[0] + 3 < columns[1] < columns[2] - 3


def test_a_mirrored_car_sees_the_mirrored_picture() -> None:
    track = circuits.chicane()
    x, y, yaw = anywhere(track, 20)
    here = Camera([track, track.mirrored()])
    which = np.zeros(20, np.int64)
    one, other = here.images(which, x, y, yaw), here.images(which + 1, x, -y, -yaw)
    assert (one[:, :, ::-1] == other).all(-1).mean() > 0.998


@pytest.mark.parametrize("height", VIEWS)
def test_every_pixel_shows_the_ground_that_its_ray_meets(height: int) -> None:
    """Against rays turned by the car's rotation one at a time."""
    track, (sky, eye, pitch) = circuits.named("chicane"), VIEWS[height]
    cells, low = ground.ground(track)
    poses, rng, same = anywhere(track, 100), np.random.default_rng(1), 0
    seen = Camera([track], height=height).images(np.zeros(100, np.int64), *poses)
    for picture, x, y, yaw in zip(seen, *poses, strict=True):
        row, column = rng.integers(sky, height), rng.integers(WIDTH)
        ahead = eye / ((row - sky + 0.5) * pitch)
        left = ahead * (1 - (column + 0.5) / 72)
        met = complex(x, y) + complex(2.1 + ahead, left) * np.exp(1j * yaw)
        at = np.floor(np.array([met.imag, met.real]) / ground.CELL).astype(int) - low[::-1]
        surface = cells[tuple(np.clip(at, 0, np.array(cells.shape) - 1))]
        same += tuple(picture[row, column]) == COLOURS[surface]
    assert same >= 98, "but for rays that meet the border of two cells"


@pytest.mark.parametrize("rays", [2, 6])
def test_more_rays_average_the_surfaces_of_a_pixel(rays: int) -> None:
    """A whole row of asphalt keeps its colour, an edge gets a mixture, and less of it flickers."""
    fine, plain = on_a_straight(rays=rays, height=84), on_a_straight(height=84)
    assert tuple(fine[70, 72]) in {COLOURS[ground.ASPHALT], COLOURS[ground.PATCH]}
    assert np.abs(fine.astype(float).mean((0, 1)) - plain.mean((0, 1))).max() < 2
    assert len(np.unique(fine.reshape(-1, 3), axis=0)) > len(
        np.unique(plain.reshape(-1, 3), axis=0)
    )


@pytest.mark.parametrize("rays", RAYS)
def test_cars_see_the_same_alone_and_beside_others_on_several_tracks(rays: int) -> None:
    tracks = [circuits.named("oval"), circuits.named("chicane")]
    which = np.arange(10) % 2
    poses = [anywhere(track, 10, seed) for seed, track in enumerate(tracks)]
    x, y, yaw = (np.where(which == 0, a, b) for a, b in zip(*poses, strict=True))
    together = Camera(tracks, rays=rays).images(which, x, y, yaw)
    for car in range(10):
        own = Camera([tracks[which[car]]], rays=rays)
        pose = (column[car : car + 1] for column in (x, y, yaw))
        np.testing.assert_array_equal(own.images(np.zeros(1, np.int64), *pose)[0], together[car])


def test_far_from_the_road_there_is_grass() -> None:
    camera, far = Camera([circuits.named("oval")]), np.array([5000.0])
    picture = camera.images(np.zeros(1, np.int64), far, far, np.zeros(1))
    assert set(np.unique(surfaces(picture))) == {ground.GRASS, 9}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_env_shows_pictures_in_every_autoreset_mode(mode: AutoresetMode) -> None:
    env = make_env(
        "paceline/Race-v0",
        engine="vector",
        num_envs=2,
        autoreset=mode.name.lower(),
        kwargs={"track": "oval", "start": "grid", "observation": "camera"},
    )
    race: Any = env.unwrapped
    assert env.single_observation_space.shape == (42, WIDTH, 3)
    first, _ = env.reset(seed=[1, 2])
    assert env.observation_space.contains(first)
    over, actions = np.zeros(2, bool), np.array([[0.9, 1.0], [0.0, 1.0]])
    while not over.any():
        obs, _, terminated, truncated, info = env.step(actions)
        over = terminated | truncated
    assert over.tolist() == [True, False], "the first car leaves the road"
    last = info["final_obs"] if mode == AutoresetMode.SAME_STEP else obs
    assert (surfaces(last[0]) == ground.GRASS).mean() > 0.1 + (surfaces(first[0]) == 0).mean()
    if mode == AutoresetMode.SAME_STEP:
        np.testing.assert_array_equal(obs[1], last[1])
        assert (obs[0] != last[0]).any()
    elif mode == AutoresetMode.NEXT_STEP:
        obs = env.step(actions)[0]
    else:
        obs = env.reset(options={"reset_mask": over})[0]
    np.testing.assert_array_equal(obs, race.observe())
    seen = (surfaces(obs[0]) == surfaces(first[0])).mean()
    assert seen > 0.9, "it is back on the grid"


def test_the_other_view_and_what_an_agent_is_told_of_it() -> None:
    race = Race(1, track="oval", observation="camera", view_height=84, rays=2)
    assert race.reset(seed=0)[0].shape == (1, 84, WIDTH, 3)
    assert describe(lambda **_: race).keys["obs"].dtype == "uint8"


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"view_height": 43}, "view_height=43 is not one of 42, 84"),
        ({"rays": 3}, "rays=3 is not one of 1, 2, 6"),
    ],
)
def test_views_that_are_not_there_are_refused(keywords: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Race(1, track="oval", observation="camera", **keywords)
