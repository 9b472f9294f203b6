"""Pictures of cars at random poses, and how well numbers made of a picture tell the pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs.racing.camera import Camera
from envs.racing.track import Track

AHEAD = 15.0  # metres before the car, of the curvature that is asked for
RIDGE = 1e-3  # penalty of the regression, as a share of the number of pictures


class Poses(NamedTuple):
    """Cars on tracks. which: int64 [m], the number of the track; sample: int64 [m] of its
    centreline; lateral: metres to the left; angle: radians to the left of the road's direction."""

    which: np.ndarray
    sample: np.ndarray
    lateral: np.ndarray
    angle: np.ndarray


def draw(tracks: Sequence[Track], count: int, rng: np.random.Generator) -> Poses:
    """Poses all over the tracks, by the metre: within 90 % of the half-width and about 7 degrees
    along the road; one in eight up to a third of it outside the road and at up to 35 degrees."""
    lengths = np.array([track.length for track in tracks])
    which = rng.choice(len(tracks), count, p=lengths / lengths.sum())
    sample = (rng.random(count) * np.array([len(track.x) for track in tracks])[which]).astype(int)
    astray = rng.random(count) < 1 / 8
    share = rng.uniform(-1, 1, count) * np.where(astray, 1.3, 0.9)
    angle = np.where(astray, rng.uniform(-0.6, 0.6, count), rng.normal(0, 0.12, count))
    edges = [
        (tracks[w].left if s > 0 else tracks[w].right)[i]
        for w, i, s in zip(which, sample, share, strict=True)
    ]
    return Poses(which, sample, share * np.array(edges), angle)


def look(camera: Camera, poses: Poses) -> np.ndarray:
    """uint8 [m, height, 144, 3]: the pictures of cars at these poses."""
    at = list(zip(poses.which, poses.sample, strict=True))
    x, y, heading = (
        np.array([getattr(camera.tracks[w], name)[i] for w, i in at])
        for name in ("x", "y", "heading")
    )
    x, y = x - poses.lateral * np.sin(heading), y + poses.lateral * np.cos(heading)
    return camera.images(poses.which, x, y, heading + poses.angle)


def targets(tracks: Sequence[Track], poses: Poses) -> dict[str, np.ndarray]:
    """What latents are asked for: float64 [m] each."""
    ahead = [
        tracks[w].curvature[(i + round(AHEAD / tracks[w].spacing)) % len(tracks[w].x)]
        for w, i in zip(poses.which, poses.sample, strict=True)
    ]
    name = f"curvature {AHEAD:.0f} m ahead"
    return {"lateral position": poses.lateral, "heading": poses.angle, name: np.array(ahead)}


def told(train: np.ndarray, known: np.ndarray, test: np.ndarray, asked: np.ndarray) -> float:
    """R2 on `asked` (float64 [k]) of a ridge regression from numbers `test` [k, d], which was
    fitted on `train` [m, d] and `known` [m]; 1 is perfect, 0 as good as the mean."""
    shift, scale = train.mean(0), train.std(0) + 1e-9
    a, b = ((x.astype(np.float64) - shift) / scale for x in (train, test))
    weights = np.linalg.solve(
        a.T @ a + RIDGE * len(a) * np.eye(a.shape[1]), a.T @ (known - known.mean())
    )
    left = asked - known.mean() - b @ weights
    return float(1 - (left**2).sum() / ((asked - asked.mean()) ** 2).sum())
