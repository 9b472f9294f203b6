"""Arrays as bytes and back, in NumPy and in torch."""

from __future__ import annotations

import pickle

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from agents.encoders.combined import Combined
from agents.encoders.convolutions import Conv
from agents.packed import Packed

LENGTHS = st.lists(st.integers(1, 4), max_size=3)
SHAPES = st.lists(st.tuples(*[st.integers(1, 5)] * 2, st.integers(1, 3)), max_size=3)


def filled(space: Packed, leading: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Arrays of random bits, those of NaNs among them."""
    draws = np.random.default_rng(seed)
    sizes = {name: (4 * n,) for name, n in space.vectors.items()} | space.images
    arrays = {name: draws.integers(0, 256, (*leading, *n), np.uint8) for name, n in sizes.items()}
    return {name: x.view(np.float32) if name in space.vectors else x for name, x in arrays.items()}


@given(LENGTHS, SHAPES, st.lists(st.integers(0, 3), max_size=2), st.integers(0, 99))
def test_arrays_come_back_with_their_bits(
    lengths: list[int], shapes: list[tuple[int, int, int]], leading: list[int], seed: int
) -> None:
    vectors = {f"v{k}": n for k, n in enumerate(lengths)}
    space = Packed(vectors, {f"i{k}": shape for k, shape in enumerate(shapes)})
    if not space.spans:
        return
    arrays = filled(space, (*leading,), seed)
    packed = space.pack(arrays)
    assert packed.shape == (*leading, *space.shape) and space.shape[0] % 4 == 0
    split = space.split(packed)
    assert {*split} == {*arrays}
    for name, array in arrays.items():
        assert split[name].dtype == array.dtype and split[name].shape == array.shape
        assert split[name].tobytes() == array.tobytes()
        assert np.shares_memory(split[name], packed) or not array.size
    numbers = np.concatenate([np.zeros((*leading, 0), np.float32), *map(arrays.get, vectors)], -1)
    assert space.numbers(packed).tobytes() == numbers.tobytes()


def test_torch_sees_the_same_arrays_without_a_copy() -> None:
    space = Packed({"a": 2, "b": 1}, {"left": (8, 9, 1), "right": (9, 9, 3)})
    encoders = [Conv(s, 4, generator=torch.Generator()) for s in space.images.values()]
    for leading in ((), (3,), (2, 3)):
        packed = space.pack(filled(space, leading, seed=1))
        whole = torch.from_numpy(packed)
        for rows in (whole, whole[1:], whole[..., :]) if leading else (whole,):
            split = Combined(space, encoders).split(rows)
            for name, array in space.split(rows.numpy()).items():
                assert_array_equal(split[name].numpy(), array)
                assert split[name].untyped_storage().data_ptr() == whole.data_ptr()


def test_a_space_says_what_it_is_made_of_and_travels() -> None:
    space = Packed({"speed": 2}, {"camera": (8, 8, 3)})
    assert str(space) == "Dict(speed: float32 [2], camera: uint8 [8, 8, 3])"
    again = pickle.loads(pickle.dumps(space))
    assert again == space and again.spans == space.spans and again.contains(space.sample())
    assert space != Packed({"speeds": 2}, {"camera": (8, 8, 3)})
    assert space != Box(0, 255, space.shape, np.uint8)
    assert batch_space(space, 3).shape == (3, *space.shape)
