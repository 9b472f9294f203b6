"""Thruxton and Anglesey National, from the data files of the l2r package where it is installed.

"Learn-to-Race: A Multimodal Control Environment for Autonomous Racing", Herman et al. 2021,
arXiv:2103.11575. The package is never executed: its map files are read, and of its module of
poses only the literals.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import numpy as np

from envs.racing.track import Track

MAPS = {
    "thruxton": "thruxton/ThruxtonFromGoogle_2.json",
    "anglesey": "anglesey/AngleseyFromGoogle.json",
}


def thruxton() -> Track:
    """Thruxton, 3.77 km, clockwise. Raises ValueError where l2r is not installed."""
    return _read("thruxton")


def anglesey() -> Track:
    """Anglesey National, 1.91 km, clockwise. Raises ValueError where l2r is not installed."""
    return _read("anglesey")


def poses(name: str) -> np.ndarray:
    """Where the package starts cars on "thruxton" or "anglesey": float64 [20, 3] of metres east
    and north and radians counter-clockwise from east; first its random positions, then the starts
    of its segments. The package has x and y negated, and the yaw clockwise from north."""
    module = ast.parse((_folder(name) / "data.py").read_text("utf-8"))
    lists = {
        target.id: statement.value
        for statement in module.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for circuit in ast.literal_eval(lists["SUPPORTED_RACETRACKS"]):
        if circuit["trackmap"] == MAPS[name]:
            x, y, _, yaw = np.array(circuit["random_pos"] + circuit["segments"]).T
            return np.stack([-x, -y, np.pi / 2 - yaw], 1)
    raise ValueError(f"the installed l2r package has no poses on {name}; l2r==0.0.2 has them")


def reference(name: str) -> tuple[float, float, float]:
    """Latitude and longitude in degrees, and height in metres, of the point from which the map of
    "thruxton" or "anglesey" measures metres east and north."""
    latitude, longitude, height = json.loads((_folder(name) / MAPS[name]).read_text("utf-8"))[
        "ReferencePoint"
    ]
    return latitude, longitude, height


def _read(name: str) -> Track:
    data = json.loads((_folder(name) / MAPS[name]).read_text("utf-8"))
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
