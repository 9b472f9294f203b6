"""Images shifted at random, against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from agents.base import Spec
from agents.packed import Packed
from paradigms.experience.prioritized import Prioritized
from paradigms.experience.shift import check, moved, shifted
from paradigms.experience.uniform import Uniform
from tests.experience.model import make as of_vectors
from tests.experience.test_frames import GOES_ON, TERMINATED, Film, make, spec, thin

IMAGES = np.random.default_rng(0).integers(0, 256, (400, 6, 5, 2), np.uint8)


def crop(image: np.ndarray, pixels: int, down: int, right: int) -> np.ndarray:
    """[H, W, C], pixel by pixel."""
    rows, columns, _ = image.shape
    moved = np.empty_like(image)
    for i in range(rows):
        for j in range(columns):
            source = (
                min(max(i + down - pixels, 0), rows - 1),
                min(max(j + right - pixels, 0), columns - 1),
            )
            moved[i, j] = image[source]
    return moved


def test_images_are_padded_by_their_edges_and_cropped_at_random() -> None:
    pixels = 2
    seen = shifted(IMAGES, pixels, torch.Generator().manual_seed(0))
    draws = torch.randint(5, (2, len(IMAGES)), generator=torch.Generator().manual_seed(0)).numpy()
    assert seen.shape == IMAGES.shape and seen.dtype == np.uint8
    for image, one, down, right in zip(IMAGES, seen, *draws, strict=True):
        np.testing.assert_array_equal(one, crop(image, pixels, down, right))
    counts = np.bincount(draws[0] * 5 + draws[1], minlength=25)
    assert counts.min() > 4 and counts.max() < 40  # 16 expected of each


@pytest.mark.parametrize("kind", [Uniform, Prioritized])
def test_a_replay_shifts_what_it_draws_and_nothing_else(kind: type[Uniform]) -> None:
    of = spec(3, 1, (8, 8))
    film, plain = Film(of, next_step=False), make(kind, of, 40)
    shape = {"capacity": 40, "writers": 2, "num_envs": 2, "rollout_length": 3, "gamma": 0.5}
    moving = kind(of, shift=2, **shape)
    for number in range(20):
        whole = film.play(number % 2, [GOES_ON] * 5 + [TERMINATED])
        for replay in (plain, moving):
            replay.add(thin(replay.layout, whole))
    one, other = (r.sample(50, torch.Generator().manual_seed(1)) for r in (plain, moving))
    again = moving.sample(50, torch.Generator().manual_seed(1))
    count = 0
    for name in one:
        assert torch.equal(other[name], again[name])
        if name not in ("obs", "next_obs"):
            assert torch.equal(one[name], other[name])
            continue
        for image, seen in zip(one[name].numpy(), other[name].numpy(), strict=True):
            ways = [(d, r) for d in range(5) for r in range(5)]
            (way,) = [w for w in ways if (crop(image, 2, *w) == seen).all()]
            count += way != (2, 2)
    assert count > 80


def test_of_packed_observations_the_images_are_shifted_each_by_itself() -> None:
    space = Packed({"speed": 2}, {"left": (8, 8, 1), "right": (9, 8, 3)})
    drawn = np.random.default_rng(0).integers(0, 256, (30, *space.shape), np.uint8)
    before = drawn.copy()
    generator = torch.Generator().manual_seed(0)
    seen = moved(drawn, space, 2, generator)
    np.testing.assert_array_equal(drawn, before)
    split, whole = space.split(seen), space.split(drawn)
    assert split["speed"].tobytes() == whole["speed"].tobytes()
    generator.manual_seed(0)
    for name in space.images:
        np.testing.assert_array_equal(split[name], shifted(whole[name], 2, generator))
        assert (split[name] != whole[name]).any((1, 2, 3)).sum() > 20
    check(Spec(space, Box(-1, 1, (1,))), pixels=2)


def test_vectors_are_not_shifted() -> None:
    with pytest.raises(ValueError, match=r"^replay\.shift=4 is for uint8 images .*replay\.shift=0"):
        of_vectors(shift=4)
    with pytest.raises(ValueError, match=r"^replay\.shift=-1 must be 0 or more"):
        of_vectors(shift=-1)
