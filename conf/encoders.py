"""Autoencoders that encode.py has trained: NAME.safetensors with the weights, NAME.json with what
they read. A file may be somebody else's, so it is read as a policy is, and nothing is built of it
that is larger than its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.sentences import Wrong, line, shown

if TYPE_CHECKING:
    from agents.encoders.trained import Trained

KIND = "autoencoder"
MAKES_ONE = "python encode.py env=NAME makes one"


def write(path: Path, trained: Trained, about: Mapping[str, Any]) -> None:
    """Writes `path` (.safetensors) and, beside it, .json, with `about`. Raises OSError."""
    import torch

    from paradigms.session import sealed

    weights = {str(i): torch.from_numpy(array) for i, array in enumerate(trained.weights)}
    said = {"kind": KIND, "shape": trained.shape, "latents": trained.latents}
    sealed.write(path, weights, {**about, **said})


def read(name: Any, key: str) -> Trained:
    """What the file of that name holds. key: the setting that names it. Raises Wrong."""
    from agents.encoders.trained import Trained
    from paradigms.session import sealed
    from paradigms.session.checkpoint import Damaged

    if not isinstance(name, str) or not name.endswith(".safetensors"):
        raise Wrong(f"{key}={shown(name)} must be a .safetensors file; {MAKES_ONE}")
    if not (path := Path(name)).is_file():
        raise Wrong(f"{key}={shown(name)} is no file; {MAKES_ONE}")
    try:
        with sealed.reading(path, "an autoencoder"):
            about, weights = sealed.read(path)
            if about.get("kind") != KIND:
                raise ValueError(f"it is none; {MAKES_ONE}")
            arrays = tuple(weights[str(i)].numpy() for i in range(len(weights)))
            if any(str(array.dtype) != "float32" or not finite(array) for array in arrays):
                raise ValueError("its weights are not finite float32 numbers")
            rows, columns, channels = (int(n) for n in about["shape"])
            return Trained(name, (rows, columns, channels), int(about["latents"]), arrays)
    except Damaged as error:
        raise Wrong(f"{key}: {line(error)}") from error


def finite(array: Any) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())
