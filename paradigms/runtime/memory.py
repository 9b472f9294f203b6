"""Arrays in anonymous shared memory: no file in /dev/shm, nothing to unlink; the memory is freed
when the last process that maps it is gone."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch


class Shared:
    """A zero-filled array that parent and children share; pass it as a process argument.

    shape, dtype: NumPy's. `array` (np.ndarray) and `tensor` (torch, CPU) are views of the same
    memory; nothing locks it. Pages are taken when first touched, so a large array costs nothing
    until it is filled. Pickle it only as an argument of a process that is being started. Raises
    OSError if the system has no memory or no file descriptor left.
    """

    def __init__(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = np.dtype(dtype)
        self._fd = anonymous_file(max(1, self.nbytes))
        self._map()

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * int(self.dtype.itemsize)

    def _map(self) -> None:
        self._mmap = mmap.mmap(self._fd, max(1, self.nbytes))
        self.array: np.ndarray = np.frombuffer(
            self._mmap, self.dtype, count=int(np.prod(self.shape, dtype=np.int64))
        ).reshape(self.shape)

    @property
    def tensor(self) -> torch.Tensor:
        return torch.from_numpy(self.array)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.shape, self.dtype.str, reduction.DupFd(self._fd)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.shape, dtype, duplicate = state
        self.dtype = np.dtype(dtype)
        self._fd = duplicate.detach()
        self._map()

    def __del__(self) -> None:
        if (fd := self.__dict__.pop("_fd", None)) is not None:
            os.close(fd)


def anonymous_file(size: int) -> int:
    """The descriptor of a new file without a name, `size` zero bytes. OSError as it comes."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("paceline", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="paceline-")
        os.unlink(path)
    os.ftruncate(fd, size)
    return fd
