"""The tree drawn in paradigms/errors.py is the one that the code has."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from conf.sentences import Wrong
from paradigms import errors
from paradigms.session.checkpoint import Damaged, Unsavable

ELSEWHERE = {"Damaged": Damaged, "Unsavable": Unsavable, "Wrong": Wrong, "Exception": Exception}


def drawn() -> dict[str, str]:
    """The class under which each class is drawn."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^( {4,})([A-Z]\w+)(?= {2,}|$)", errors.__doc__ or "", re.M):
        above = [(depth, other) for depth, other in above if depth < len(indent)]
        if above:
            parents[name] = above[-1][1]
        above.append((len(indent), name))
    return parents


def test_every_error_is_drawn_under_its_base_class() -> None:
    here = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    classes = here | ELSEWHERE | {"BaseException": BaseException}
    parents = drawn()
    assert parents.keys() >= here.keys()
    for name, parent in parents.items():
        assert classes[parent] in classes[name].__bases__, f"{name} is drawn under {parent}"


def test_a_failed_role_is_named_with_its_traceback() -> None:
    error = errors.Failed("worker-1", "raised ValueError: no", "Traceback ...")
    assert str(error) == "role worker-1 raised ValueError: no\n\nTraceback ..."
    assert (error.name, error.cause, error.trace) == (
        "worker-1", "raised ValueError: no", "Traceback ..."
    )  # fmt: skip


@pytest.mark.parametrize(
    "error", [errors.Failed("worker-1", "hangs", "Traceback ..."), errors.ForkServerDied()]
)
def test_a_failure_passes_from_one_process_to_another(error: errors.Failed) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.cause, again.trace) == (str(error), error.cause, error.trace)
