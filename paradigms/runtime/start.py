"""How a child process starts: from a fork server that has loaded torch, or by spawn where there is
no fork server; the running process is never forked."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, spawn
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

PRELOAD = (f"{__package__}.server", "torch", "numpy", "gymnasium", f"{__package__}.child")
LAST = f"{__package__}.frozen"
_MAIN = ("init_main_from_name", "init_main_from_path")
_lock = threading.Lock()


def context(*modules: str) -> Any:
    """The multiprocessing context of every child and of the locks they share. modules: what the
    fork server loads beside PRELOAD, if it has not been started; one that is not there is left out.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([*PRELOAD, *modules, LAST])
    return server


def warm(*modules: str) -> None:
    """Starts the fork server, returns at once: it loads torch while its parent does other things.
    modules: what all children will import, so that each starts sooner.

    Call it early, before importing torch. Environment variables set later do not reach children.
    """
    if context(*modules).get_start_method() == "forkserver":
        with _lock, _plain_preparation():
            forkserver.ensure_running()


def start(target: Callable[..., None], name: str, *args: Any) -> BaseProcess:
    """Starts target(*args) in a process that is never daemonic, so that it may have children.

    Returns when the fork server has forked it; waits for the server if that still loads torch.
    `target` lives in an importable module. Unlike multiprocessing, the script that is running is
    imported in the child only if the arguments (see Arguments) refer to it.
    """
    process: BaseProcess = context().Process(target=target, name=name, args=args, daemon=False)
    with _lock, _plain_preparation():
        process.start()
    return process


class Arguments:
    """Arguments of a child, pickled in the parent while the child starts. The child gets them as
    Pickled and loads them when it can report errors, so that one in there has a traceback."""

    def __init__(self, *values: Any) -> None:
        self.values = values
        full = spawn.get_preparation_data("arguments")
        self._main = {key: full[key] for key in _MAIN if key in full}

    def __reduce__(self) -> tuple[Any, ...]:
        data = bytes(ForkingPickler.dumps(self.values))
        return Pickled, (data, self._main if b"__main__" in data else {})


class Pickled:
    """Arguments as they arrive in the child."""

    def __init__(self, data: bytes, main: dict[str, str]) -> None:
        self._data, self._main = data, main

    def load(self) -> tuple[Any, ...]:
        """The values. Raises what unpickling raises."""
        spawn.prepare(self._main)
        values: tuple[Any, ...] = ForkingPickler.loads(self._data)
        return values


@contextmanager
def _plain_preparation() -> Iterator[None]:
    """Children inherit sys.path and the folder, but neither the running script nor a start method
    that only the parent knows (joblib's workers have 'loky', which no other process can find)."""
    original = spawn.get_preparation_data

    def plain(name: str) -> dict[str, Any]:
        data = {key: value for key, value in original(name).items() if key not in _MAIN}
        if data["start_method"] not in multiprocessing.get_all_start_methods():
            data["start_method"] = "spawn"
        return data

    spawn.get_preparation_data = plain
    try:
        yield
    finally:
        spawn.get_preparation_data = original
