"""Thruxton and Anglesey National, read from the data files of the l2r package where it is installed.

"Learn-to-Race: A Multimodal Control Environment for Autonomous Racing", Herman et al. 2021,
arXiv:2103.11575. The package is never executed: its map files are read, and of its module of
poses only the literals.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from envs.racing.track import Track


def thruxton() -> Track:
    """Thruxton, 3.77 km, clockwise. Raises ValueError where l2r is not installed."""
    return _read("thruxton", "thruxton/ThruxtonFromGoogle_2.json")


def anglesey() -> Track:
    """Anglesey National, 1.91 km, clockwise. Raises ValueError where l2r is not installed."""
    return _read("anglesey", "anglesey/AngleseyFromGoogle.json")


def _read(name: str, file: str) -> Track:
    data = json.loads((_folder(name) / file).read_text("utf-8"))
    centre, inside, outside = (np.array(data[key]) for key in ("Centre", "Inside", "Outside"))
    return Track.build(name, centre, left=outside, right=inside)


def _folder(name: str) -> Path:
    found = importlib.util.find_spec("l2r")
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"env.kwargs.track={name} needs the map files of the l2r package: "
            "pip install --no-deps l2r==0.0.2, or choose oval, chicane or random"
        )
    return Path(found.submodule_search_locations[0]) / "track"
