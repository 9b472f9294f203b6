"""Shared memory that lets other processes go ahead at each access (see tests/interleavings.py).

What is larger than eight bytes is read and written in two pieces, two thirds and the rest: so a
replay's last transition and the observation after it are in different ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.runtime import journal, lock
from paradigms.runtime.memory import Shared
from tests import interleavings
from tests.interleavings import access

ATOMIC = 8  # bytes of which nobody sees a half


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Every `Shared` that a scenario makes is watched, its arrays and its tensors; and so are the
    locks that it takes, and what it appends to a journal."""

    def make(shared: Shared, shape: int | tuple[int, ...], dtype: Any = np.float32) -> None:
        shared.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        shared.dtype = np.dtype(dtype)
        array = np.zeros(shared.shape, shared.dtype).view(Watched)
        schedule = interleavings.now
        array.key = None if schedule is None else next(schedule.names)
        shared.array = array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shared, "__init__", make)
        patch.setattr(Shared, "tensor", property(lambda shared: WatchedTensor(shared.array)))
        patch.setattr(lock, "fcntl", RecordLocks())
        patch.setattr(journal, "os", Appending())
        yield


class RecordLocks:
    """fcntl for threads that are to be processes."""

    LOCK_EX, LOCK_NB, LOCK_UN = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN

    def lockf(self, file: int, how: int) -> None:
        schedule = interleavings.now
        if schedule is None or schedule.current is None:  # a process is unwound
            return
        access(("lock", file), write=True)
        me = schedule.current.number
        if how == self.LOCK_UN:
            del schedule.locks[file]
        elif schedule.locks.setdefault(file, me) != me:
            schedule.writes -= 1  # nothing has changed
            raise BlockingIOError


class Appending:
    """os, where each write is an access."""

    def write(self, file: int, data: bytes) -> int:
        access("journal", write=True)
        return os.write(file, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class Watched(np.ndarray):
    """An array of a `Shared`, or a view of one; copies and scalars of it are plain."""

    key: Hashable = None

    def __array_finalize__(self, other: Any) -> None:
        self.key = getattr(other, "key", None)

    @property
    def plain(self) -> np.ndarray:
        return self.view(np.ndarray)

    def whole(self) -> np.ndarray:
        """A copy."""
        return self._read(self.plain.copy)

    def __getitem__(self, index: Any) -> Any:
        plain = self.plain
        found = plain[index]
        if isinstance(found, np.ndarray) and np.may_share_memory(found, plain):
            view = found.view(Watched)
            view.key = self.key
            return view
        return self._read(lambda: plain[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        value, plain = _plain(value), self.plain
        access(self.key, write=True)
        before = np.array(plain[index])
        if before.nbytes <= ATOMIC:
            plain[index] = value
            return
        after = before.copy()
        after[...] = value
        plain[index] = _pieces(after, before)
        access(self.key, write=True)
        plain[index] = _pieces(np.array(plain[index]), after)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        call = getattr(ufunc, method)
        if method == "at" and isinstance(inputs[0], Watched):
            access(inputs[0].key, write=True)
            return call(inputs[0].plain, *map(_plain, inputs[1:]), **options)
        result = call(*map(_plain, inputs), **options)
        if out is None:
            return result
        (target,) = out
        target[...] = result
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return function(*_plain(args), **{name: _plain(value) for name, value in options.items()})

    def _read(self, look: Callable[[], Any]) -> Any:
        access(self.key, write=False)
        first = look()
        if first.nbytes <= ATOMIC:
            return first
        first = np.array(first)
        access(self.key, write=False)
        return _pieces(first, np.array(look()))


class WatchedTensor:
    """The tensor of a `Shared`, or a view of one, as far as weights use it."""

    def __init__(self, array: Watched) -> None:
        self.array = array

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.array.shape)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        found = self.array[index]
        return WatchedTensor(found) if isinstance(found, Watched) else torch.as_tensor(found)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[index] = np.asarray(_tensor(value))

    def copy_(self, other: Any) -> WatchedTensor:
        self[...] = other
        return self

    def __getattr__(self, name: str) -> Any:
        """A method of the tensor: reads it whole and, if it works in place, writes it whole."""
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            own = _tensor(self)
            result = getattr(own, name)(*map(_tensor, args), **options)
            return self.copy_(own) if name.endswith("_") else result

        return call

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), options: Any = None
    ) -> Any:
        return function(*map(_tensor, args), **(options or {}))


def _reading(name: str) -> Any:
    def read(array: Watched, *args: Any, **options: Any) -> Any:
        return getattr(array.whole(), name)(*args, **options)

    return read


for _name in (
    *("all", "any", "argmax", "argmin", "astype", "copy", "item", "max", "min", "sum", "tobytes"),
    *("tolist", "__bool__", "__float__", "__index__", "__int__"),
):
    setattr(Watched, _name, _reading(_name))


def _plain(value: Any) -> Any:
    """Reads what is watched; also in lists and tuples."""
    if isinstance(value, Watched):
        return value.whole()
    if isinstance(value, WatchedTensor):
        return _tensor(value)
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value.array.whole()) if isinstance(value, WatchedTensor) else value


def _pieces(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first piece of one array's bytes and the second piece of another's of the same form."""
    at = max(ATOMIC, 2 * first.nbytes // 3 // ATOMIC * ATOMIC)
    joined = bytearray(first.tobytes()[:at] + second.tobytes()[at:])
    return np.frombuffer(joined, first.dtype).reshape(first.shape)
