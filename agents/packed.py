"""Observations of several arrays, images among them, as one array of bytes: so they travel, are
stored and drawn like any image, and nothing on the way has to know what they are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

Shape = tuple[int, int, int]  # rows, columns and channels of an image


class Packed(Box):
    """uint8 [bytes]: vectors, as the bytes of their float32 numbers, then uint8 images.

        packed = space.pack({"speed": speed, "camera": camera})    # the env
        space.split(packed)["camera"]                              # whoever reads it: a view

    vectors: the length of each by name. images: the shape of each. spans: the bytes of each array.
    floats: how many numbers the vectors have together; they are the first 4 x floats bytes. Bytes
    are rounded up to a multiple of 4, so that those of a batch can be viewed as float32.
    """

    def __init__(self, vectors: Mapping[str, int], images: Mapping[str, Shape]) -> None:
        self.vectors, self.images = dict(vectors), dict(images)
        self.floats = sum(vectors.values())
        sizes = {name: 4 * length for name, length in vectors.items()}
        sizes |= {name: math.prod(shape) for name, shape in images.items()}
        self.spans: dict[str, slice] = {}
        end = 0
        for name, size in sizes.items():
            self.spans[name] = slice(end, end + size)
            end += size
        super().__init__(0, 255, (-(-end // 4) * 4,), np.uint8)

    def pack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """New bytes [..., bytes] of vectors [..., length] and images [..., H, W, C] by name."""
        some, span = next(iter(self.spans.items()))
        leading = np.shape(arrays[some])[: -1 if some in self.vectors else -3]
        packed = np.zeros((*leading, *self.shape), np.uint8)
        for name, span in self.spans.items():
            if name in self.vectors:
                packed[..., span].view(np.float32)[...] = arrays[name]
            else:
                packed[..., span] = np.reshape(arrays[name], (*leading, span.stop - span.start))
        return packed

    def split(self, packed: np.ndarray) -> dict[str, np.ndarray]:
        """Views of [..., bytes] by name: vectors float32 [..., length], images [..., H, W, C]."""
        views = {name: packed[..., self.spans[name]].view(np.float32) for name in self.vectors}
        for name, shape in self.images.items():
            views[name] = packed[..., self.spans[name]].reshape(*packed.shape[:-1], *shape)
        return views

    def numbers(self, packed: np.ndarray) -> np.ndarray:
        """A view of all vectors, float32 [..., floats]."""
        return packed[..., : 4 * self.floats].view(np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and all(
            [*mine.items()] == [*theirs.items()]
            for mine, theirs in ((self.vectors, other.vectors), (self.images, other.images))
        )

    def __repr__(self) -> str:
        shown: dict[str, Any] = {name: f"float32 [{n}]" for name, n in self.vectors.items()}
        shown |= {name: f"uint8 {[*shape]}" for name, shape in self.images.items()}
        return f"Dict({', '.join(f'{name}: {what}' for name, what in shown.items())})"
