"""Images shifted at random: the augmentation of DrQ and DrQ-v2 (Kostrikov et al. 2021,
arXiv:2004.13649; Yarats et al. 2022, arXiv:2107.09645, section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.lib.stride_tricks import sliding_window_view

from agents.base import Spec, at_least
from agents.packed import Packed


def check(spec: Spec, pixels: int) -> None:
    """Raises ValueError if observations are no images that can be shifted by so many pixels."""
    at_least(0, "replay", shift=pixels)
    space = spec.observation_space
    image = isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3
    if pixels and not (image or isinstance(space, Packed)):
        raise ValueError(
            f"replay.shift={pixels} is for uint8 images [height, width, channels], but the env has"
            f" {space}: set replay.shift=0"
        )
    if pixels >= (least := min((space.shape or (pixels + 1,))[:2])):
        raise ValueError(
            f"replay.shift={pixels} must be smaller than the images' least side, {least} pixels"
        )


def moved(
    obs: np.ndarray, space: Packed | None, pixels: int, generator: torch.Generator
) -> np.ndarray:
    """A copy of observations [N, ...] whose images are `shifted`: of packed ones, whose `space` is
    given, each image by itself, and the vectors stay."""
    if space is None:
        return shifted(obs, pixels, generator)
    arrays = space.split(obs)
    images = {name: shifted(arrays[name], pixels, generator) for name in space.images}
    return space.pack(arrays | images)


def shifted(images: np.ndarray, pixels: int, generator: torch.Generator) -> np.ndarray:
    """Images [N, H, W, C], each moved by up to `pixels` along each axis, all channels alike; what
    comes in at an edge repeats it. A copy, laid out as [N, C, H, W].

    The papers pad by 4 pixels and crop at random. (DrQ-v2 interpolates between pixels, at whole
    numbers of them, which is the same.)
    """
    down, right = torch.randint(2 * pixels + 1, (2, len(images)), generator=generator).numpy()
    planes = np.moveaxis(images, -1, 1)
    none, both = (0, 0), (pixels, pixels)
    padded = np.pad(planes, (none, none, both, both), mode="edge")
    crops = sliding_window_view(padded, planes.shape[2:], axis=(2, 3))
    return np.moveaxis(crops[np.arange(len(images)), :, down, right], 1, -1)
