"""Circuits that need no data: an oval, one with every kind of bend, and a random one a seed.

A random one goes round star-shaped corners: either it flows, as a Catmull-Rom spline ("A class of
local interpolating splines", Catmull and Rom 1974), or it has straights, bends of constant radius
and hairpins. Into its straightest places chicanes and esses are put, as bumps of the centreline.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs.racing import l2r
from envs.racing.track import Track

NAMES = ("thruxton", "anglesey", "oval", "chicane", "random")
RADII = (12.0, 15.0, 20.0, 30.0)  # metres, of which a random circuit's tightest bend gets one
MOST = 1000  # random circuits at a time, each of which takes some milliseconds
APART = 4.0  # metres between the edges of two stretches of a random circuit, at least


@functools.cache
def named(track: str, circuit: int = 0) -> Track:
    """The circuit with a name of NAMES; `circuit` is the seed of a random one. It is built once a
    process. Raises ValueError for another name, and for one whose data is not installed."""
    if track == "random":
        return random(circuit)
    makers = {"thruxton": l2r.thruxton, "anglesey": l2r.anglesey, "oval": oval, "chicane": chicane}
    if track not in makers:
        raise ValueError(f"env.kwargs.track={track} is no circuit: choose {', '.join(NAMES)}")
    return makers[track]()


def oval() -> Track:
    """Two straights of 400 m and two half circles of 60 m radius, 12 m wide, counter-clockwise."""
    turn = 60.0 * np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 400))
    line = np.concatenate([[-60j], 200 + turn, -200 - turn])
    return Track.build("oval", _points(line), 6.0, 6.0)


def chicane() -> Track:
    """1.5 km, 11 m wide: straights, a chicane of 15 m radius, hairpins, sweepers and esses,
    counter-clockwise."""
    pieces = [
        (150, 0), (22, 16), (40, -16), (22, 16), (110, 0), (95, 32), (70, 0), (70, -55),
        (80, 60), (60, 0), (82, 28), (50, 0), (30, -28), (45, 30), (40, -28), (80, 0),
        (70, -60), (90, 40), (120, 0), (90, 45), (100, 0),
    ]  # fmt: skip
    profile = np.concatenate([np.full(m, 1 / r if r else 0.0) for m, r in pieces])
    return Track.build("chicane", _points(_closed(profile, 1.0)), 5.5, 5.5)


def random(seed: int) -> Track:
    """The random circuit of a seed, the same in every process: about 1 to 3.5 km, 9 to 15 m wide,
    tightest radius 12 m or more, one half clockwise; between two stretches of it 4 m are free."""
    rng = np.random.default_rng([seed, 0x7ACE])
    while True:
        track = _draw(f"random {seed}", rng)
        if track is not None:
            return track


def _points(line: np.ndarray) -> np.ndarray:
    return np.stack([line.real, line.imag], 1)


def _closed(profile: np.ndarray, turns: float, rounds: int = 30) -> np.ndarray:
    """The line of a curvature profile (1/m, by the metre), closed by the smallest change of its
    squared curvatures: Gauss-Newton steps on where it ends and how far it has turned."""
    profile = profile.copy()
    for _ in range(rounds):
        heading = np.cumsum(profile) - profile / 2
        line = np.append(0, np.cumsum(np.exp(1j * heading)))
        miss = np.array([line[-1].real, line[-1].imag, profile.sum() - 2 * np.pi * turns])
        rest = line[-1] - (line[:-1] + line[1:]) / 2
        slopes = np.stack([-rest.imag, rest.real, np.ones_like(profile)])
        profile -= slopes.T @ np.linalg.solve(slopes @ slopes.T, miss)
    return line[:-1]


def _draw(name: str, rng: np.random.Generator) -> Track | None:
    """One attempt at a random circuit; None where it is too tight or comes too close to itself."""
    half, radius, length = rng.uniform(4.5, 7.5), rng.choice(RADII), rng.uniform(1000, 3500)
    corners = _corners(rng, length)
    if rng.random() < 0.5:
        track = _flowing(name, corners, half, radius)
    else:
        track = _straights(name, corners, half, radius, rng)
    track = _from_straight(_with_bumps(track, rng, half))
    if 1 / np.abs(track.curvature).max() < RADII[0] or _too_close(track, 2 * half + APART):
        return None
    return replace(track.mirrored(), name=name) if rng.random() < 0.5 else track


def _corners(rng: np.random.Generator, length: float) -> np.ndarray:
    """7 to 13 corners, complex [m], counter-clockwise, `length` metres round."""
    count = rng.integers(7, 14)
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count
    corners = rng.uniform(0.35, 1, count) * np.exp(1j * angles)
    return corners * length / np.abs(np.diff(corners, append=corners[0])).sum()


def _flowing(name: str, corners: np.ndarray, half: float, radius: float) -> Track:
    """A Catmull-Rom spline through the corners, smoothed until no bend is tighter than `radius`."""
    p0, p1, p2, p3 = (np.roll(corners, shift) for shift in (1, 0, -1, -2))
    t = np.linspace(0, 1, 60, endpoint=False)[:, None]
    line = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
    line = ((line + (3 * p1 - p0 - 3 * p2 + p3) * t**3) / 2).T.ravel()
    for sigma in np.geomspace(3, 40, 10):
        track = Track.build(name, _points(line), half, half, sigma=sigma)
        if 1 / np.abs(track.curvature).max() >= radius:
            break
    return track


def _straights(
    name: str, corners: np.ndarray, half: float, radius: float, rng: np.random.Generator
) -> Track:
    """Straights from corner to corner, cut off by arcs of `radius` to 6 times `radius`; one time in
    two the corner farthest out becomes the half circle of a hairpin with a straight on each side.
    """
    radii = radius * 6 ** rng.uniform(0, 1, len(corners))
    if rng.random() < 0.5:
        far, wide = int(np.abs(corners).argmax()), max(radius, half + APART) * rng.uniform(1.1, 1.4)
        out, deep = corners[far] / np.abs(corners[far]), rng.uniform(60, 0.6 * np.abs(corners[far]))
        finger = corners[far] + out * (wide * np.array([-1j, -1j, 1j, 1j]) - [deep, 0, 0, deep])
        corners = np.concatenate([corners[:far], finger, corners[far + 1 :]])
        radii = np.concatenate([radii[:far], [2 * wide, wide, wide, 2 * wide], radii[far + 1 :]])
    before, after = corners - np.roll(corners, 1), np.roll(corners, -1) - corners
    turn = np.angle(after / before)
    room = 0.49 * np.minimum(np.abs(before), np.abs(after))
    cut = np.minimum(radii * np.tan(np.abs(turn) / 2), room)
    first = corners - cut * before / np.abs(before)
    middle = first + 1j * cut / np.tan(turn / 2) * before / np.abs(before)
    arcs = middle + (first - middle) * np.exp(1j * turn * np.linspace(0, 1, 60)[:, None])
    return Track.build(name, _points(arcs.T.ravel()), half, half)


def _with_bumps(track: Track, rng: np.random.Generator, half: float) -> Track:
    """The track with one to three chicanes (left-right-left) or esses in its straightest places."""
    n, along = len(track.x), np.arange(len(track.x)) * track.spacing
    offset, taken = np.zeros(n), np.abs(track.curvature)
    for _ in range(rng.integers(1, 4)):
        width, radius = rng.uniform(8, 16), rng.uniform(13, 26)
        esses, sign = rng.random() < 0.4, rng.choice([-1, 1])
        reach = round((5.0 if esses else 4.0) * width / track.spacing)
        ring = np.concatenate([taken[-reach:], taken, taken[:reach]])
        total = np.cumsum(np.append(0, ring))
        bend = total[2 * reach + 1 :] - total[: -2 * reach - 1]
        places = np.flatnonzero(bend < 0.35 / track.spacing)
        if not len(places):
            continue
        place = rng.choice(places)
        u = (along - along[place] + track.length / 2) % track.length - track.length / 2
        bump = np.exp(-0.5 * (u / width) ** 2)
        bump = bump * (u / width) / 1.38 if esses else bump
        offset += sign * width**2 / radius * bump
        taken = taken + (np.abs(u) < 3 * width)
    return Track.build(track.name, track.beside(offset), half, half)


def _too_close(track: Track, limit: float) -> bool:
    """Whether two stretches that are no neighbours come closer than `limit` metres."""
    step = max(1, round(3 / track.spacing))
    line = (track.x + 1j * track.y)[::step]
    apart = np.abs(np.arange(len(line))[:, None] - np.arange(len(line)))
    apart = np.minimum(apart, len(line) - apart) * step * track.spacing
    near = np.abs(line[:, None] - line) < limit
    return bool((near & (apart > np.pi / 2 * limit + 6)).any())


def _from_straight(track: Track) -> Track:
    """The track, started where 100 m are straightest, 60 m into them."""
    bend = np.abs(track.curvature)
    width = round(100 / track.spacing)
    total = np.cumsum(np.append(0, np.concatenate([bend, bend[:width]])))
    start = int((total[width:-1] - total[: -width - 1]).argmin()) + round(60 / track.spacing)
    return track.started(start % len(bend))


def chosen(names: str | Sequence[str], circuits: Sequence[int]) -> list[Track]:
    """The tracks that names stand for; "random" for as many as `circuits` has seeds."""
    both = [*circuits] if isinstance(circuits, Sequence) else []
    if len(both) != 2 or not all(isinstance(seed, int) for seed in both):
        raise ValueError(f"circuits={circuits} must be two seeds, the first and one beyond")
    if not 0 <= both[0] < both[1] <= both[0] + MOST:
        raise ValueError(
            f"circuits={both} must be two seeds, the first and one beyond, at most {MOST} apart"
        )
    tracks = []
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"track={names} must be a name or a list of names: {', '.join(NAMES)}")
    for name in listed:
        base = name.removesuffix("_mirrored")
        seeds = range(*circuits) if base == "random" else range(1)
        found = [named(base, seed) for seed in seeds]
        tracks += found if base == name else [track.mirrored() for track in found]
    if not tracks:
        raise ValueError("track=[] must name a track")
    return tracks
